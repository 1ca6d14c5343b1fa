"""A bound space whose codes say of every cell where its value comes from: a background row, or an explained one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from whybox._arrays import cell_hashes
from whybox.spaces.marginal import MarginalBound
from whybox.typing import Ask, Floats, Ints, Rows


@dataclass(frozen=True)
class DonorBound:
    """Rows put together of observed cells, see :class:`whybox.typing.Bound`. Codes are donors (m, d) of each cell.

    Args:
        rows: explained rows and background, as the model takes them. Donor i is background row i, donor b + i explained row i.
    """

    rows: MarginalBound
    draws = 1
    shared_empty = True
    members = None

    @property
    def n(self) -> int:
        """Explained rows."""
        return self.rows.n

    def n_features(self, instance: int) -> int:
        """Columns."""
        return self.rows.columns.d

    def feature_names(self, instance: int) -> tuple[str, ...]:
        """Column names."""
        return self.rows.names

    def plain(self, start: int, stop: int) -> Rows:
        """Explained rows as the model takes them."""
        return self.rows.plain(start, stop)

    def row_keys(self) -> NDArray[np.uint64] | None:
        """Equal exactly for identical rows."""
        return self.rows.row_keys()

    def digest(self) -> str:
        """Identifies rows and background."""
        return self.rows.digest()

    def compose(self, ask: Ask, start: int, stop: int) -> Rows:
        """Rows start to stop of an ask."""
        return self.take(ask, np.arange(start, stop, dtype=np.int64))

    def take(self, ask: Ask, index: Ints) -> Rows:
        """Chosen rows of an ask."""
        return self.rows.columns.gather(ask.codes[index % len(ask.codes)])

    @cached_property
    def _hashes(self) -> NDArray[np.uint64]:
        ours, theirs = self.rows.columns.cells()
        return cell_hashes(np.concatenate([theirs, ours]))

    def keys(self, ask: Ask) -> NDArray[np.uint64] | None:
        """Sums of the cells' hashes."""
        keys: NDArray[np.uint64] = self._hashes[ask.codes, np.arange(self.rows.columns.d)].sum(axis=1, dtype=np.uint64)
        return np.tile(keys, (len(ask.instances), 1))

    def fold(self, ask: Ask, outputs: Floats) -> Floats:
        """One row a code."""
        return outputs[:, :, 0, :]
