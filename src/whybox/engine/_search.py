"""Looking for the batch size that costs least a row, from the batches of the job itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median_low

from whybox.engine._clock import Spent

_TRIES, _TRIES_WALL, _MOST_TRIES = 2, 3, 6  # batches that judge a size: few are enough where they took long
_SHORT, _LONG = 2e-3, 0.5  # seconds in all: below, more batches are taken; above, two will do
_THREADS = 1.05  # CPU over wall seconds from which several threads are at work
_WON = 0.7  # of the least cost so far: one batch is proof, because nothing makes a batch faster than it is
_GAIN = 0.02  # a call that has less of a batch's cost leaves nothing to be won by larger ones, once three sizes were seen
_MOSTLY = 0.5  # a call that has more lets two steps be taken at once
_DOUBT = 1.1  # a larger size that seems this much worse may have been unlucky, and is tried once more
_TIE = 1.015
_MUCH = 0.05  # of the rows to come: a trial that takes more wants both of its grounds seen twice
_LIGHT = 0.1  # a call that has less of a batch's cost lets smaller sizes be tried for little
# Four times the rows a call save three quarters of the calls' share in the cost of all rows to come: a trial may put up as many rows.
_STAKE = 0.75
_CLOSE, _ROUNDS, _ROUNDS_SHARE = 1.2, 4, 0.05  # sizes within so many times the least cost take turns, so often, within a share of the rows


@dataclass
class _Trials:
    """Batches of one size: seconds a unit of work, by the clock on the wall and of the CPU."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    waited: int = 0
    spent: float = 0.0
    first: int = 0  # batches of the search before the first of this size, and up to its latest
    latest: int = 0


