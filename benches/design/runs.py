"""Day files of a database, and how their runs of pages would be stored: chains of deltas, lists, entries."""
import glob, hashlib, mmap, os, re
from zstdraw import Packer, PagePacker, PageUnpacker, Unpacker

PAGE = 4096
DELTAS = {'whole run': (Packer, Unpacker), 'changed pages': (PagePacker, PageUnpacker)}
ENTRY, TAG, LIST_ENTRIES = 80, 16, 192  # trailer, and the same again in the index; the seal's tag; entries of a list page
FULL_AFTER, DEEPEST, WORTH = 256, 16, 0.6


class Days:
    """The day files, mapped, and which pages changed from one to the next."""

    def __init__(self, folder, most=None, whole=False):
        paths = {int(re.search(r'day(\d+)\.db$', p)[1]): p for p in glob.glob(os.path.join(folder, 'day*.db'))}
        count = len(paths) if whole else len(paths) - 1
        if most is not None:
            count = min(count, most + 1)
        assert count > 1 and sorted(paths)[:count] == list(range(count)), 'day0.db, day1.db, ... are needed'
        self.images = []
        for day in range(count):
            with open(paths[day], 'rb') as file:
                self.images.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        self.changed = [self.compare(day) for day in range(count)]

    def __len__(self):
        return len(self.images)

    def compare(self, day):
        new = self.images[day]
        if day == 0:
            return range(len(new) // PAGE)
        old = self.images[day - 1]
        return [p for p in range(len(new) // PAGE) if new[p * PAGE:(p + 1) * PAGE] != old[p * PAGE:(p + 1) * PAGE]]

    def run(self, day, place, size):
        return self.images[day][place * size:(place + 1) * size]

    def runs(self, day, size):
        return -(-len(self.images[day]) // size)

    def changed_runs(self, day, size):
        """Also a last run that lost or gained pages: its length is part of it."""
        places = {page * PAGE // size for page in self.changed[day]}
        if day and len(self.images[day]) != len(self.images[day - 1]):
            places |= {(len(self.images[d]) - 1) // size for d in (day - 1, day)}
        return sorted(p for p in places if p < self.runs(day, size))


def skip(digit_base):
    """Base of generation g: g - B^z, z the trailing zero digits of g in base B."""
    def wanted(generation):
        step = 1
        while generation % (step * digit_base) == 0:
            step *= digit_base
        return generation - step
    return wanted


# name -> (wanted base of a generation, full copy after so many generations, greatest depth)
CHAINS = {f'base {b}': (skip(b), FULL_AFTER, DEEPEST) for b in (2, 4, 8, 16)}
CHAINS |= {f'linear, full every {n}': (lambda g: g - 1, n, n) for n in (16, 64)}
CHAINS['base 16, from 128 on base 8'] = (lambda g: skip(16 if g < 128 else 8)(g), FULL_AFTER, DEEPEST)
CHAINS['always the first'] = (lambda g: 0, FULL_AFTER, DEEPEST)


class Copy:
    __slots__ = ('plain', 'length', 'frame', 'base', 'generation', 'depth')

    def __init__(self, plain, length, frame, base=None, generation=0):
        self.plain, self.length, self.frame, self.base, self.generation = plain, length, frame, base, generation
        self.depth = base.depth + 1 if base else 0

    def root(self):
        copy = self
        while copy.base:
            copy = copy.base
        return copy


class Chains:
    """Versions of runs, each stored once, by the rule of one chain. `plain` of a copy is a function that reads it."""

    def __init__(self, chain, full, delta):
        self.wanted, self.full_after, self.deepest = CHAINS[chain]
        self.full, self.delta = full, delta
        self.heads, self.known, self.added = {}, {}, []
        self.puts = []  # of the current day, of every copy: (plain, plain of its base or None, plain of the old chain's full copy or None)

    def base(self, head):
        """The nearest ancestor of the head, or itself, that is not younger than wanted and not too deep."""
        generation = head.generation + 1
        if generation >= self.full_after:
            return None
        wanted, copy = self.wanted(generation), head
        while copy.generation > wanted or copy.depth >= self.deepest:
            copy = copy.base
        return copy

    def put(self, place, digest, plain):
        if digest in self.known:
            self.heads[place] = self.known[digest]
            return
        bytes_, head = plain(), self.heads.get(place)
        base = self.base(head) if head else None
        copy = None
        if base:
            below = base.plain()
            frame, root = self.delta.pack(bytes_, below), base.root()
            # The size of the chain's full copy tells what this one would take; only in doubt it is made.
            if len(frame) <= WORTH * len(root.frame) or len(frame) <= WORTH * len(self.full.pack(bytes_)):
                copy = Copy(plain, len(bytes_), frame, base, head.generation + 1)
        if copy is None:
            copy = Copy(plain, len(bytes_), self.full.pack(bytes_))
        self.heads[place] = self.known[digest] = copy
        self.added.append(copy)
        self.puts.append((plain, copy.base and copy.base.plain, head and head.root().plain))

    def day(self):
        added, self.added = self.added, []
        puts, self.puts = self.puts, []
        return added, puts


class Digests(dict):
    """Name of a run by day, place and size, computed once."""

    def __init__(self, days):
        self.days = days

    def __missing__(self, key):
        self[key] = hashlib.sha256(self.days.run(*key)).digest()
        return self[key]


def store(days, digests, size, chain, full, delta, seen=None):
    """Stores day after day; returns the runs' chains and one line of figures a day."""
    runs, lists = Chains(chain, full, delta), Chains(chain, Packer(3), Packer(3))
    latest, lines, pages = [], [], {}
    for day in range(len(days)):
        before = full.cpu, delta.cpu
        places = days.changed_runs(day, size)
        for place in places:
            runs.put(place, digests[day, place, size], lambda d=day, p=place: days.run(d, p, size))
        count = days.runs(day, size)
        del latest[count:]
        for place in places:
            latest[place:place + 1] = [digests[day, place, size] + min(size, len(days.images[day]) - place * size).to_bytes(4, 'big')]
        for number in range(-(-count // LIST_ENTRIES)):
            page = b''.join(latest[number * LIST_ENTRIES:(number + 1) * LIST_ENTRIES])
            if pages.get(number) != page:
                pages[number] = page
                lists.put(number, page, lambda page=page: page)
        for place in [p for p in runs.heads if p >= count]:
            del runs.heads[place]
        (added, puts), (listed, _) = runs.day(), lists.day()
        if seen:
            seen(day, puts)
        blobs = len(added) + len(listed)
        lines.append(dict(changed=len(places), full=sum(not c.base for c in added), runs=sum(len(c.frame) for c in added),
                          lists=sum(len(c.frame) for c in listed), blobs=blobs * (2 * ENTRY + TAG),
                          cpu=full.cpu + delta.cpu - sum(before)))
        lines[-1]['all'] = sum(lines[-1][k] for k in ('runs', 'lists', 'blobs'))
    return runs, lines


def read(copies, unpacker):
    """Processor time and mean steps to read these copies, each from its full copy on; compares what comes out."""
    steps = 0
    for copy in copies:
        way = [copy]
        while way[-1].base:
            way.append(way[-1].base)
        plain = None
        for step in reversed(way):
            plain, steps = unpacker.unpack(step.frame, step.length, plain), steps + 1
        assert plain == copy.plain(), 'a copy does not come back'
    return unpacker.cpu, steps / len(copies)


def copies_of(days, sample, chain='base 8', size=65536):
    """What some days store: (plain, plain of the base or None, plain of the old chain's full copy or None) of each copy."""
    found, last = [], len(days) - 1
    chosen = {1 + i * (last - 1) // max(1, sample - 1) for i in range(min(sample, last))}

    def seen(day, puts):
        if day in chosen:
            found.append([tuple(read and read() for read in copy) for copy in puts])
    store(days, Digests(days), size, chain, Packer(1), Packer(1), seen)
    return found


def pairs_of(found):
    return [[(plain, base) for plain, base, _ in day if base is not None] for day in found]


def compare(variants, inputs, turn=64):
    """Packs every input by every variant, in turns, so that a busy machine slows all of them alike; checks samples."""
    bytes_ = dict.fromkeys(variants, 0)
    packers = {name: Packer(level, **p) for name, (level, p) in variants.items()}
    for start in range(0, len(inputs), turn):
        for name, packer in packers.items():
            for number, (plain, base) in enumerate(inputs[start:start + turn]):
                frame = packer.pack(plain, base)
                bytes_[name] += len(frame)
                assert number or Unpacker().unpack(frame, len(plain), base) == plain, name
    return {name: (bytes_[name], packers[name].cpu) for name in variants}
