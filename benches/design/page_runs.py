#!/usr/bin/env python3
"""Measures how a database is best stored day after day: run size, delta chains, zstd levels.

  page_runs.py sizes  DIR [--days N]   run sizes and chains: growth a day, depth, time to read the last day
  page_runs.py chains DIR [--days N]   what a delta costs by the distance of its base, and what follows for long chains
  page_runs.py levels DIR [--days N]   zstd levels and parameters for deltas
  page_runs.py first  DIR              the same for first copies
  page_runs.py shortlist DIR           the best of these again, several times, beside restic
  page_runs.py ideas  DIR [--days N]   other ways to store the same changes
  page_runs.py owners DIR              whose pages change, how much, and how many versions runs get

DIR holds day0.db, day1.db, ... as benches/workload/prepare.sh leaves them; a file counts once the next one is there, or
with --all. Needs requirements.txt. Prints Markdown; what follows from it stands in docs/design/0002-page-runs.md. KB are
1,000 bytes; times are processor time of one thread.
"""
import argparse, os, time
import first as first_copies, ideas as other_ways
from runs import CHAINS, DELTAS, FULL_AFTER, Days, Digests, compare, copies_of, pairs_of, read, store
from zstdraw import VERSION, Packer
import trees


def mean(lines, key, days):
    return sum(line[key] for line in lines[1:days + 1]) / days


def table(head, rows):
    print('| ' + ' | '.join(head) + ' |\n|' + ' --- |' * len(head))
    for row in rows:
        print('| ' + ' | '.join(str(cell) for cell in row) + ' |', flush=True)
    print(flush=True)


def kb(bytes_):
    return f'{bytes_ / 1000:,.0f}'


def sizes(days, arguments):
    spans = sorted({d for d in (7, 30, 60) if d < len(days)} | {len(days) - 1})
    digests, last = Digests(days), spans[-1]
    head = ['run', 'delta', 'chain', 'first copy MB', *(f'KB a day, {d} days' for d in spans), 'of these runs', 'lists', 'entries and tags',
            'changed runs a day', 'full a day', 'KB a day of full copies once in 256', 'depth mean', 'depth most', 'CPU s a day', 'read day 0, s',
            f'read day {last}, s', 'steps']

    def row(size, kind, chain, first):
        packer, unpacker = DELTAS[kind]
        runs, lines = store(days, digests, size * 1024, chain, Packer(arguments.level), packer(arguments.level))
        heads = [runs.heads[p] for p in sorted(runs.heads)]
        if size not in first:
            first[size] = read([runs.known[digests[0, p, size * 1024]] for p in range(days.runs(0, size * 1024))], unpacker())[0]
        cpu, steps = read(heads, unpacker())
        changed = mean(lines, 'changed', last)
        return [f'{size} KiB', kind, chain, f"{lines[0]['all'] / 1e6:.2f}", *(kb(mean(lines, 'all', d)) for d in spans),
                *(kb(mean(lines, k, last)) for k in ('runs', 'lists', 'blobs')), f'{changed:.0f}', f"{mean(lines, 'full', last):.1f}",
                kb(lines[0]['runs'] / len(heads) * changed / FULL_AFTER), f'{sum(c.depth for c in heads) / len(heads):.1f}',
                max(c.depth for c in heads), f"{mean(lines, 'cpu', last):.2f}", f'{first[size]:.2f}', f'{cpu:.2f}', f'{steps:.1f}']
    first = {}
    table(head, (row(size, kind, chain, first) for size in arguments.sizes for kind in arguments.deltas for chain in arguments.chains))


def chains(days, arguments):
    cost, count = trees.by_distance(days, 65536, arguments.level)
    print(f'Mean bytes of a delta of a run of 64 KiB, by how many versions back its base lies: of the {count} runs with most versions only\n')
    table(['versions back', 'bytes', 'deltas measured'], ([k, f'{b:,.0f}', n] for k, (b, n) in cost.items()))
    print('What that makes of chains of so many generations: bytes a version / mean depth / depth of the deepest\n')
    spans = (16, 60, 128, 256)
    table(['chain', *(f'{n} generations' for n in spans)], trees.rows(cost, spans))


