"""What a rule can ask of a game: that features are kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whybox.explanations.rules import Condition
from whybox.typing import Ask, Bools, Bound, Floats, Ints, Rows


@dataclass(frozen=True)
class Kept:
    """Features of a game as conditions: a word stands in the text, a column keeps its value. The others are removed, each by a fair coin.

    The features of a sample are independent, so that a sample in which more features happen to be kept is a sample of the longer rule.

    Args:
        inner: the space of coalitions, bound to the explained rows.
    """

    inner: Bound
    independent: bool = True
    draws: int = 1
    coverage_of: str = "perturbations"

    @property
    def n(self) -> int:
        """Explained rows."""
        return self.inner.n

    @property
    def shared_empty(self) -> bool:
        """As the inner space."""
        return self.inner.shared_empty

    @property
    def members(self) -> tuple[tuple[int, ...], ...] | None:
        """As the inner space."""
        return self.inner.members

    def n_features(self, instance: int) -> int:
        """As the inner space."""
        return self.inner.n_features(instance)

    def feature_names(self, instance: int) -> tuple[str, ...]:
        """As the inner space."""
        return self.inner.feature_names(instance)

    def plain(self, start: int, stop: int) -> Rows:
        """As the inner space."""
        return self.inner.plain(start, stop)

    def row_keys(self) -> NDArray[np.uint64] | None:
        """As the inner space."""
        return self.inner.row_keys()

    def digest(self) -> str:
        """As the inner space."""
        return self.inner.digest()

    def compose(self, ask: Ask, start: int, stop: int) -> Rows:
        """Rows start to stop of an ask."""
        return self.take(ask, np.arange(start, stop, dtype=np.int64))

    def take(self, ask: Ask, index: Ints) -> Rows:
        """Chosen rows: the drawn one of each coalition's rows."""
        drawn = ask.codes[index % len(ask.codes), -1]
        return self.inner.take(Ask(ask.instances, self.kept(ask.codes)), index * self.inner.draws + drawn)

    def keys(self, ask: Ask) -> NDArray[np.uint64] | None:
        """Keys of the inner space."""
        keys = self.inner.keys(Ask(ask.instances, self.kept(ask.codes)))
        if keys is None:
            return None
        each = keys.reshape(len(ask.instances), len(ask.codes), self.inner.draws, 2)
        return each[:, np.arange(len(ask.codes)), ask.codes[:, -1]].reshape(-1, 2)

    def fold(self, ask: Ask, outputs: Floats) -> Floats:
        """One row a code."""
        return outputs[:, :, 0, :]

    def draw(self, instance: int, held: Bools, m: int, rng: np.random.Generator) -> Ints:
        """Codes (m, d + 1): which features are kept, and which of the coalition's rows is drawn."""
        codes = np.empty((m, len(held) + 1), dtype=np.int64)
        codes[:, :-1] = held | (rng.random((m, len(held))) < 0.5)
        codes[:, -1] = rng.integers(self.inner.draws, size=m)
        return codes

    def kept(self, codes: Ints) -> Bools:
        """(m, d) which features each sample keeps."""
        kept: Bools = codes[:, :-1] != 0
        return kept

    def coverage(self, instance: int, held: Bools) -> float:
        """Share of the perturbations that keep the held features."""
        return float(0.5 ** np.count_nonzero(held))

    def condition(self, instance: int, feature: int) -> Condition:
        """What a rule would ask of a feature."""
        name = self.inner.feature_names(instance)[feature]
        text = isinstance(self.inner.plain(instance, instance + 1), list)  # of texts; tables and images are arrays and frames
        return Condition(feature, name, f"{name!r} is there" if text else f"{name} is kept", "present" if text else "kept")

    def example(self, rows: Rows, i: int) -> str:
        """A sample as text."""
        row = rows.iloc[i].tolist() if hasattr(rows, "iloc") else rows[i]
        return row if isinstance(row, str) else str(row)
