"""Other ways to store the changes of a day than one frame for each changed run. Every way is decoded again on samples."""
import os, sqlite3, tempfile
from runs import pairs_of
from zstdraw import PagePacker, PageUnpacker, Unpacker, ffi, lib
from zstdraw import Packer as Unchecked

PAGE, FOREIGN = 4096, 2 * 34  # a further base stands in trailer and index


class Packer(Unchecked):
    """One that decodes some of its frames again; the time of that is not counted."""

    def __init__(self, level, **parameters):
        super().__init__(level, **parameters)
        self.calls, self.back = 0, Unpacker(self.header, self.magicless)

    def pack(self, plain, base=None):
        frame, self.calls = super().pack(plain, base), self.calls + 1
        if self.calls % 41 == 1:
            assert self.back.unpack(frame, len(plain), base) == plain, 'a frame does not come back'
        return frame


def changed_pages(plain, base):
    """Numbers of the pages of `plain` that differ from the same page of the base."""
    return [at for at in range(0, len(plain), PAGE) if plain[at:at + PAGE] != base[at:at + PAGE]]


def pick(bytes_, places):
    return b''.join(bytes_[at:at + PAGE] for at in places)


def xor(plain, base):
    base = base[:len(plain)].ljust(len(plain), b'\0')
    return (int.from_bytes(plain, 'big') ^ int.from_bytes(base, 'big')).to_bytes(len(plain), 'big')


def separate(days, level, **parameters):
    packer = Packer(level, **parameters)
    return sum(len(packer.pack(plain, base)) for day in days for plain, base in day), packer.cpu


def by_xor(days, level):
    packer = Packer(level)
    assert all(xor(xor(plain, base), base) == plain for plain, base in days[0][:3])
    return sum(len(packer.pack(xor(plain, base))) for day in days for plain, base in day), packer.cpu


def by_pages(days, level, bases, **parameters):
    """A bitmap, and the changed pages alone, on the same pages of the base or on the whole base."""
    packer, bytes_ = Packer(level, **parameters), 0
    for day in days:
        for plain, base in day:
            places = changed_pages(plain, base)
            new, below = pick(plain, places), base if bases == 'all' else pick(base, places)
            bytes_ += len(packer.pack(new, below or None)) + 2
    return bytes_, packer.cpu


def by_units(days, level, unit):
    packer, bytes_ = PagePacker(level, unit), 0
    for day in days:
        for plain, base in day:
            frame = packer.pack(plain, base)
            bytes_ += len(frame)
            assert len(frame) % 50 or PageUnpacker(unit).unpack(frame, len(plain), base) == plain
    return bytes_, packer.packer.cpu


def each_page(days, level):
    """A frame for each changed page."""
    packer, bytes_ = Packer(level), 0
    for day in days:
        for plain, base in day:
            for at in changed_pages(plain, base):
                bytes_ += len(packer.pack(plain[at:at + PAGE], base[at:at + PAGE] or None))
    return bytes_, packer.cpu


def grouped(days, level, count, pages=False):
    """Several runs of a day (or their changed pages) in one frame on all their bases."""
    packer, bytes_, inputs = Packer(level, enableLongDistanceMatching=1), 0, 0
    for day in days:
        for at in range(0, len(day), count or len(day)):
            group = day[at:at + (count or len(day))]
            if pages:
                places = [changed_pages(plain, base) for plain, base in group]
                plain = b''.join(pick(p, where) for (p, _), where in zip(group, places))
                base = b''.join(pick(b, where) for (_, b), where in zip(group, places))
            else:
                plain, base = b''.join(p for p, _ in group), b''.join(b for _, b in group)
            bytes_ += len(packer.pack(plain, base)) + (2 * len(group) if pages else 0)
    return bytes_, packer.cpu


def second_base(days, level, other):
    """Two plaintexts as prefix, the run's own earlier version nearest."""
    packer, bytes_ = Packer(level), 0
    for day in days:
        for at, (plain, base) in enumerate(day):
            more = {'new run before': day[at - 1][0] if at else b'', 'old run before': day[at - 1][1] if at else b'',
                    'newest run': day[-1][0] if at + 1 < len(day) else b''}[other]
            bytes_ += len(packer.pack(plain, more + base))
    return bytes_, packer.cpu


def features(page):
    """Some strings of 16 bytes that the page holds, chosen by content, so that moved cells are found again."""
    return {page[at:at + 16] for at in range(len(page) - 16) if (page[at] * 31 + page[at + 1]) & 15 == 0}


def foreign(found, level, count, roots, whole, most=65536):
    """Beside the own base, the runs of the same day that share most strings with the pages that hardly resemble their
    own earlier version: cells that moved to another page of their tree. Taken as they were before (of runs that were
    stored again: their base), or with `roots` as their chains' full copies. With `whole` also for what has no base."""
    packer, full, bytes_, used = Packer(level), Packer(level), 0, 0
    for day in found:
        where, olds = {}, [root if roots else base for _, base, root in day]
        for number, old in enumerate(olds):
            if old is not None:
                plain = day[number][0]
                for at in (changed_pages(plain, old) if not roots else changed_pages(plain, day[number][1] or old)):
                    for feature in features(old[at:at + PAGE]):
                        where.setdefault(feature, set()).add(number)
        for number, (plain, base, _) in enumerate(day):
            if base is None and not whole:
                continue
            votes = {}
            for at in changed_pages(plain, base or b''):
                for feature in features(plain[at:at + PAGE]) - features((base or b'')[at:at + PAGE]):
                    for old in where.get(feature, ()):
                        if old != number or base is None:
                            votes[old] = votes.get(old, 0) + 1
            best = [old for old in sorted(votes, key=votes.get, reverse=True)[:count] if votes[old] >= 8]
            with_them = len(packer.pack(plain, b''.join(olds[old] for old in best) + (base or b'') or None)) + FOREIGN * len(best)
            used += len(best)
            bytes_ += with_them
    return bytes_, packer.cpu, used / len(found)