class SizeSearch:
    """One search: up in steps while that pays, then beside the best.

    A call costs something, and so does a row; a batch that outgrows the caches costs more a row. The first two are told apart by two sizes,
    and growing stops where no larger batch could win 2 %, or less than trying it may cost: its rows may cost twice as much. Where a larger
    batch costs more, the sizes beside the best are tried. The machine's speed changes meanwhile: before a step up that little speaks for,
    the smaller size is tried once more after the larger one, and in the end the sizes that come close take turns.
    A size is judged by its fastest batch of two or more in CPU seconds, which other work on the machine hardly touches, or, where the
    process waits (for another machine, a device, other threads), by the median of the seconds that passed. At equal cost the smaller wins.

    Args:
        start: the first size.
        factor: how much larger the next size is on the way up.
        waits: judge by the wall clock whatever the process computes.
    """

    def __init__(self, start: int, factor: int, *, waits: bool = False) -> None:
        self.size, self._factor, self._waits = start, factor, waits
        self._seen: dict[int, _Trials] = {}
        self._rising, self._doubted = True, False
        self._next: list[int] = []
        self._wanted = 0  # batches of the present size
        self._batches = 0
        self._turns = False

    def took(self, amount: float, spent: Spent, limit: int, ahead: float = float("inf")) -> bool:
        """Learn from a batch of the present size; True once the best size is found.

        Args:
            amount: work in it: rows, or their bytes where these differ.
            spent: on composing it and on the model's answer.
            limit: no size may be larger.
            ahead: rows that are still to be sent; the default knows no end.
        """
        seen = self._seen.setdefault(self.size, _Trials(first=self._batches))
        seen.wall.append(spent.wall / amount)
        seen.cpu.append(spent.cpu / amount)
        seen.waited += spent.waited
        seen.spent += spent.wall
        self._batches += 1
        seen.latest = self._batches
        enough = _TRIES if self._computes() or seen.spent > _LONG else _TRIES_WALL
        count = len(seen.wall)
        won = self._rising and len(self._seen) > 1 and self._costs()[self.size] < _WON * min(self._costs(but=self.size).values())
        if not won and (count < max(enough, self._wanted) or (seen.spent < _SHORT and count < _MOST_TRIES)):
            return False
        self._wanted = 0
        if not self._next and not self._turns:
            self._next = self._choose(limit, ahead)
            if not self._next:
                self._turns, self._next = True, self._rounds(ahead)
        if self._next:
            self.size = min(self._next.pop(0), limit)
            if self.size in self._seen:
                self._wanted = len(self._seen[self.size].wall) + (1 if self._turns or self._rising else _TRIES)
            return False
        costs = self._costs()
        least = min(costs.values())
        self.size = min(size for size, cost in costs.items() if cost <= _TIE * least)
        return True

    def _computes(self) -> bool:
        """Whether one thread was at work whenever other processes let it; then CPU seconds tell best."""
        all_seen = self._seen.values()
        if self._waits or any(min(seen.cpu) <= 0 for seen in all_seen):  # a clock of the CPU may tick slowly
            return False
        waited = sum(seen.waited for seen in all_seen) * 2 > sum(len(seen.wall) for seen in all_seen)
        return not waited and all(sum(seen.cpu) <= _THREADS * sum(seen.wall) for seen in all_seen)

    def _costs(self, but: int = 0) -> dict[int, float]:
        computes = self._computes()
        return {size: min(seen.cpu) if computes else median_low(seen.wall) for size, seen in self._seen.items() if size != but}

    def _choose(self, limit: int, ahead: float) -> list[int]:
        """Sizes to try next; none when the search is over."""
        costs = self._costs()
        best, top = min(costs, key=costs.__getitem__), max(costs)
        if self._rising:
            if best == top:
                higher = self._higher(costs, top, limit, ahead)
                if higher:
                    return higher
                if len(self._seen[top].wall) <= _TRIES:  # the first batch of a size pays for its memory, too, and looks dearer than it is
                    return [top]
            elif costs[top] < _DOUBT * costs[best] and not self._doubted:
                self._doubted = True
                return [best, top]
            self._rising = False
        above = min(size for size in costs if size >= min(2 * best, top))
        sides = [2 * best] if 2 * best < top else []
        if costs[above] > _TIE * costs[best] or (best > min(costs) and self._call_share(costs, best) < _LIGHT):
            sides += [best // 2, best // 4]  # where the caches are outgrown is not told by larger sizes, and steps on the way up were long
        return [size for size in sides if size >= 1 and (size not in costs or len(self._seen[size].wall) < _TRIES)][:1]

    def _higher(self, costs: dict[int, float], top: int, limit: int, ahead: float) -> list[int]:
        """The next size on the way up; none where it could not pay."""
        share = self._call_share(costs, top) if len(costs) > 1 else 0.0
        if 2 * top > limit or (len(costs) > 2 and share < _GAIN):
            return []
        if len(costs) > 2 and share <= _MOSTLY:
            below = max(size for size in costs if size < top)
            if self._seen[below].latest <= self._seen[top].first:
                return [below, top]
        most = ahead * share * _STAKE if len(costs) > 2 else limit
        steps = [min(top * self._factor**count, limit) for count in (2, 1)]
        found = [size for size in (steps if share > _MOSTLY else steps[1:]) if size <= most][:1]
        if found and found[0] > _MUCH * ahead and len(costs) > 1:  # the share must not rest on a batch that paid for its memory
            once = [size for size in (max(size for size in costs if size < top), top) if len(self._seen[size].wall) < _TRIES]
            return once[:1] or found
        return found

    def _rounds(self, ahead: float) -> list[int]:
        """Turns of the sizes that come close to the best one."""
        costs = self._costs()
        close = sorted(size for size, cost in costs.items() if cost <= _CLOSE * min(costs.values()))
        return close * int(min(_ROUNDS, _ROUNDS_SHARE * ahead / sum(close))) if len(close) > 1 else []

    def _call_share(self, costs: dict[int, float], top: int) -> float:
        """The call's share in the cost of a batch of this size, from the next smaller one: with more rows it would vanish."""
        below = max(size for size in costs if size < top)
        a_row = (top * costs[top] - below * costs[below]) / (top - below)
        return 1.0 - a_row / costs[top]
