"""Coalitions of features, in complementary pairs, without replacement, nested in the budget.

Every scheme is one endless stream of distinct pairs that depends on d and the generator alone; a budget takes its beginning. The draw for a
budget is therefore always a prefix of the draw for a larger one, and a class of coalitions of one size is complete as soon as its share of
the budget covers it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import comb

import numpy as np

from whybox.errors import BudgetError, OptionError
from whybox.typing import Bools, Ints

SCHEMES = ("leverage", "kernel", "chain", "border")

_RANKED = 1 << 62  # classes up to this size are drawn by rank, larger ones by rejection of repeats
_ENUMERATED = 1 << 17  # of those, classes up to this size are written down once more than a few of their members are wanted
_AT_ONCE = 128  # ranks, whatever the budget, so that a draw does not depend on it
_BLOCK_CELLS = 1 << 14  # random keys are drawn in blocks whose size depends on d alone, so that a draw does not depend on the budget
_GOLDEN = (5.0**0.5 - 1.0) / 2.0


def coalitions(d: int, budget: int, rng: np.random.Generator, *, scheme: str = "leverage") -> Bools:
    """Draw distinct coalitions in complementary pairs, without the empty and the full one.

    Row 2i + 1 is the complement of row 2i. The rows of a budget are the first rows of every larger budget (same d, scheme and state of
    ``rng``). All ``2**d - 2`` coalitions are returned once the budget covers them.

    Args:
        d: number of features, at least 1.
        budget: the most coalitions to draw, at least 2 (with one feature there is none to draw). An odd budget leaves one unspent: half a
            pair tells nothing that the solvers use.
        rng: the generator, from :func:`whybox._random.generator`. Only its spawned children are used.
        scheme: "leverage" gives every size the same share; "kernel" gives size s the share of the Shapley kernel, 1 / (s (d - s));
            "chain" begins with the prefixes of a random permutation and of its reverse, ``2 (d - 1)`` coalitions in which every feature
            enters once; "border" begins with the ``2 d`` coalitions of a single feature, in random order, and of all but one. Both go on
            as "leverage".

    Returns:
        (m, d) bool, m even and at most ``budget``; True keeps the feature of the explained row.

    Raises:
        OptionError: d is below 1, or the scheme does not exist.
        BudgetError: the budget does not pay for one pair.

    References:
        Covert and Lee, Improving KernelSHAP, AISTATS 2021 (pairs); Musco and Witter, Provably accurate Shapley value estimation via
        leverage score sampling, ICLR 2025 (uniform over sizes, without replacement).

    Example:
        >>> import numpy as np
        >>> coalitions(4, 6, np.random.default_rng(0)).shape
        (6, 4)
        >>> coalitions(3, 100, np.random.default_rng(0)).sum(axis=1).tolist()
        [1, 2, 1, 2, 1, 2]
    """
    if d < 1:
        raise OptionError(f"d: expected at least one feature, got {d}")
    if scheme not in SCHEMES:
        raise OptionError(f"scheme: expected one of {', '.join(SCHEMES)}, got {scheme!r}")
    if d == 1:
        return np.zeros((0, 1), dtype=bool)
    if budget < 2:
        raise BudgetError(f"budget: {d} features need at least one pair of coalitions, got a budget of {budget}; give 2 or more")
    pairs = min(budget // 2, 2 ** (d - 1) - 1)
    halves = _begun(d, pairs, rng, _BEGINNINGS[scheme]) if scheme in _BEGINNINGS else _by_size(d, pairs, rng, scheme)
    both = np.empty((2 * pairs, d), dtype=bool)
    both[0::2], both[1::2] = halves, ~halves
    return both


def _begun(d: int, pairs: int, rng: np.random.Generator, beginning: Callable[[int, np.random.Generator], Bools]) -> Bools:
    """One coalition of each pair: those of a beginning, then the pairs of "leverage" that are not among them."""
    first_rng, rest_rng = rng.spawn(2)
    first = beginning(d, first_rng)
    if pairs <= len(first):
        return first[:pairs]
    rest = _by_size(d, pairs, rest_rng, "leverage")
    known = set(_pair_names(first))
    fresh = np.array([name not in known for name in _pair_names(rest)])
    return np.concatenate([first, rest[fresh]])[:pairs]


def _chain(d: int, rng: np.random.Generator) -> Bools:
    place = rng.permutation(d)
    length = rng.permutation(d - 1) + 1  # a budget that is cut short still sees all sizes
    out: Bools = place < length[:, None]
    return out


def _border(d: int, rng: np.random.Generator) -> Bools:
    order = rng.permutation(d)[: d if d > 2 else 1]  # two single features are a pair
    out: Bools = order[:, None] == np.arange(d)
    return out


_BEGINNINGS = {"chain": _chain, "border": _border}


def _pair_names(halves: Bools) -> list[bytes]:
    """The same bytes for a coalition and its complement."""
    return [row.tobytes() for row in np.packbits(halves ^ halves[:, -1:], axis=1)]


def _by_size(d: int, pairs: int, rng: np.random.Generator, scheme: str) -> Bools:
    """One coalition of each pair: the sizes follow a low-discrepancy sequence, the members of a size are random."""
    order, *streams = rng.spawn(1 + d // 2)
    sizes = _size_sequence(d, scheme, float(order.random()), pairs)
    out = np.empty((pairs, d), dtype=bool)
    for s in np.unique(sizes).tolist():
        at = np.flatnonzero(sizes == s)
        out[at] = _draw_class(d, s, len(at), streams[s - 1])
    return out


def _class_pairs(d: int, s: int) -> int:
    """Pairs whose smaller coalition has s members."""
    return comb(d, s) // 2 if 2 * s == d else comb(d, s)


def _size_sequence(d: int, scheme: str, start: float, pairs: int) -> Ints:
    """(pairs,) smaller size of each pair. Exhausted sizes leave the sequence; the others keep their proportions."""
    s = np.arange(1, d // 2 + 1)
    share = np.ones(len(s)) if scheme == "leverage" else 1.0 / (s * (d - s))
    share[2 * s == d] *= 0.5  # a pair of the middle size fills one size, every other pair two
    room = np.array([min(_class_pairs(d, int(k)), pairs) for k in s])
    out = np.empty(pairs, dtype=np.int64)
    done = 0
    while done < pairs:
        open_ = np.flatnonzero(room)
        edges = np.cumsum(share[open_])
        place = (start + _GOLDEN * np.arange(done, pairs)) % 1.0 * edges[-1]
        pick = open_[np.minimum(np.searchsorted(edges, place, side="right"), len(open_) - 1)]
        stop = _first_overflow(pick, room)
        out[done : done + stop] = s[pick[:stop]]
        room -= np.bincount(pick[:stop], minlength=len(room))
        done += stop
    return out


def _first_overflow(pick: Ints, room: Ints) -> int:
    """How many picks can be served until one class is full: up to and with the pick that fills it."""
    stop = len(pick)
    for k in np.flatnonzero(np.bincount(pick, minlength=len(room)) >= np.maximum(room, 1)).tolist():
        stop = min(stop, int(np.flatnonzero(pick == k)[room[k] - 1]) + 1)
    return stop


def _draw_class(d: int, s: int, count: int, rng: np.random.Generator) -> Bools:
    """(count, d) distinct coalitions of s members, no two of them complements."""
    total = _class_pairs(d, s)
    if total > _RANKED:
        return _draw_large(d, s, count, rng)
    rank = _shuffled(total, count, rng)
    if 2 * s == d:  # of each pair of the middle size, the one that holds the last feature
        return np.concatenate([_unrank(d - 1, s - 1, rank), np.ones((count, 1), dtype=bool)], axis=1)
    return _unrank(d, s, rank)


def _shuffled(total: int, count: int, rng: np.random.Generator) -> Ints:
    """The first numbers of a random permutation of 0 to total - 1, the same ones for every count.

    They are drawn without writing all numbers down (Fisher and Yates, with the exchanged places in a dictionary). Whoever asks for
    more than a few of a class that can be written down has the rest permuted at once.
    """
    found = np.empty(count, dtype=np.int64)
    moved: dict[int, int] = {}
    for start in range(0, count, _AT_ONCE):
        if start and total <= _ENUMERATED:
            rest = np.arange(total)
            rest[list(moved)] = list(moved.values())
            found[start:] = rng.permutation(rest[start:])[: count - start]
            break
        stop = min(start + _AT_ONCE, total)
        picks = rng.integers(np.arange(start, stop), total)
        for i, pick in enumerate(picks[: count - start].tolist(), start):
            found[i] = moved.get(pick, pick)
            moved[pick] = moved.get(i, i)
    return found


@lru_cache(maxsize=4096)
def _binomials(d: int, k: int) -> Ints:
    """(d,) C(c, k) for every c below d, cut beyond every rank to stay within int64."""
    return np.array([min(comb(c, k), _RANKED) for c in range(d)], dtype=np.int64)


def _unrank(d: int, s: int, rank: Ints) -> Bools:
    """Coalitions of s out of d features by their number in the combinatorial number system."""
    out = np.zeros((len(rank), d), dtype=bool)
    left = rank.astype(np.int64)
    for k in range(s, 0, -1):
        table = _binomials(d, k)  # the k-th member is the largest c with C(c, k) <= what is left
        member = np.searchsorted(table, left, side="right") - 1
        out[np.arange(len(rank)), member] = True
        left -= table[member]
    return out


def _draw_large(d: int, s: int, count: int, rng: np.random.Generator) -> Bools:
    block = max(_BLOCK_CELLS // d, 1)
    seen: set[bytes] = set()
    kept: list[Bools] = []
    while len(seen) < count:
        members = np.zeros((block, d), dtype=bool)
        keys = rng.random((block, d), dtype=np.float32)
        np.put_along_axis(members, np.argpartition(keys, s - 1, axis=1)[:, :s], True, axis=1)
        names = _pair_names(members)
        fresh = [i for i, name in enumerate(names) if not (name in seen or seen.add(name))]  # type: ignore[func-returns-value]  # add is None
        kept.append(members[fresh])
    return np.concatenate(kept)[:count]