def tables(days, level, count):
    """Entropy tables of deltas: a dictionary of bases, of which only the head is kept, trained on their next versions."""
    pairs = [pair for day in days for pair in day]
    pairs = [pair for pair in pairs[::max(1, len(pairs) // 400)] if len(changed_pages(*pair)) > 0]
    best = None
    for at in range(0, len(pairs) - count + 1, count):
        group = pairs[at:at + count]
        content, samples = b''.join(b for _, b in group), [pick(p, changed_pages(p, b)) for p, b in group]
        room, lengths = ffi.new('char[]', len(content) + 4096), ffi.new('size_t[]', [len(s) for s in samples])
        options = ffi.new('ZDICT_params_t *', dict(compressionLevel=level, notificationLevel=0, dictID=1))
        size = lib.ZDICT_finalizeDictionary(room, len(room), content, len(content), b''.join(samples), lengths, len(samples), options[0])
        if lib.ZDICT_isError(size):
            continue
        head = ffi.buffer(room, lib.ZDICT_getDictHeaderSize(room, size))[:]
        packer = Packer(level, header=head)
        cost = sum(len(packer.pack(p, b)) for p, b in pairs)
        if best is None or cost < best[0]:
            best = cost, head
    return best[1] if best else None


def with_tables(days, level, head):
    packer, bytes_ = Packer(level, header=head), 0
    for day in days:
        for plain, base in day:
            bytes_ += len(packer.pack(plain, base))
    return bytes_, packer.cpu


def measure(found):
    """Yields (way, bytes, processor seconds) for what `runs.copies_of` found: for its deltas only, unless all is said."""
    days = pairs_of(found)
    yield 'level 3', *separate(days, 3)
    yield 'level 15', *separate(days, 15)
    yield 'a bare frame: no magic, no length', *separate(days, 3, magicless=True, contentSizeFlag=0)
    for level in (3, 6, 9, 15, 19):
        yield f'changed pages on the same pages of the base, level {level}', *by_pages(days, level, 'same')
        yield f'changed pages on the whole base, level {level}', *by_pages(days, level, 'all')
    for unit in (512, 1024, 2048):
        for level in (3, 6):
            yield f'changed units of {unit} bytes on the same units, level {level}', *by_units(days, level, unit)
    yield 'changed pages on the same pages, level 3, blocks split by content', *by_pages(days, 3, 'same', splitAfterSequences=1)
    yield 'each changed page alone, level 3', *each_page(days, 3)
    yield 'XOR with the base, level 3', *by_xor(days, 3)
    yield 'XOR with the base, level 9', *by_xor(days, 9)
    for other in ('new run before', 'old run before', 'newest run'):
        yield f'two bases: the own one and the {other}, level 3', *second_base(days, 3, other)
    for roots in (False, True):
        for count in (1, 2, 4):
            bytes_, cpu, used = foreign(found, 3, count, roots, False)
            yield (f"own base and up to {count} foreign {'full copies' if roots else 'runs'} chosen by shared strings, level 3 "
                   f'({used:.0f} a day, {FOREIGN} bytes each; choosing not timed)', bytes_, cpu)
    for count in (4, 16, 0):
        for pages in (False, True):
            for level in (3, 19) if pages else (3,):
                yield f"{count or 'all'} changed runs of a day in one frame{', changed pages only' if pages else ''}, level {level}", *grouped(days, level, count, pages)
    everything = [[(plain, base) for plain, base, _ in day] for day in found]
    yield 'all copies of the days, full ones included, level 3', *separate(everything, 3)
    for roots in (False, True):
        for count in (1, 4, 8):
            bytes_, cpu, used = foreign(found, 3, count, roots, True)
            yield f"the same, with up to {count} foreign {'full copies' if roots else 'runs'} ({used:.0f} a day)", bytes_, cpu
    # Trained on the first half, measured on all: what they gain on the second half is told apart.
    half = len(days) // 2
    for count in (1, 2, 4, 8):
        head = tables(days[:half], 3, count)
        if head:
            (kept, cpu), (seen, _), (plain, _) = with_tables(days, 3, head), with_tables(days[half:], 3, head), separate(days[half:], 3)
            yield f'fixed entropy tables of {len(head)} bytes (from {count}), level 3 (days not trained on: {(seen / plain - 1) * 100:+.1f} %)', kept, cpu


def owners(days, count, limit=1200):
    """Changed pages of the first days by the tree that owns them: how many resemble their earlier version (a delta of at most
    `limit` bytes), how many do not, how many had none, and the bytes of their deltas, each page alone. Means of a day."""
    packer, trees = Packer(3), {}
    for day in range(1, count + 1):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'image')
            with open(path, 'wb') as file:
                file.write(days.images[day])
            base = sqlite3.connect(path)
            owner = dict(base.execute('SELECT pageno - 1, name FROM dbstat'))
            base.close()
        for page in days.changed[day]:
            new, old = days.run(day, page, PAGE), days.run(day - 1, page, PAGE)
            size = len(packer.pack(new, old or None))
            kind = 'new' if not old else 'alike' if size <= limit else 'other'
            line = trees.setdefault(owner.get(page, '(free)'), {})
            pages, bytes_ = line.get(kind, (0, 0))
            line[kind] = pages + 1, bytes_ + size
    return {name: {kind: (p / count, b / count) for kind, (p, b) in line.items()} for name, line in trees.items()}
