"""Pairwise interactions from the coalitions of a Shapley explanation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from whybox.errors import InputError
from whybox.explanations import Interactions
from whybox.solvers.pair_interactions import check_pairs, solve_pairs
from whybox.typing import Bools, Floats, Ints, OwnFeatures

if TYPE_CHECKING:
    from typing import Any

    from whybox.explainers._job import Job
    from whybox.explanations import Attribution


class PairListener:
    """Solves for interactions what a Shapley explanation asks, row by row; hand it to ``explain_shapley``."""

    def __init__(self) -> None:
        self._job: Job | None = None
        self._method = "exact"

    def accept(self, job: Job, plans: dict[int, int]) -> None:
        """See :class:`whybox.explainers._shapley.Listener`; takes the memory for the result.

        Raises:
            InputError: rows have features of their own, or there are too many features.
            BudgetError: there are too many coalitions.
        """
        if isinstance(job.bound, OwnFeatures):
            raise InputError(
                "interactions: the rows have features of their own (words, segments), and no matrix of pairs in common; explain columns, "
                "or groups of them (spaces.Groups)"
            )
        for d, m in plans.items():
            check_pairs(d, m)
        d, u, q = job.bound.n_features(0), len(job.rows), job.full.shape[1] if job.chosen is None else 1
        self._job = job
        self._index, self._error, self._sums = np.zeros((u, d, d, q)), np.zeros((u, d, d, q)), np.zeros((u, d, q))

    def hear(self, job: Job, at: Ints, codes: Bools, v: Floats, none: Floats, full: Floats) -> None:
        """See :class:`whybox.explainers._shapley.Listener`."""
        del job
        n, q, m = v.shape
        found = solve_pairs(codes, v.reshape(n * q, m), none.reshape(-1), full.reshape(-1))
        self._method = found.method
        for whole, part in ((self._index, found.index), (self._error, found.std_error), (self._sums, found.sum_error)):
            whole[at] = np.moveaxis(part.reshape(n, q, *part.shape[1:]), 1, -1)

    def result(self, e: Attribution) -> Interactions:
        """Interactions beside the values of the same explanation."""
        self._index *= 0.5
        self._error *= 0.5
        values, errors, sums = (self._everywhere(part, e) for part in (self._index, self._error, self._sums))
        diagonal = np.arange(e.values.shape[1])
        own = np.zeros_like(e.values) if e.std_error is None else e.std_error
        values[:, diagonal, diagonal] = e.values - values.sum(axis=2)
        errors[:, diagonal, diagonal] = np.hypot(own, 0.5 * sums)
        for array in (values, errors):
            array.setflags(write=False)
        return Interactions(values=values, std_error=errors, attribution=e, estimator=self._method)

    def _everywhere(self, array: Floats, e: Attribution) -> NDArray[Any]:
        assert self._job is not None  # explain_shapley has asked to accept
        array = self._job.everyone(array)
        return array if e.multi_output else array[..., 0]
