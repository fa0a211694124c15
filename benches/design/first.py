"""Ways to store the first copies of runs of 64 KiB: levels, parameters, dictionaries, neighbours, choice by run."""
import os, shutil, sqlite3, subprocess, tempfile, time
import zstandard
from runs import ENTRY, TAG
from zstdraw import Packer, Unpacker

RUN, PIECE = 65536, 1 << 20
OVERHEAD = 2 * ENTRY + TAG + 36  # of each run: its entries, its tag, its place in a list

SIMPLE = {
    **{f'level {n}': (n, {}) for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 17, 19)},
    'level 3, blocks split by content': (3, dict(splitAfterSequences=1)),
    'level 5, blocks split by content': (5, dict(splitAfterSequences=1)),
    'level 6, blocks split by content': (6, dict(splitAfterSequences=1)),
    'level 9, blocks split by content': (9, dict(splitAfterSequences=1)),
    'level 3, matches from 4': (3, dict(minMatch=4)),
    'level 3, hash 2^16, chain 2^16': (3, dict(hashLog=16, chainLog=16)),
    'level 4, no row tables': (4, dict(useRowMatchFinder=2)),
    'level 5, no row tables': (5, dict(useRowMatchFinder=2)),
    'level 6, no row tables': (6, dict(useRowMatchFinder=2)),
    'lazy, search 2^1': (6, dict(strategy='lazy', searchLog=1, minMatch=4, useRowMatchFinder=2)),
    'lazy, search 2^2': (6, dict(strategy='lazy', searchLog=2, minMatch=4, useRowMatchFinder=2)),
    'lazy2, search 2^1': (6, dict(strategy='lazy2', searchLog=1, minMatch=4, useRowMatchFinder=2)),
    'lazy2, search 2^2': (6, dict(strategy='lazy2', searchLog=2, minMatch=4, useRowMatchFinder=2)),
    'lazy2, search 2^2, hash 2^14, chain 2^14': (6, dict(strategy='lazy2', searchLog=2, minMatch=4, hashLog=14, chainLog=14, useRowMatchFinder=2)),
    'btopt, search 2^1, matches from 3': (13, dict(strategy='btopt', searchLog=1, minMatch=3)),
    'btopt, search 2^2, matches from 3': (13, dict(strategy='btopt', searchLog=2, minMatch=3)),
    'btopt, search 2^3, matches from 3': (13, dict(strategy='btopt', searchLog=3, minMatch=3)),
    'btopt, search 2^3, matches from 3, no row tables, target 16': (13, dict(strategy='btopt', searchLog=3, minMatch=3, targetLength=16)),
}


def owners(path):
    """The name of the tree that most pages of each run belong to."""
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copy(path, folder)
        base = sqlite3.connect(f'file:{copy}?immutable=1', uri=True)
        runs = {}
        for number, name in base.execute('SELECT pageno, name FROM dbstat'):
            runs.setdefault((number - 1) * 4096 // RUN, []).append(name)
        base.close()
    return {run: max(set(names), key=names.count) for run, names in runs.items()}


def simple(runs, turn=64):
    """Every parameter set on every run, in turns; sizes and times by run."""
    packers, result = {name: Packer(level, **p) for name, (level, p) in SIMPLE.items()}, {name: [] for name in SIMPLE}
    for start in range(0, len(runs), turn):
        for name, packer in packers.items():
            for number, run in enumerate(runs[start:start + turn]):
                before = packer.cpu
                frame = packer.pack(run)
                result[name].append((min(len(frame), len(run)), packer.cpu - before))
                assert number or Unpacker().unpack(frame, len(run)) == run
    return result


def total(pairs):
    return sum(b for b, _ in pairs), sum(c for _, c in pairs)


def chosen(by_run, low, high, limit, runs):
    """Level `low` for all, and `high` again where `low` leaves at most `limit` of the plaintext."""
    pairs = [(h[0], l[1] + h[1]) if l[0] <= limit * len(run) else l for l, h, run in zip(by_run[low], by_run[high], runs)]
    return total(pairs)


def joined(runs, count, level, **parameters):
    packer, bytes_ = Packer(level, **parameters), 0
    for at in range(0, len(runs), count):
        bytes_ += len(packer.pack(b''.join(runs[at:at + count])))
    return bytes_, packer.cpu


def on_others(runs, base_of, level):
    """Frames that rest on the plaintext of another run of the same image."""
    packer, bytes_ = Packer(level), 0
    for at, run in enumerate(runs):
        base = base_of(at)
        bytes_ += min(len(packer.pack(run, base)), len(run))
    return bytes_, packer.cpu


def dictionary(runs, size, level, sample):
    """A dictionary trained on pages of some runs of the image itself; its own size counts."""
    began = time.thread_time()
    pages = [run[at:at + sample] for run in runs[::8] for at in range(0, len(run), sample)]
    trained = zstandard.train_dictionary(size, pages, level=level, threads=0).as_bytes()
    training = time.thread_time() - began
    packer = Packer(level, dictionary=trained)
    bytes_ = sum(min(len(packer.pack(run)), len(run)) for run in runs) + len(Packer(19).pack(trained))
    return bytes_, packer.cpu + training, training


def restic(path):
    """What restic stores of the file alone, and what an empty repository of it takes."""
    program = shutil.which('restic')
    if program is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ, RESTIC_REPOSITORY=os.path.join(folder, 'r'), RESTIC_PASSWORD='x', RESTIC_CACHE_DIR=os.path.join(folder, 'c'))
        run = lambda *a: subprocess.run([program, '-q', *a], env=environment, check=True, stdout=subprocess.DEVNULL)
        count = lambda: sum(os.path.getsize(os.path.join(d, f)) for d, _, fs in os.walk(os.path.join(folder, 'r')) for f in fs)
        run('init')
        empty = count()
        run('backup', os.path.abspath(path))
        return count() - empty


