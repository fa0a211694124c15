"""What delta chains cost in the long run: from the cost of a delta by the distance of its base, for any rule of bases."""
import functools
from runs import CHAINS, DEEPEST
from zstdraw import Packer

DISTANCES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)


def by_distance(days, size, level, most=150):
    """Mean bytes of a delta against the version so many back, of runs that have that many versions."""
    versions = {}
    for day in range(len(days)):
        for place in days.changed_runs(day, size):
            versions.setdefault(place, []).append(day)
    packer, found = Packer(level), {}
    # One set of runs for all distances that they reach, or the mean would change with the kind of run.
    deep = [v for v in DISTANCES if sum(len(l) > v + 1 for l in versions.values()) >= 20]
    chosen = [(p, l) for p, l in versions.items() if len(l) > deep[-1] + 1]
    chosen = chosen[::max(1, len(chosen) // most)]
    for distance in deep:
        sizes = []
        for place, days_ in chosen:
            for at in range(deep[-1], len(days_), 3):
                base = days.run(days_[at - distance], place, size)
                sizes.append(len(packer.pack(days.run(days_[at], place, size), base)))
        found[distance] = sum(sizes) / len(sizes), len(sizes)
    return found, len(chosen)


def curve(cost):
    """Cost of any distance: straight between the measured ones, on from the last two beyond them."""
    known = sorted(cost)

    def at(distance):
        for low, high in zip(known, known[1:]):
            if distance <= high:
                break
        (a, _), (b, _) = cost[low], cost[high]
        return a + (b - a) * (distance - low) / (high - low)
    return functools.cache(at)


def follow(chain, generations, price):
    """Bytes and depths of one chain whose version changes every day."""
    wanted, full_after, deepest = CHAINS[chain]
    bases, depth, bytes_ = {0: None}, {0: 0}, 0.0
    for g in range(1, generations):
        base, goal = g - 1, wanted(g)
        while base > goal or depth[base] >= deepest:
            base = bases[base]
        bases[g], depth[g] = base, depth[base] + 1
        bytes_ += price(g - base)
    return bytes_ / max(1, generations - 1), sum(depth.values()) / generations, max(depth.values())


def least(generations, price, deepest=DEEPEST):
    """The least mean cost that any rule reaches whose bases lie on the chain of the version before, by that depth."""
    @functools.cache
    def below(count, depth):
        """Least cost of `count` versions that follow a copy and all rest on it, directly or not."""
        if count == 0:
            return 0.0
        if depth == 0:
            return float('inf')
        return tail(count, depth, 1)

    @functools.cache
    def tail(count, depth, distance):
        """The next version, `distance` after the copy, rests on it; it takes some of those that follow along."""
        if count == 0:
            return 0.0
        best = float('inf')
        for mine in range(count):
            if depth == 1 and mine:
                break
            rest = price(distance) + below(mine, depth - 1)
            if rest < best:
                best = min(best, rest + tail(count - 1 - mine, depth, distance + mine + 1))
        return best
    return below(generations - 1, deepest) / max(1, generations - 1)


def rows(cost, spans):
    price = curve(cost)
    for chain in CHAINS:
        if CHAINS[chain][1] < max(spans):
            continue
        yield [chain, *('{:,.0f} / {:.1f} / {}'.format(*follow(chain, n, price)) for n in spans)]
    yield [f'the best of all rules, depth {DEEPEST}', *(f'{least(n, price):,.0f}' for n in spans if n <= 128), *('-' for n in spans if n > 128)]
