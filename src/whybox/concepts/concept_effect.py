"""ConceptEffect: what a concept does to a model, by counterfactuals of any source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from whybox._random import generator
from whybox.concepts._asked import Asked
from whybox.concepts._concept import Concept, by_name
from whybox.concepts._nulls import null_edits
from whybox.concepts._source import CounterfactualSource, EffectEstimator, check_texts
from whybox.engine import Engine
from whybox.errors import InputError, OptionError
from whybox.explanations.concept_effects import ConceptEffects, Intervention
from whybox.explanations.counterfactuals import Counterfactuals, Edit, GenerationCost
from whybox.models import as_model
from whybox.typing import Floats, Ints, Model, RunStats

Current = Mapping[str, Sequence[str | None]] | Sequence[str | None] | None


@dataclass(frozen=True)
class ConceptEffect:
    """Individual and average effects of concepts on a model's outputs.

    For a text x and an intervention c -> c' the estimate is S = mean over valid edits x' of f(x') - f(x); predictions are averaged before
    any distance is taken. Invalid edits never count. All texts, originals and edits of all interventions, go to the engine as one job in
    which equal texts are asked once.

    Args:
        model: anything that :func:`whybox.as_model` takes and that is called with a list of texts.
        source: where counterfactuals come from; or an :class:`EffectEstimator`, which does more with them than to average.
        k: edits a text and intervention. Default: 1, or an estimator's own ``default_k``.
        n_bootstrap: resamples of the originals. Default 2000.
        confidence: of the intervals. Default 0.95.
        engine: how the model is called.

    Raises:
        OptionError: an option has a value that does not exist.

    Source: Gat et al., ICLR 2024 (arXiv 2310.00603): ICaCE estimates by counterfactual approximation.

    Example:
        >>> from whybox.concepts import StructuralCounterfactuals
        >>> from whybox.datasets import concept_reviews
        >>> data = concept_reviews(30)
        >>> model = lambda texts: [[float("I will be back" in t)] for t in texts]
        >>> e = ConceptEffect(model, StructuralCounterfactuals(data)).explain(data.texts, "return", to="yes")
        >>> len(e), bool((e.mean >= 0).all())
        (1, True)
    """

    model: Any = field(repr=False)
    source: CounterfactualSource | EffectEstimator
    k: int | None = None
    n_bootstrap: int = 2000
    confidence: float = 0.95
    engine: Engine = field(default_factory=Engine)

    def __post_init__(self) -> None:
        if self.k is not None and (isinstance(self.k, bool) or not isinstance(self.k, int) or self.k < 1):
            raise OptionError(f"k: expected a positive integer, got {self.k!r}")
        if isinstance(self.n_bootstrap, bool) or not isinstance(self.n_bootstrap, int) or self.n_bootstrap < 2:
            raise OptionError(f"n_bootstrap: expected an integer of at least 2, got {self.n_bootstrap!r}")
        if not 0 < self.confidence < 1:
            raise OptionError(f"confidence: expected a number between 0 and 1, got {self.confidence!r}")
        if not isinstance(self.source, (CounterfactualSource, EffectEstimator)):
            raise InputError(f"source: expected a source of counterfactuals or an estimator of effects, got {type(self.source).__name__}")
        as_model(self.model)

    @property
    def _k(self) -> int:
        if self.k is not None:
            return self.k
        return self.source.default_k if isinstance(self.source, EffectEstimator) else 1

    def explain(
        self,
        texts: Sequence[str],
        concept: str | Sequence[Concept],
        *,
        to: str | Sequence[str] | None = None,
        current: Current = None,
        seed: int = 0,
        null: bool = False,
        progress: bool | None = None,
    ) -> ConceptEffects:
        """Effects of setting a concept.

        Args:
            texts: n originals.
            concept: name of the concept whose value is set; or several :class:`Concept`, each of which is set to each of its values.
            to: its new value, or several; needed with a name, and not used with Concepts.
            current: the present values: n of them, or for several concepts a mapping from name to n values. None asks the source.
            seed: of the source and the bootstrap. Default 0.
            null: also measure edits that keep the concept: paraphrases where the source writes them, else there and back again. They
                cost as many edits again. Default False.
            progress: show a progress bar of the model's queries.

        Returns:
            The effects. Texts that have the value already make no pair.

        Raises:
            OptionError: a concept, value or option does not exist.
        """
        originals = check_texts(texts)
        wanted = _wanted(concept, to)
        if null and not isinstance(self.source, CounterfactualSource):
            raise OptionError(f"null: {type(self.source).__name__} makes no texts, so that there is no edit that could keep the concept")
        if isinstance(self.source, EffectEstimator):
            return self._estimated(self.source, originals, wanted, current, seed, null, progress)
        parts = [
            self.source.counterfactuals(originals, name, to=value, k=self._k, seed=seed, current=_present(current, name))
            for name, value in wanted
        ]
        joined = _joined(originals, parts, self.source.estimand)
        nulls = self._nulls(self.source, originals, wanted, current, seed) if null else None
        model = as_model(self.model)
        (asked, *rest), stats = _predict(model, self.engine, [joined] if nulls is None else [joined, nulls], progress)
        effects = self._effects(asked, stats, seed)
        return effects if not rest else replace(effects, null=self._effects(rest[0], stats, seed))

    def _nulls(
        self, source: CounterfactualSource, texts: tuple[str, ...], wanted: Sequence[tuple[str, str]], current: Current, seed: int
    ) -> Counterfactuals:
        made = [
            null_edits(source, texts, name, values, k=self._k, seed=seed, current=_present(current, name))
            for name, values in _values_of(wanted).items()
        ]
        return _joined(texts, made, source.estimand)

    def _estimated(
        self,
        source: EffectEstimator,
        texts: tuple[str, ...],
        wanted: Sequence[tuple[str, str]],
        current: Current,
        seed: int,
        null: bool,
        progress: bool | None,
    ) -> ConceptEffects:
        """Effects as an estimator finds them: one run of the engine, in which no text is asked twice."""
        model = as_model(self.model)
        nulls = self._nulls(source, texts, wanted, current, seed) if null and isinstance(source, CounterfactualSource) else None
        with self.engine.start(model, progress=progress) as run:
            ask = Asked(run)
            ask(texts)
            found = [
                source.estimate(ask, texts, name, to=value, k=self._k, seed=seed, current=_present(current, name)) for name, value in wanted
            ]
            joined = _scored(_joined(texts, [e.counterfactuals for e in found], source.estimand), ask, model)
            other = None if nulls is None else _scored(nulls, ask, model)
            stats = replace(run.stats, n_rows=ask.rows)
        keys = [
            (int(i), Intervention(name, value or "?", to))
            for (name, to), e in zip(wanted, found, strict=True)
            for i, value in zip(e.original.tolist(), e.source_values, strict=True)
        ]
        individual = np.concatenate([e.effects for e in found])
        n_texts = Counter((edit.original, edit.concept, edit.target) for edit in joined.edits if edit.valid)
        usable = np.isfinite(individual).all(axis=1)
        counts = np.array([max(n_texts[i, q.concept, q.target], 1) for i, q in keys], dtype=np.int64) * usable
        effects = self._table(joined, keys, individual, counts, stats, seed)
        return effects if other is None else replace(effects, null=self._effects(other, stats, seed))

    def _effects(self, e: Counterfactuals, stats: RunStats, seed: int) -> ConceptEffects:
        keys = [(edit.original, Intervention(str(edit.concept), edit.source_value or "?", edit.target)) for edit in e.edits]
        pairs = {key: p for p, key in enumerate(dict.fromkeys(keys))}
        place = np.array([pairs[key] for key in keys], dtype=np.int64)  # (m,)
        change = e.effects
        usable = np.isfinite(change).all(axis=1)  # NaN: invalid, or skipped by the engine
        n_valid = np.bincount(place[usable], minlength=len(pairs))
        sums = np.zeros((len(pairs), change.shape[1]))
        np.add.at(sums, place[usable], change[usable])
        individual = np.divide(sums, n_valid[:, None], out=np.full_like(sums, np.nan), where=n_valid[:, None] > 0)
        return self._table(e, list(pairs), individual, n_valid, stats, seed)

    def _table(
        self, e: Counterfactuals, pairs: Sequence[tuple[int, Intervention]], individual: Floats, n_valid: Ints, stats: RunStats, seed: int
    ) -> ConceptEffects:
        """Pairs and their effects to the result."""
        interventions = tuple(dict.fromkeys(i for _, i in pairs))
        number = {i: q for q, i in enumerate(interventions)}
        original = np.array([i for i, _ in pairs], dtype=np.int64)
        which = np.array([number[i] for _, i in pairs], dtype=np.int64)
        mean, error, low, high = self._averages(individual, n_valid > 0, original, which, len(interventions), len(e), seed)
        return ConceptEffects(
            counterfactuals=e,
            interventions=interventions,
            pair_original=original,
            pair_intervention=which,
            individual=individual,
            n_valid=n_valid,
            mean=mean,
            std_error=error,
            low=low,
            high=high,
            confidence=self.confidence,
            estimand=self.source.estimand,
            output_names=e.output_names,
            stats=stats,
            seed=seed,
        )

    def _averages(
        self, individual: Floats, used: Any, original: Ints, which: Ints, q: int, n: int, seed: int
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """Means over pairs, and their spread when the originals are drawn again."""
        k = individual.shape[1]
        mean, error, low, high = (np.full((q, k), np.nan) for _ in range(4))
        draws = generator(seed, "concept effect", "bootstrap").multinomial(n, np.full(n, 1.0 / n), size=self.n_bootstrap)
        tail = 100.0 * (1.0 - self.confidence) / 2.0
        for j in range(q):  # over interventions, of which there are few
            pairs = used & (which == j)
            if not pairs.any():
                continue
            mean[j] = individual[pairs].mean(axis=0)
            if len(np.unique(original[pairs])) < 2:
                continue
            weights = draws[:, original[pairs]].astype(np.float64)  # (B, pairs)
            total = weights.sum(axis=1)
            again = (weights @ individual[pairs])[total > 0] / total[total > 0, None]
            if len(again) < 2:
                continue
            error[j] = again.std(axis=0, ddof=1)
            low[j], high[j] = np.percentile(again, [tail, 100.0 - tail], axis=0)
        return mean, error, low, high


def _wanted(concept: str | Sequence[Concept], to: str | Sequence[str] | None) -> list[tuple[str, str]]:
    if isinstance(concept, str):
        values = [to] if isinstance(to, str) else list(to or ())
        if not values:
            raise OptionError(
                f"to: expected the value that {concept!r} is set to, or several; or pass Concept objects to set each to all values"
            )
        return [(concept, value) for value in dict.fromkeys(values)]
    if to is not None:
        raise OptionError("to: goes with the name of one concept; Concept objects are set to each of their values")
    return [(c.name, value) for c in by_name(concept).values() for value in c.values]


def _values_of(wanted: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in wanted:
        values.setdefault(name, []).append(value)
    return values


def _present(current: Current, concept: str) -> Sequence[str | None] | None:
    if current is None:
        return None
    if isinstance(current, Mapping):
        if concept not in current:
            raise OptionError(f"current: expected values of {concept!r}, got those of {sorted(current)}")
        return current[concept]
    return current


def _joined(texts: tuple[str, ...], parts: Sequence[Counterfactuals], estimand: str) -> Counterfactuals:
    edits: list[Edit] = [edit for part in parts for edit in part.edits]
    cost = sum((part.cost for part in parts), GenerationCost())
    settings = {"calls": [dict(part.settings) for part in parts]}
    source = parts[0].source if parts else ""
    return Counterfactuals(texts=texts, edits=tuple(edits), source=source, estimand=estimand, cost=cost, settings=settings)


def _scored(e: Counterfactuals, ask: Asked, model: Model) -> Counterfactuals:
    """The edits with the model's outputs."""
    before = ask(e.texts)
    after = np.full((len(e.edits), before.shape[1]), np.nan)
    valid = [j for j, edit in enumerate(e.edits) if edit.valid]
    if valid:
        after[valid] = ask([e.edits[j].text for j in valid])
    return e.with_outputs(before, after, model.output_names)


def _predict(
    model: Model, engine: Engine, parts: Sequence[Counterfactuals], progress: bool | None
) -> tuple[list[Counterfactuals], RunStats]:
    """Outputs of all originals and all valid edits: one job, equal texts once, invalid edits not at all."""
    asked = [*parts[0].texts, *(edit.text for part in parts for edit in part.edits if edit.valid)]
    place = {text: i for i, text in enumerate(dict.fromkeys(asked))}
    with engine.start(model, progress=progress) as run:
        outputs = run.predict(list(place))
        stats = replace(run.stats, n_rows=len(asked))
    scored = []
    for part in parts:
        before = outputs[[place[text] for text in part.texts]]
        after = np.full((len(part.edits), outputs.shape[1]), np.nan)
        for j, edit in enumerate(part.edits):
            if edit.valid:
                after[j] = outputs[place[edit.text]]
        scored.append(part.with_outputs(before, after, model.output_names))
    return scored, stats
