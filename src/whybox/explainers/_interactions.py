"""Pairwise interactions from the coalitions of a Shapley explanation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from whybox.errors import InputError
from whybox.explanations import Interactions
from whybox.solvers.pair_interactions import solve_pairs
from whybox.typing import Bools, Floats, Ints, OwnFeatures

if TYPE_CHECKING:
    from typing import Any

    from whybox.explainers._job import Job
    from whybox.explanations import Attribution


class PairListener:
    """Solves for interactions what a Shapley explanation asks, row by row; hand it to ``explain_shapley``."""

    def __init__(self) -> None:
        self._job: Job | None = None
        self._parts: list[tuple[Ints, Floats, Floats, Floats]] = []
        self._method = "exact"

    def hear(self, job: Job, at: Ints, codes: Bools, v: Floats, none: Floats, full: Floats) -> None:
        """See :class:`whybox.explainers._shapley.Listener`.

        Raises:
            InputError: rows have features of their own.
        """
        if isinstance(job.bound, OwnFeatures):
            raise InputError(
                "interactions: the rows have features of their own (words, segments), and no matrix of pairs in common; explain columns, "
                "or groups of them (spaces.Groups)"
            )
        self._job = job
        n, q, m = v.shape
        found = solve_pairs(codes, v.reshape(n * q, m), none.reshape(-1), full.reshape(-1))
        self._method = found.method
        index, error, sums = (np.moveaxis(a.reshape(n, q, *a.shape[1:]), 1, -1) for a in (found.index, found.std_error, found.sum_error))
        self._parts.append((at, index, error, sums))

    def result(self, e: Attribution) -> Interactions:
        """Interactions beside the values of the same explanation."""
        assert self._job is not None  # explain_shapley has heard of at least one row
        order = np.argsort(np.concatenate([part[0] for part in self._parts]))
        index, error, sums = (self._everywhere(np.concatenate([part[k] for part in self._parts])[order], e) for k in (1, 2, 3))
        d = e.values.shape[1]
        values, errors = 0.5 * index, 0.5 * error
        diagonal = np.arange(d)
        own = np.zeros_like(e.values) if e.std_error is None else e.std_error
        values[:, diagonal, diagonal] = e.values - values.sum(axis=2)
        errors[:, diagonal, diagonal] = np.hypot(own, 0.5 * sums)
        for array in (values, errors):
            array.setflags(write=False)
        return Interactions(values=values, std_error=errors, attribution=e, estimator=self._method)

    def _everywhere(self, array: Floats, e: Attribution) -> NDArray[Any]:
        assert self._job is not None
        array = self._job.everyone(array)
        return array if e.multi_output else array[..., 0]