def show(title, result, reference, days=1):
    """Result: variant -> (bytes, processor seconds or None)."""
    print(f'{title}\n')
    size, cpu = result[reference]
    unit = 'KB a day' if days > 1 else 'MB'
    table(['variant', unit, 'against ' + reference, 'CPU s' + (' a day' if days > 1 else ''), 'CPU against ' + reference],
          ([name, kb(b / days) if days > 1 else f'{b / 1e6:.2f}', f'{(b / size - 1) * 100:+.1f} %',
            *(('', '') if c is None else (f'{c / days:.2f}', f'{c / cpu:.2f}'))] for name, (b, c) in result.items()))


VARIANTS = {
    **{f'level {n}': (n, {}) for n in (1, 2, 3, 4, 5, 6, 7, 9, 12, 15, 19)},
    'level 3, long-distance matching': (3, dict(enableLongDistanceMatching=1)),
    'level 9, long-distance matching': (9, dict(enableLongDistanceMatching=1)),
    'level 3, window 18': (3, dict(window=18)),
    "level 3, the level's own window": (3, dict(window='level')),
    'level 3, deterministic prefix': (3, dict(deterministicRefPrefix=1)),
    'level 3, literals never packed': (3, dict(literalCompressionMode=2)),
    'level 3, literals always packed': (3, dict(literalCompressionMode=1)),
    'level 3, blocks split by content': (3, dict(splitAfterSequences=1)),
    'level 2, hash 2^14': (2, dict(hashLog=14)),
    'level 2, hash 2^16': (2, dict(hashLog=16)),
    'level 2, matches from 4': (2, dict(minMatch=4)),
    'level 2, matches from 7': (2, dict(minMatch=7)),
    'level 3, hash and chain 2^14': (3, dict(hashLog=14, chainLog=14)),
    'level 3, hash and chain 2^17': (3, dict(hashLog=17, chainLog=17)),
    'level 3, matches from 4': (3, dict(minMatch=4)),
    'level 3, matches from 6': (3, dict(minMatch=6)),
    'level 6, matches from 3': (6, dict(minMatch=3)),
    'level 6, matches from 4': (6, dict(minMatch=4)),
    'level 6, no row tables': (6, dict(useRowMatchFinder=2)),
    'level 12, hash and chain 2^15': (12, dict(hashLog=15, chainLog=15)),
    'btopt, search 2^1, matches from 3': (13, dict(strategy='btopt', searchLog=1, minMatch=3)),
    'btopt, search 2^3, matches from 3': (13, dict(strategy='btopt', searchLog=3, minMatch=3)),
    'btopt, search 2^3, matches from 3, target 32': (13, dict(strategy='btopt', searchLog=3, minMatch=3, targetLength=32)),
    'btultra, search 2^4, matches from 3': (15, dict(strategy='btultra', searchLog=4, minMatch=3)),
}


def levels(days, arguments):
    found = pairs_of(copies_of(days, arguments.sample))
    inputs = [pair for day in found for pair in day]
    show(f'Deltas of {len(inputs)} changed runs of 64 KiB on {len(found)} days, against their bases by base 8',
         compare(VARIANTS, inputs), 'level 3', len(found))


def first(days, arguments):
    result = {name: (size, cpu) for name, size, cpu in first_copies.measure(days.images[0][:], os.path.join(arguments.folder, 'day0.db'))}
    show('First copies of runs of 64 KiB, unless another size is said', result, 'pieces of 1 MiB, level 3')


