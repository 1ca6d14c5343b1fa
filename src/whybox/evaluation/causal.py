"""How close estimated concept effects are to true ones, and whether they rank interventions rightly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from whybox._random import generator
from whybox.errors import InputError, OptionError, ShapeError
from whybox.evaluation._bootstrap import ratios
from whybox.evaluation._metrics import errors as distances
from whybox.evaluation._metrics import numbered, order_of_averages, over_cells, percentile, two_of_a_text
from whybox.explanations.concept_effects import ConceptEffects, Intervention
from whybox.typing import Floats

if TYPE_CHECKING:
    import pandas as pd

METRICS = ("l2_cells", "l2_pairs", "cosine_cells", "norm_cells", "order", "order_all", "order_average")


@dataclass(frozen=True, eq=False)
class Pairs:
    """True individual effects of p pairs (text, intervention).

    Args:
        effects: (p, k) f(counterfactual) - f(text).
        texts: (p,) the texts, or any names of theirs.
        interventions: (p,) what was done; pairs of one intervention form a cell.
        originals: (p,) what a text goes back to; the bootstrap draws originals, as pairs of one are not independent. None (default): the
            texts themselves.

    Raises:
        ShapeError: lengths differ.
        InputError: there are no pairs, or an effect is not finite.

    Example:
        >>> import numpy as np
        >>> to_bad = Intervention("food", "Positive", "Negative")
        >>> Pairs(np.array([[0.5, -0.5]]), ("a",), (to_bad,)).cells
        (Intervention(concept='food', source_value='Positive', target='Negative'),)
    """

    effects: Floats
    texts: tuple[str, ...]
    interventions: tuple[Intervention, ...]
    originals: tuple[str, ...] = None  # type: ignore[assignment]  # None is resolved below and never seen

    def __post_init__(self) -> None:
        effects = np.array(self.effects, dtype=np.float64)
        given: Any = self.originals
        object.__setattr__(self, "texts", tuple(self.texts))
        object.__setattr__(self, "interventions", tuple(self.interventions))
        object.__setattr__(self, "originals", self.texts if given is None else tuple(given))
        if effects.ndim != 2 or not (len(effects) == len(self.texts) == len(self.interventions) == len(self.originals)):
            raise ShapeError(
                f"pairs: expected (p, k) effects and p texts, interventions and originals, got {effects.shape}, {len(self.texts)}, "
                f"{len(self.interventions)} and {len(self.originals)}"
            )
        if not len(effects):
            raise InputError("pairs: expected at least one pair, got none")
        if bad := int((~np.isfinite(effects).all(axis=1)).sum()):
            raise InputError(f"pairs: expected finite true effects, got NaN or infinite ones in {bad} pairs")
        effects.setflags(write=False)
        object.__setattr__(self, "effects", effects)

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def cells(self) -> tuple[Intervention, ...]:
        """The interventions, each once."""
        return tuple(dict.fromkeys(self.interventions))

    def estimates(self, estimated: ConceptEffects) -> Floats:
        """(p, k) estimated effects of these pairs; NaN for a pair that has none."""
        known = {
            (estimated.counterfactuals.texts[i], estimated.interventions[q]): effect
            for i, q, effect in zip(
                estimated.pair_original.tolist(), estimated.pair_intervention.tolist(), estimated.individual, strict=True
            )
        }
        none = np.full(self.effects.shape[1], np.nan)
        return np.array([known.get(key, none) for key in zip(self.texts, self.interventions, strict=True)])


def pairs_of(truth: ConceptEffects, *, originals: Sequence[str] | None = None) -> Pairs:
    """True effects as pairs, such as those by :class:`whybox.concepts.StructuralCounterfactuals`.

    Args:
        truth: effects by exact or human counterfactuals; pairs without a valid one are left out.
        originals: what each of its texts goes back to; None (default): itself.

    Raises:
        InputError: another number of originals than texts.

    Example:
        >>> from whybox.concepts import ConceptEffect, StructuralCounterfactuals
        >>> from whybox.datasets import concept_reviews
        >>> data = concept_reviews(10)
        >>> model = lambda texts: [[float("good" in t)] for t in texts]
        >>> explain = ConceptEffect(model, StructuralCounterfactuals(data)).explain
        >>> len(pairs_of(explain(data.texts, "food", to="Negative")).cells)
        2
    """
    texts = truth.counterfactuals.texts
    if originals is not None and len(originals) != len(texts):
        raise InputError(f"originals: expected {len(texts)}, one a text, got {len(originals)}")
    keep = np.flatnonzero(truth.n_valid > 0)
    rows = truth.pair_original[keep].tolist()
    return Pairs(
        truth.individual[keep],
        tuple(texts[i] for i in rows),
        tuple(truth.interventions[q] for q in truth.pair_intervention[keep].tolist()),
        tuple((originals or texts)[i] for i in rows),
    )


@dataclass(frozen=True)
class Scores:
    """One method's row.

    Args:
        values: metric to value: "l2_cells", "l2_pairs", "cosine_cells", "norm_cells", "order" and "order_all" (individual) and
            "order_average".
        low: lower ends of the intervals.
        high: upper ends.
        n_pairs: pairs that had an estimate.
        n_missing: pairs that had none, which no metric counts.
        draws: (b,) metric to its value in each bootstrap resample; the same resamples for every method.

    Example:
        >>> import numpy as np
        >>> truth = Pairs(np.eye(2), ("a", "b"), (Intervention("food", "+", "-"),) * 2)
        >>> score(truth, np.eye(2)).values["l2_cells"]
        0.0
    """

    values: Mapping[str, float]
    low: Mapping[str, float]
    high: Mapping[str, float]
    n_pairs: int
    n_missing: int
    draws: Mapping[str, Floats] = field(repr=False)


def score(truth: Pairs, estimates: Floats, *, n_bootstrap: int = 1000, confidence: float = 0.95, seed: int = 0) -> Scores:
    """Errors and order-faithfulness of estimated individual effects.

    - ``l2``: distance of the estimate from the true effect; ``cosine``: cosine distance, 1 where either is zero; ``norm``: difference of
      the norms. ``_cells`` averages over the interventions, each with the mean of its pairs; ``_pairs`` over all pairs.
    - ``order``: over all two *different* interventions on one text, the share of outputs for which the estimate has the true sign of the
      difference between their effects. An estimate without a difference is wrong where there is a true one.
    - ``order_all``: the same over all two pairs of one text, those of one intervention included: two true counterfactuals of one kind, of
      which an estimate says the same, so that it is wrong unless they are equal. It is ``order`` where no intervention has two.
    - ``order_average``: the same as ``order`` for the interventions' average effects.

    Args:
        truth: the true effects.
        estimates: (p, k); NaN where there is none.
        n_bootstrap: resamples of the originals. Default 1000.
        confidence: of the intervals. Default 0.95.
        seed: of the resamples.

    Raises:
        ShapeError: estimates are of another shape than the true effects.
        InputError: no pair has an estimate.

    Source: Gat et al., ICLR 2024 (arXiv 2310.00603) and its code for errors and aggregations; LIBERTy (arXiv 2601.10700) for the order.

    Example:
        >>> import numpy as np
        >>> truth = Pairs(np.eye(2), ("a", "a"), (Intervention("food", "+", "-"), Intervention("noise", "+", "-")))
        >>> score(truth, 0.5 * np.eye(2), n_bootstrap=10).values["order"]
        1.0
    """
    given = np.asarray(estimates, dtype=np.float64)
    if given.shape != truth.effects.shape:
        raise ShapeError(f"estimates: expected the shape {truth.effects.shape} of the true effects, got {given.shape}")
    if isinstance(n_bootstrap, bool) or not isinstance(n_bootstrap, int) or n_bootstrap < 2:
        raise OptionError(f"n_bootstrap: expected an integer of at least 2, got {n_bootstrap!r}")
    used = np.flatnonzero(np.isfinite(given).all(axis=1))
    if not len(used):
        raise InputError("estimates: expected an estimate for at least one pair, got none")
    true, guess = truth.effects[used], given[used]
    which = numbered([truth.interventions[i] for i in used.tolist()])
    original = numbered([truth.originals[i] for i in used.tolist()])
    n = int(original.max()) + 1
    draws = generator(seed, "evaluation", "bootstrap").multinomial(n, np.full(n, 1.0 / n), size=n_bootstrap)
    weights = np.concatenate([np.ones((1, n)), draws]).astype(np.float64)  # the first row: as it is
    errors = distances(true, guess)
    found: dict[str, Floats] = {"l2_pairs": ratios(weights, original, errors["l2"])}
    for name, values in errors.items():
        found[f"{name}_cells"] = over_cells(weights, original, which, values)
    first, second = two_of_a_text([truth.texts[i] for i in used.tolist()])
    agree = (np.sign(true[first] - true[second]) == np.sign(guess[first] - guess[second])).mean(axis=1)
    differ = which[first] != which[second]
    found["order"] = ratios(weights, original[first[differ]], agree[differ])
    found["order_all"] = ratios(weights, original[first], agree)
    found["order_average"] = order_of_averages(weights, original, which, true, guess)
    tail = 50.0 * (1.0 - confidence)
    low, high = ({m: percentile(v[1:], q) for m, v in found.items()} for q in (tail, 100.0 - tail))
    return Scores(
        {m: float(found[m][0]) for m in METRICS},
        {m: low[m] for m in METRICS},
        {m: high[m] for m in METRICS},
        len(used),
        len(truth) - len(used),
        {m: found[m][1:] for m in METRICS},
    )


@dataclass(frozen=True)
class CausalReport:
    """Several methods on the same pairs.

    Args:
        rows: method to its scores; the first are the references that every table carries.

    Example:
        >>> import numpy as np
        >>> truth = Pairs(np.eye(2), ("a", "b"), (Intervention("food", "+", "-"), Intervention("food", "-", "+")))
        >>> compare(truth, {"exact": np.eye(2)}, n_bootstrap=10).to_frame()["l2_cells"].round(2).tolist()
        [1.0, 0.0]
    """

    rows: Mapping[str, Scores]

    def to_frame(self) -> pd.DataFrame:
        """One row a method: each metric with its interval, the pairs that had an estimate and those that had none."""
        import pandas as pd

        table = {
            name: {
                **{key: v for m in METRICS for key, v in ((m, s.values[m]), (f"{m} low", s.low[m]), (f"{m} high", s.high[m]))},
                "pairs": s.n_pairs,
                "missing": s.n_missing,
            }
            for name, s in self.rows.items()
        }
        frame = pd.DataFrame.from_dict(table, orient="index")
        frame.index.name = "method"
        return frame

    def difference(self, better: str, than: str, metric: str = "l2_cells", confidence: float = 0.95) -> tuple[float, float, float]:
        """Difference of two methods in a metric, with the interval of the paired bootstrap.

        Raises:
            OptionError: a method or metric does not exist.
        """
        for name in (better, than):
            if name not in self.rows:
                raise OptionError(f"method: expected one of {list(self.rows)}, got {name!r}")
        if metric not in METRICS:
            raise OptionError(f"metric: expected one of {METRICS}, got {metric!r}")
        a, b = self.rows[better], self.rows[than]
        if a.n_missing or b.n_missing:
            raise InputError("difference: a method lacks estimates of some pairs, so that the resamples are not paired")
        apart = a.draws[metric] - b.draws[metric]
        tail = 50.0 * (1.0 - confidence)
        return a.values[metric] - b.values[metric], percentile(apart, tail), percentile(apart, 100.0 - tail)


def compare(
    truth: Pairs,
    estimates: Mapping[str, Floats | ConceptEffects],
    *,
    null: Floats | None = None,
    n_bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> CausalReport:
    """Score several methods on the same pairs and the same resamples, with the rows that every table carries.

    Args:
        truth: the true effects.
        estimates: method to (p, k) estimates, or to ConceptEffects of the same texts.
        null: (p, k) change of the outputs by paraphrases of each text, which keep every concept: what an estimate that knows nothing but
            the noise of editing scores ("paraphrase null"); None (default): no such row.
        n_bootstrap: resamples of the originals. Default 1000.
        confidence: of the intervals. Default 0.95.
        seed: of the resamples.

    Example:
        >>> import numpy as np
        >>> truth = Pairs(np.eye(2), ("a", "b"), (Intervention("food", "+", "-"),) * 2)
        >>> list(compare(truth, {"mine": np.eye(2)}, n_bootstrap=10).rows)
        ['zero effect', 'mine']
    """
    rows: dict[str, Floats | ConceptEffects] = {"zero effect": np.zeros(truth.effects.shape)}
    if null is not None:
        rows["paraphrase null"] = null
    rows |= estimates
    return CausalReport(
        {
            name: score(
                truth,
                truth.estimates(given) if isinstance(given, ConceptEffects) else given,
                n_bootstrap=n_bootstrap,
                confidence=confidence,
                seed=seed,
            )
            for name, given in rows.items()
        }
    )
