"""Effects from matched counterfactuals: the mean over them, and the outcome model's estimate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from whybox._random import generator
from whybox.concepts._matched_edits import Made
from whybox.concepts._outcome import OutcomeModel, ToldModel, outputs_of, scores
from whybox.concepts._profiles import Profiles
from whybox.concepts._source import Ask
from whybox.concepts._splice import PassageIndex, remainder
from whybox.explanations.counterfactuals import Counterfactuals
from whybox.typing import Bools, Floats, Ints


@dataclass(frozen=True, eq=False)
class Fitted:
    """An outcome model and what it was fitted to.

    Args:
        model: the outcome model.
        places: (m,) positions in the pool.
        outputs: (m, k) of the explained model.
    """

    model: OutcomeModel
    places: Ints
    outputs: Floats


@dataclass(frozen=True, eq=False)
class Regressed:
    """What the outcome model says of the texts, as scores (see :func:`whybox.concepts._outcome.scores`).

    Args:
        after: (p, k) for the new values.
        before: (p, k) for the present ones; NaN where a present value is not known.
        told: (p, k) for the new values, by a regression on concepts alone.
        told_before: (p, k) the same for the present ones; NaN where a present value is not known.
        stays: share of what concepts alone do not tell of a text's output that its other passages carry.
        fitted: the model.
    """

    after: Floats
    before: Floats
    told: Floats
    told_before: Floats
    stays: float
    fitted: Fitted


def share_told(rest: Floats, told: Floats) -> float:
    """The share, between 0 and 1, of what is left of scores that something tells.

    Args:
        rest: (m, k) what is left of the scores.
        told: (m, k) what is told of it.
    """
    size = float(np.square(rest).sum())
    return 1.0 if size == 0.0 else float(np.clip((rest * told).sum() / size, 0.0, 1.0))


def _known(values: Floats) -> Floats:
    return np.where(np.isfinite(values), values, 0.0)


@dataclass(frozen=True, eq=False)
class MatchedEffect:
    """Two estimates of the effects of one intervention.

    Args:
        ask: the explained model.
        made: the counterfactuals.
        parts: how they were made.
        rows: positions of the texts that have any.
    """

    ask: Ask
    made: Counterfactuals
    parts: Made
    rows: Sequence[int]

    @property
    def source_values(self) -> tuple[str | None, ...]:
        """The concept's value in each of the texts."""
        known = {edit.original: edit.source_value for edit in self.made.edits}
        return tuple(known.get(i) for i in self.rows)

    @cached_property
    def _before(self) -> Floats:
        """(p, k) outputs for the texts."""
        return self.ask([self.made.texts[i] for i in self.rows])

    @cached_property
    def _owner(self) -> Ints:
        """(m,) which of the texts an edit is of."""
        at = {i: r for r, i in enumerate(self.rows)}
        return np.array([at[edit.original] for edit in self.made.edits], dtype=np.int64)

    def _averaged(self, outputs: Floats) -> Floats:
        """(p, k) mean over each text's edits; outputs that the engine skipped do not count, and a text without any gets NaN."""
        usable = np.isfinite(outputs).all(axis=1)
        sums, n = np.zeros_like(self._before), np.zeros(len(self.rows))
        np.add.at(sums, self._owner[usable], outputs[usable])
        np.add.at(n, self._owner[usable], 1.0)
        result: Floats = np.divide(sums, n[:, None], out=np.full_like(sums, np.nan), where=n[:, None] > 0)
        return result

    @cached_property
    def _after(self) -> Floats:
        """(m, k) outputs for the edits."""
        return self.ask([edit.text for edit in self.made.edits])

    def mean(self) -> Floats:
        """(p, k) mean over the counterfactuals of f(counterfactual) - f(text)."""
        if not self.rows:
            width = self.ask([self.made.texts[0]]).shape[1]
            return np.zeros((0, width))
        return self._averaged(self._after) - self._before

    def combined(self, regressed: Regressed, share: float, by_concepts: float, keep: float) -> Floats:
        """(p, k) the mean over the counterfactuals and the estimates of the two regressions, averaged as scores, minus f(text).

        Args:
            regressed: what the outcome model says.
            share: of the outcome model in the first two.
            by_concepts: share of the regression on concepts alone.
            keep: share of what the outcome model does not tell of the text's own output that the counterfactual is taken to share.
        """
        probabilities = regressed.fitted.model.probabilities
        matched = self._averaged(scores(self._after, probabilities))
        present = scores(self._before, probabilities)
        kept = keep * _known(present - regressed.before)
        third = regressed.told + regressed.stays * _known(present - regressed.told_before)
        guess = (1.0 - by_concepts) * ((1.0 - share) * matched + share * regressed.after) + by_concepts * third
        effects: Floats = outputs_of(guess + kept, probabilities) - self._before
        return effects

    def regression(self, index: PassageIndex, profiles: Profiles, moved: Sequence[str], penalty: float, most: int) -> Regressed:
        """What the regressions say for the new values and for the present ones.

        Args:
            index: the pool.
            profiles: how clearly texts tell the other concepts.
            moved: the concept and what may follow.
            penalty: of the ridge regressions.
            most: candidates to fit to; more are drawn at random.
        """
        pool = index.pool
        codes = np.stack([pool.codes(c) for c in moved], axis=1)
        known = np.flatnonzero((codes >= 0).all(axis=1))
        if len(known) > most:
            known = np.sort(generator(0, "outcome model", *moved).choice(known, most, replace=False))
        left = index.remainders(moved)
        rest, empty = self._of_rests([left[i] for i in known.tolist()])
        whole = self.ask([pool.texts[i] for i in known.tolist()])
        fine = np.isfinite(whole).all(axis=1) & np.isfinite(rest).all(axis=1)
        sizes = [len(pool.concept(c).values) for c in moved]
        outcome = OutcomeModel.fit(whole[fine], rest[fine], empty[fine], codes[known][fine], sizes, penalty)
        mine, bare = self._of_rests([remainder(self.parts.told, moved, r) for r in range(len(self.rows))])
        now = self._present(index, moved)
        new = np.array(
            [[c.get(name, now[r][j]) for j, name in enumerate(moved)] for r, c in zip(self._owner.tolist(), self.parts.codes, strict=True)]
        )
        after = self._averaged(outcome.outputs(mine[self._owner], bare[self._owner], new.reshape(-1, len(moved))))
        present = np.array(now, dtype=np.int64).reshape(-1, len(moved))
        before = outcome.outputs(mine, bare, np.maximum(present, 0))
        unknown = (present < 0).any(axis=1)
        before[unknown] = np.nan
        others, said = profiles.of_pool(moved)[known][fine], scores(whole[fine], outcome.probabilities)
        plain = ToldModel.fit(said, codes[known][fine], others, sizes, penalty)
        level = plain.outputs(codes[known][fine], others)
        stays = share_told(said - level, outcome.left_out - level)
        mine_others = profiles.of(self.made.texts, moved)[list(self.rows)]
        told = self._averaged(plain.outputs(new.reshape(-1, len(moved)), mine_others[self._owner]))
        told_before = plain.outputs(np.maximum(present, 0), mine_others)
        told_before[unknown] = np.nan
        return Regressed(after, before, told, told_before, stays, Fitted(outcome, known[fine], whole[fine]))

    def _of_rests(self, texts: Sequence[str]) -> tuple[Floats, Bools]:
        """Outputs for texts of which some may be empty, and which are; an empty one is not asked for."""
        empty = np.array([not text.strip() for text in texts], dtype=bool)
        outputs = np.zeros((len(texts), self._before.shape[1]))
        if not empty.all():
            outputs[~empty] = self.ask([text for text, e in zip(texts, empty.tolist(), strict=True) if not e])
        return outputs, empty

    def _present(self, index: PassageIndex, moved: Sequence[str]) -> list[list[int]]:
        """Present codes of the concept, -1 where not known, and of what may follow, by what the texts' passages tell; 0 where nothing."""
        asked = index.pool.concept(moved[0]).values
        found = []
        for r, value in enumerate(self.source_values):
            row = [-1 if value is None else asked.index(value)]
            for name in moved[1:]:
                values = index.pool.concept(name).values
                said = self.parts.told[name].values[r]
                row.append(values.index(said[0]) if said else 0)
            found.append(row)
        return found
