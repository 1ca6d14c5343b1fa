"""Effects of concepts on a model: individual, averaged over originals, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from whybox.errors import InputError, OptionError
from whybox.explanations._escape import escape
from whybox.explanations.counterfactuals import Counterfactuals
from whybox.typing import Floats, Ints, RunStats

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

Metric = Literal["l2", "cosine", "norm"]


@dataclass(frozen=True, order=True)
class Intervention:
    """One row of the table.

    Args:
        concept: what was set.
        source_value: its value before; "?" where it was not known.
        target: its value after.

    Example:
        >>> str(Intervention("food", "Positive", "Negative"))
        'food: Positive -> Negative'
    """

    concept: str
    source_value: str
    target: str

    def __str__(self) -> str:
        return f"{self.concept}: {self.source_value} -> {self.target}"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ConceptEffects:
    """Effects of p pairs (text, intervention), averaged over q interventions, on k outputs.

    Args:
        counterfactuals: every edit with the model's outputs.
        interventions: the q interventions.
        pair_original: (p,) position of each pair's original.
        pair_intervention: (p,) position of each pair's intervention.
        individual: (p, k) mean over the pair's valid edits of f(edit) - f(original); NaN for a pair without a valid edit.
        n_valid: (p,) valid edits of each pair.
        mean: (q, k) average over the pairs with a valid edit.
        std_error: (q, k) of the mean, by bootstrap over originals; NaN with fewer than two originals.
        low: (q, k) lower end of the interval.
        high: (q, k) upper end.
        confidence: of the interval.
        estimand: "total" or "direct": what was asked of the source.
        output_names: names of the k outputs, or None.
        stats: what the model was asked.
        seed: of source and bootstrap.
        null: effects of paraphrases, or None if they were not asked for.

    Example:
        >>> from whybox.concepts import ConceptEffect, StructuralCounterfactuals
        >>> from whybox.datasets import concept_reviews
        >>> data = concept_reviews(20)
        >>> model = lambda texts: [[float("I will be back" in t)] for t in texts]
        >>> e = ConceptEffect(model, StructuralCounterfactuals(data)).explain(data.texts, "return", to="yes")
        >>> e
        <ConceptEffects: 1 interventions, 9 of 9 pairs with a valid edit, total effect>
    """

    counterfactuals: Counterfactuals
    interventions: tuple[Intervention, ...]
    pair_original: Ints
    pair_intervention: Ints
    individual: Floats
    n_valid: Ints
    mean: Floats
    std_error: Floats
    low: Floats
    high: Floats
    confidence: float
    estimand: str
    output_names: tuple[str, ...] | None = None
    stats: RunStats = field(default_factory=RunStats)
    seed: int = 0
    null: ConceptEffects | None = None

    def __post_init__(self) -> None:
        for name in ("pair_original", "pair_intervention", "individual", "n_valid", "mean", "std_error", "low", "high"):
            array = np.array(getattr(self, name))
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    def __len__(self) -> int:
        return len(self.interventions)

    def __repr__(self) -> str:
        p, valid = len(self.pair_original), int((self.n_valid > 0).sum())
        return f"<ConceptEffects: {len(self)} interventions, {valid} of {p} pairs with a valid edit, {self.estimand} effect>"

    @property
    def n_queries(self) -> int:
        """Texts that the model was called with."""
        return self.stats.n_queries

    @property
    def n_pairs(self) -> Ints:
        """(q,) pairs of each intervention, with or without a valid edit."""
        return np.bincount(self.pair_intervention, minlength=len(self)).astype(np.int64)

    @property
    def n_used(self) -> Ints:
        """(q,) pairs of each intervention with a valid edit: those that the mean is of."""
        return np.bincount(self.pair_intervention, weights=self.n_valid > 0, minlength=len(self)).astype(np.int64)

    def __getitem__(self, index: int | str | Sequence[int]) -> ConceptEffects:
        """Some interventions, by position, or all of a concept, by its name."""
        if isinstance(index, str):
            rows = [q for q, i in enumerate(self.interventions) if i.concept == index]
            if not rows:
                raise OptionError(f"concept: expected one of {sorted({i.concept for i in self.interventions})}, got {index!r}")
        else:
            rows = [int(q) for q in np.atleast_1d(np.arange(len(self))[index])]
        new = np.full(len(self), -1)
        new[rows] = np.arange(len(rows))
        pairs = np.flatnonzero(new[self.pair_intervention] >= 0)
        kept = {(i.concept, i.source_value, i.target) for i in (self.interventions[q] for q in rows)}
        return replace(
            self,
            counterfactuals=self.counterfactuals.select(where=lambda e: (e.concept, e.source_value or "?", e.target) in kept),
            interventions=tuple(self.interventions[q] for q in rows),
            pair_original=self.pair_original[pairs],
            pair_intervention=new[self.pair_intervention[pairs]],
            individual=self.individual[pairs],
            n_valid=self.n_valid[pairs],
            **{name: getattr(self, name)[rows] for name in ("mean", "std_error", "low", "high")},
        )

    def output(self, output: int | str) -> int:
        """Position of an output, by its name or its position."""
        if isinstance(output, str):
            if self.output_names is None or output not in self.output_names:
                raise OptionError(f"output: expected one of {self.output_names}, got {output!r}")
            return self.output_names.index(output)
        if not -self.mean.shape[1] <= output < self.mean.shape[1]:
            raise OptionError(f"output: expected a position below {self.mean.shape[1]}, got {output}")
        return int(output) % int(self.mean.shape[1])

    def to_frame(self) -> pd.DataFrame:
        """One row an intervention and output: mean, interval, pairs and how many could be used.

        With a paraphrase null its mean size stands beside: an effect counts only beyond it. ``zero_in_interval`` says whether no effect
        at all is compatible with the data; it is missing where there is no interval.
        """
        import pandas as pd

        q, k = self.mean.shape
        names = list(self.output_names or range(k))
        rows = {
            "concept": [i.concept for i in self.interventions for _ in range(k)],
            "from": [i.source_value for i in self.interventions for _ in range(k)],
            "to": [i.target for i in self.interventions for _ in range(k)],
            "output": names * q,
            "effect": self.mean.ravel(),
            "std_error": self.std_error.ravel(),
            "low": self.low.ravel(),
            "high": self.high.ravel(),
            "zero_in_interval": pd.Series(((self.low <= 0) & (self.high >= 0)).ravel(), dtype="boolean").mask(np.isnan(self.low).ravel()),
            "pairs": np.repeat(self.n_pairs, k),
            "used": np.repeat(self.n_used, k),
        }
        frame = pd.DataFrame(rows)
        frame["estimand"] = self.estimand
        if self.null is not None:
            frame["null_size"] = [self.null.size(i.concept)[j] for i in self.interventions for j in range(k)]
        return frame

    def size(self, concept: str) -> Floats:
        """(k,) mean absolute individual effect of a concept's pairs, NaN without any."""
        chosen = [q for q, i in enumerate(self.interventions) if i.concept == concept]
        values = np.abs(self.individual[np.isin(self.pair_intervention, chosen) & (self.n_valid > 0)])
        result: Floats = values.mean(axis=0) if len(values) else np.full(self.mean.shape[1], np.nan)
        return result

    def individual_frame(self) -> pd.DataFrame:
        """One row a pair: original, intervention, valid edits, effect on each output."""
        import pandas as pd

        chosen = [self.interventions[q] for q in self.pair_intervention.tolist()]
        frame = pd.DataFrame(
            {
                "original": self.pair_original,
                "concept": [i.concept for i in chosen],
                "from": [i.source_value for i in chosen],
                "to": [i.target for i in chosen],
                "n_valid": self.n_valid,
            }
        )
        for j in range(self.individual.shape[1]):
            frame[f"effect {self.output_names[j] if self.output_names else j}"] = self.individual[:, j]
        return frame

    def error_against(self, truth: ConceptEffects, *, metric: Metric = "l2", over: Literal["pairs", "interventions"] = "pairs") -> float:
        """Mean distance of the individual effects from the true ones.

        Args:
            truth: effects of the same texts by exact (or human) counterfactuals.
            metric: "l2", "cosine" (1 where one effect is zero) or "norm" (difference of the norms).
            over: "pairs" (default) averages over all pairs, "interventions" first over the pairs of each intervention.

        Returns:
            The error over the pairs that both have; pairs without a valid edit are left out (see ``n_used``).

        Raises:
            InputError: there is no pair that both have.

        Source: Gat et al., ICLR 2024 (arXiv 2310.00603), section 2 and released code.
        """
        mine, theirs = self._pairs(), truth._pairs()
        shared = [key for key in mine if key in theirs]
        if not shared:
            raise InputError("error_against: no pair of text and intervention has a valid edit in both; expected effects of the same texts")
        a, b = np.array([mine[key] for key in shared]), np.array([theirs[key] for key in shared])
        errors = _distance(a, b, metric)
        if over == "pairs":
            return float(errors.mean())
        if over != "interventions":
            raise OptionError(f'over: expected "pairs" or "interventions", got {over!r}')
        groups = [key[1] for key in shared]
        return float(np.mean([errors[[g == group for g in groups]].mean() for group in dict.fromkeys(groups)]))

    def _pairs(self) -> dict[tuple[str, Intervention], Floats]:
        """Effects by text and intervention."""
        texts = self.counterfactuals.texts
        return {
            (texts[i], self.interventions[q]): effect
            for i, q, effect, n in zip(
                self.pair_original.tolist(), self.pair_intervention.tolist(), self.individual, self.n_valid.tolist(), strict=True
            )
            if n > 0
        }

    def plot(self, *, output: int | str = -1, ax: Axes | None = None) -> Axes:
        """Every intervention's mean effect on one output, with its interval, zero and the paraphrase null."""
        axes: Axes = import_module("whybox.plots.concept_effects").effects(self, output=output, ax=ax)
        return axes

    def plot_individual(self, *, output: int | str = -1, ax: Axes | None = None) -> Axes:
        """Every pair's effect on one output, a row of points for each intervention."""
        axes: Axes = import_module("whybox.plots.concept_effects").individual(self, output=output, ax=ax)
        return axes

    def _repr_html_(self) -> str:
        frame = self.to_frame()
        head = "".join(f'<th style="text-align:left;padding:3px 8px">{escape(name)}</th>' for name in frame.columns)
        rows = "".join("<tr>" + "".join(f'<td style="padding:3px 8px">{_cell(v)}</td>' for v in row) + "</tr>" for row in frame.to_numpy())
        table = f'<table style="border-collapse:collapse;font-size:13px"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        return f'<div style="font-family:sans-serif"><p><b>{escape(repr(self)[1:-1])}</b></p>{table}</div>'


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else escape(value)


def _distance(a: Floats, b: Floats, metric: str) -> Floats:
    """(p,) distances of rows."""
    result: Floats
    norm_a, norm_b = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    if metric == "l2":
        result = np.linalg.norm(a - b, axis=1)
        return result
    if metric == "norm":
        result = np.abs(norm_a - norm_b)
        return result
    if metric == "cosine":
        both = norm_a * norm_b
        cosine = np.divide((a * b).sum(axis=1), both, out=np.zeros_like(both), where=both > 0)
        result = 1.0 - cosine
        return result
    raise OptionError(f'metric: expected "l2", "cosine" or "norm", got {metric!r}')
