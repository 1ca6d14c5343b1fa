"""The search for anchors: a beam of rules, whose precisions a bandit tells apart, for all rows at once."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whybox._random import generator
from whybox.explainers._in_step import Steps
from whybox.explanations.rules import Rule
from whybox.solvers.kl_lucb import contenders, exploration_rate, kl_bounds, proportion_interval
from whybox.typing import Ask, Bools, Ints, RuleBound

_BATCH, _PILOT, _EXAMPLES = 100, 20, 5
_BEAM_OVERLAP = 0.15  # bounds of the beam's rules and the others may overlap by so much: the beam is a heuristic
Held = tuple[int, ...]  # features whose conditions a rule asks, in order
Search = Steps[Bools, Rule]


@dataclass(frozen=True)
class Settings:
    """Of the search, see :class:`whybox.Anchors`."""

    threshold: float
    delta: float
    tolerance: float
    beam: int
    max_size: int
    most: int
    n_precision: int
    seed: int


@dataclass
class _Arms:
    """Rules that were tried for one row: samples, and how many of them the model calls the same."""

    bound: RuleBound
    instance: int
    settings: Settings
    n: dict[Held, int] = field(default_factory=dict)
    hits: dict[Held, int] = field(default_factory=dict)
    drawn: dict[Held, int] = field(default_factory=dict)  # batches
    asked: int = 0
    rounds: int = 0
    _kept: list[tuple[Held, Bools, Bools]] = field(default_factory=list)

    @property
    def d(self) -> int:
        return self.bound.n_features(self.instance)

    def held(self, arm: Held) -> Bools:
        mask = np.zeros(self.d, dtype=bool)
        mask[list(arm)] = True
        return mask

    def add(self, arms: list[Held]) -> None:
        """New rules, with the samples of shorter rules that happen to meet their conditions, where these are independent."""
        for arm in arms:
            if arm in self.n:
                continue
            self.n[arm] = self.hits[arm] = 0
            for parent, kept, same in self._kept:
                if set(parent) <= set(arm):
                    self._count(arm, kept, same)

    def _count(self, arm: Held, kept: Bools, same: Bools) -> None:
        meets = kept[:, list(arm)].all(axis=1)
        self.n[arm] += int(meets.sum())
        self.hits[arm] += int(same[meets].sum())

    def sample(self, wanted: dict[Held, int]) -> Generator[list[NDArray[Any]], list[Bools], None]:
        """More samples of some rules; what is drawn depends on the seed, the rule and how much of it was drawn, and on nothing else."""
        codes = []
        for arm, m in wanted.items():
            stream = generator(self.settings.seed, "anchors", self.d, *arm, "batch", self.drawn.get(arm, 0))
            self.drawn[arm] = self.drawn.get(arm, 0) + 1
            codes.append(self.bound.draw(self.instance, self.held(arm), m, stream))
        answers = yield codes
        self.asked += sum(len(part) for part in codes)
        for arm, drawn, same in zip(wanted, codes, answers, strict=True):
            if not self.bound.independent:
                self.n[arm] += len(same)
                self.hits[arm] += int(same.sum())
                continue
            kept = self.bound.kept(drawn)
            self._kept.append((arm, kept, same))
            for other in self.n:
                if set(arm) <= set(other):
                    self._count(other, kept, same)

    def table(self, arms: list[Held]) -> tuple[Ints, Ints]:
        return np.array([self.hits[arm] for arm in arms]), np.array([self.n[arm] for arm in arms])

    def rate(self, arms: int) -> float:
        """Of the bounds, which hold for all rules and rounds of one size at once with the asked confidence."""
        return exploration_rate(self.rounds + 1, arms, self.settings.delta / self.settings.max_size)

    def batch(self, arm: Held) -> int:
        """Samples to be drawn next: a quarter of those there are, so that rounds are few."""
        return max(_BATCH, self.n[arm] // 4)

    @property
    def spent(self) -> bool:
        return self.asked >= self.settings.most


def search(bound: RuleBound, instance: int, prediction: str, settings: Settings) -> Search:
    """The anchor of one row. Asks codes, hears which of them the model calls the same."""
    arms = _Arms(bound, instance, settings)
    arms.add([()])
    found: Held | None = None
    yield from arms.sample({(): 5 * _BATCH if bound.independent else _BATCH})
    if (yield from _reaches(arms, (), 1)):
        found = ()
    beam: list[Held] = [()]
    for _ in range(min(settings.max_size, arms.d)):
        longer = {tuple(sorted((*arm, j))) for arm in beam for j in range(arms.d) if j not in arm}
        candidates = [arm for arm in sorted(longer) if found is None or _coverage(arms, arm) > _coverage(arms, found)]
        if found == () or not candidates or arms.spent:
            break
        arms.add(candidates)
        beam = yield from _best(arms, candidates)
        for arm in beam:
            if (yield from _reaches(arms, arm, len(candidates))) and (found is None or _coverage(arms, arm) > _coverage(arms, found)):
                found = arm
    chosen = found
    if chosen is None:
        tried = [arm for arm in arms.n if arms.n[arm]]
        low, _ = kl_bounds(*arms.table(tried), arms.rate(len(tried)))
        chosen = tried[int(np.argmax(low))]
    codes = bound.draw(instance, arms.held(chosen), settings.n_precision, generator(settings.seed, "precision", arms.d, *chosen))
    (same,) = yield [codes]
    low_end, high_end = proportion_interval(int(same.sum()), len(same))
    return Rule(
        conditions=tuple(bound.condition(instance, j) for j in chosen),
        prediction=prediction,
        precision=float(same.mean()),
        low=low_end,
        high=high_end,
        coverage=_coverage(arms, chosen),
        found=found is not None,
        n_samples=len(same),
        same=_examples(bound, instance, codes[same]),
        other=_examples(bound, instance, codes[~same]),
    )


def _coverage(arms: _Arms, arm: Held) -> float:
    return arms.bound.coverage(arms.instance, arms.held(arm))


def _best(arms: _Arms, candidates: list[Held]) -> Generator[list[NDArray[Any]], list[Bools], list[Held]]:
    """The most precise candidates, as many as the beam is wide: KL-LUCB, until the bounds hardly overlap."""
    few = {arm: _PILOT for arm in candidates if arms.n[arm] < _PILOT}
    if few:
        yield from arms.sample(few)
    top = min(arms.settings.beam, len(candidates))
    arms.rounds, allowed = 0, arms.asked + arms.settings.most // (arms.settings.max_size + 1)  # no size may use up the budget
    while top < len(candidates):
        arms.rounds += 1
        best, weakest, strongest, overlap = contenders(*arms.table(candidates), top, arms.rate(len(candidates)))
        if overlap <= max(_BEAM_OVERLAP, 2 * arms.settings.tolerance) or arms.asked >= allowed or arms.spent:
            return [candidates[i] for i in best.tolist()]
        yield from arms.sample({candidates[i]: arms.batch(candidates[i]) for i in (weakest, strongest)})
    hits, n = arms.table(candidates)
    return [candidates[i] for i in np.argsort(-hits / np.maximum(n, 1), kind="stable").tolist()]


def _reaches(arms: _Arms, arm: Held, rivals: int) -> Generator[list[NDArray[Any]], list[Bools], bool]:
    """Whether a rule's precision is shown to reach the threshold, less the tolerance."""
    goal, tolerance = arms.settings.threshold, arms.settings.tolerance
    while True:
        hits, n = arms.table([arm])
        (low,), (high,) = kl_bounds(hits, n, arms.rate(rivals))
        mean = hits[0] / max(n[0], 1)
        if mean >= goal and low >= goal - tolerance:
            return True
        if (mean < goal and high < goal + tolerance) or arms.spent:
            return False
        arms.rounds += 1
        yield from arms.sample({arm: arms.batch(arm)})


def _examples(bound: RuleBound, instance: int, codes: NDArray[Any]) -> tuple[Any, ...]:
    """A few distinct samples, as they are shown."""
    few = codes[: 4 * _EXAMPLES]
    if not len(few):
        return ()
    rows = bound.take(Ask(np.array([instance]), few), np.arange(len(few)))
    shown: list[Any] = []
    for i in range(len(few)):
        example = bound.example(rows, i)
        if example not in shown:
            shown.append(example)
    return tuple(shown[:_EXAMPLES])