def shortlist(days, arguments):
    rows, restic = first_copies.shortlist(days.images[0][:], os.path.join(arguments.folder, 'day0.db'), arguments.rounds)
    print(f"restic's repository of the file, three times, MB: {', '.join(f'{size / 1e6:.2f}' for size in restic) or 'not installed'}\n")
    middle, fast = sorted(restic)[len(restic) // 2] if restic else None, rows[0][2]
    table(['variant', 'MB with entries and lists', "against restic's middle one", 'CPU s, least', 'most', 'more CPU s than the first'],
          ([name, f'{b / 1e6:.2f}', f'{(b / middle - 1) * 100:+.1f} %' if middle else '', f'{low:.2f}', f'{high:.2f}', f'{low - fast:+.2f}']
           for name, b, low, high in rows))


def ideas(days, arguments):
    found = copies_of(days, arguments.sample)
    result = {name: (size, cpu) for name, size, cpu in other_ways.measure(found)}
    show(f'{sum(map(len, pairs_of(found)))} deltas of runs of 64 KiB on {len(found)} days, bases by base 8', result, 'level 3', len(found))


def owners(days, arguments):
    count = min(arguments.sample, len(days) - 1)
    found = other_ways.owners(days, count)
    found['all'] = {kind: tuple(sum(line.get(kind, (0, 0))[i] for line in found.values()) for i in (0, 1)) for kind in ('alike', 'other', 'new')}
    print(f'Changed pages a day and KB of their deltas, the first {count} days: like their earlier version (at most 1,200 bytes), not, without one\n')
    table(['tree', 'like', 'KB', 'not', 'KB', 'without', 'KB'],
          ([name, *(f'{x:.1f}' for kind in ('alike', 'other', 'new') for p, b in [line.get(kind, (0, 0))] for x in (p, b / 1000))]
           for name, line in sorted(found.items(), key=lambda item: -sum(b for _, b in item[1].values()))[:14]))
    versions = {}
    for day in range(1, len(days)):
        for place in days.changed_runs(day, 65536):
            versions[place] = versions.get(place, 0) + 1
    last = len(days) - 1
    print(f'Runs of 64 KiB by versions in {last} days\n')
    limits = [0, 1, 5, 10, 20, 30, 45, last]
    counts = [versions.get(p, 0) for p in range(days.runs(last, 65536))]
    table([f'at most {n}' for n in limits], [[f'{sum(c <= n for c in counts) / len(counts):.0%}' for n in limits]])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('verb', choices=['sizes', 'chains', 'levels', 'first', 'shortlist', 'ideas', 'owners'])
    parser.add_argument('folder')
    parser.add_argument('--days', type=int, help='only day 0 and so many more')
    parser.add_argument('--all', action='store_true', help='nothing writes to DIR any more: count the last file too')
    parser.add_argument('--level', type=int, default=3, help='of sizes and chains: zstd level')
    parser.add_argument('--sizes', type=int, nargs='+', default=[16, 32, 64, 128, 256, 512, 1024], help='of sizes: KiB')
    parser.add_argument('--chains', nargs='+', default=list(CHAINS), choices=list(CHAINS))
    parser.add_argument('--deltas', nargs='+', default=list(DELTAS), choices=list(DELTAS))
    parser.add_argument('--sample', type=int, default=10, help='of levels, ideas and owners: so many days')
    parser.add_argument('--rounds', type=int, default=5, help='of shortlist')
    arguments = parser.parse_args()
    days = Days(arguments.folder, arguments.days, arguments.all)
    print(f'zstd {VERSION}; {arguments.folder}: {len(days) - 1} days after the first, {len(days.images[0]) / 1e6:.1f} MB at first, '
          f'{len(days.images[-1]) / 1e6:.1f} MB at last, {sum(map(len, days.changed[1:])) / (len(days) - 1):.0f} pages changed a day\n')
    began = time.time()
    dict(sizes=sizes, chains=chains, levels=levels, first=first, shortlist=shortlist, ideas=ideas, owners=owners)[arguments.verb](days, arguments)
    print(f'took {time.time() - began:.0f} s')


if __name__ == '__main__':
    main()