def measure(image, path):
    """Yields (variant, bytes, processor seconds)."""
    runs = [image[at:at + RUN] for at in range(0, len(image), RUN)]
    pieces = [image[at:at + PIECE] for at in range(0, len(image), PIECE)]
    size = restic(path)
    if size:
        yield 'restic, the repository of this file alone', size, None
    for level in (1, 3, 6, 9):
        packer = Packer(level)
        yield f'pieces of 1 MiB, level {level}', sum(len(packer.pack(p)) for p in pieces), packer.cpu
    by_run = simple(runs)
    for name in SIMPLE:
        yield name, *total(by_run[name])
    for high in ('level 6', 'level 9', 'level 12', 'level 15'):
        for limit in (.4, .5, .6, .7, .8):
            share = sum(b <= limit * len(r) for (b, _), r in zip(by_run['level 3'], runs)) / len(runs)
            yield f'level 3, then {high} where at most {limit:.0%} is left ({share:.0%} of the runs)', *chosen(by_run, 'level 3', high, limit, runs)
    for count in (2, 4, 8, 16):
        for level in (2, 3, 4, 5, 6):
            yield f'runs of {64 * count} KiB, level {level}', *joined(runs, count, level)
        for level in (3, 6):
            yield f'runs of {64 * count} KiB, level {level}, blocks split by content', *joined(runs, count, level, splitAfterSequences=1)
    owner, before, leader, last = owners(path), {}, {}, {}
    for at in range(len(runs)):
        tree = owner.get(at)
        before[at] = last.get(tree)
        last[tree] = at
        leader.setdefault((tree, at // 64), at)
    for level in (3, 6):
        yield f'the run before as base, level {level}', *on_others(runs, lambda at: runs[at - 1] if at else None, level)
        yield f'the two runs before as base, level {level}', *on_others(runs, lambda at: b''.join(runs[max(0, at - 2):at]) or None, level)
        yield f'the run before in the same tree as base, level {level}', *on_others(runs, lambda at: runs[before[at]] if before[at] is not None else None, level)
        yield (f'the first run of the same tree within 4 MiB as base, level {level}',
               *on_others(runs, lambda at: runs[leader[owner.get(at), at // 64]] if leader[owner.get(at), at // 64] != at else None, level))
    for kib in (4, 16, 64, 110):
        for level in (3, 6):
            bytes_, cpu, training = dictionary(runs, kib * 1024, level, 4096)
            yield f'dictionary of {kib} KiB, level {level} ({training:.1f} s of training)', bytes_, cpu


SHORTLIST = [(64, 3), (64, 4), (64, 5), (64, 6), (128, 3), (128, 4), (128, 5), (256, 3)]


def shortlist(image, path, rounds):
    """The candidates again, in turns, several times: (name, bytes, least and most processor seconds), and restic's sizes."""
    found = {}
    for _ in range(rounds):
        for kib, level in SHORTLIST:
            packer, step = Packer(level), kib * 1024
            bytes_ = sum(len(packer.pack(image[at:at + step])) for at in range(0, len(image), step))
            found.setdefault((kib, level), (bytes_, []))[1].append(packer.cpu)
    rows = [(f'runs of {kib} KiB, level {level}', bytes_ + -(-len(image) // (kib * 1024)) * OVERHEAD, min(cpu), max(cpu))
            for (kib, level), (bytes_, cpu) in found.items()]
    return rows, [size for size in (restic(path) for _ in range(3)) if size]
