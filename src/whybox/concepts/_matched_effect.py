"""Effects from matched counterfactuals: the mean over them, and the outcome model's estimate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from whybox._random import generator
from whybox.concepts._matched_edits import Made
from whybox.concepts._outcome import OutcomeModel, outputs_of, scores
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
        fitted: the model.
    """

    after: Floats
    before: Floats
    fitted: Fitted


def share_of_regression(fitted: Fitted, rebuilt: Floats, rows: Ints) -> float:
    """The share, between 0 and 1, that the outcome model gets: the one that tells the scores of the pool's own outputs best.

    Args:
        fitted: the outcome model; each text's prediction leaves that text out.
        rebuilt: (r, k) mean scores of some of its texts with their passages exchanged for those of others with the same value; NaN: none.
        rows: (r,) which of its texts.
    """
    usable = np.isfinite(rebuilt).all(axis=1)
    own = scores(fitted.outputs[rows][usable], fitted.model.probabilities)
    matched, regressed = rebuilt[usable] - own, fitted.model.left_out[rows][usable] - own
    apart = matched - regressed
    size = float(np.square(apart).sum())
    return 0.5 if size == 0.0 else float(np.clip((apart * matched).sum() / size, 0.0, 1.0))


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

    def combined(self, regressed: Regressed, share: float, keep: float) -> Floats:
        """(p, k) the mean over the counterfactuals and the outcome model's estimate, averaged as scores, minus f(text).

        Args:
            regressed: what the outcome model says.
            share: of the outcome model.
            keep: share of what the outcome model does not tell of the text's own output that the counterfactual is taken to share.
        """
        probabilities = regressed.fitted.model.probabilities
        matched = self._averaged(scores(self._after, probabilities))
        own = scores(self._before, probabilities) - regressed.before
        kept = keep * np.where(np.isfinite(regressed.before), own, 0.0)
        effects: Floats = outputs_of((1.0 - share) * matched + share * regressed.after + kept, probabilities) - self._before
        return effects

    def regression(self, index: PassageIndex, moved: Sequence[str], penalty: float, most: int) -> Regressed:
        """What the outcome model says for the new values and for the present ones.

        Args:
            index: the pool.
            moved: the concept and what may follow.
            penalty: of the ridge regression.
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
        before[(present < 0).any(axis=1)] = np.nan
        return Regressed(after, before, Fitted(outcome, known[fine], whole[fine]))

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
