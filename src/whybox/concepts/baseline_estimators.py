"""Baselines that estimate effects without a counterfactual text."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from whybox.concepts._classifiers import ConceptClassifier
from whybox.concepts._concept import Concept, by_name
from whybox.concepts._graph import Estimand
from whybox.concepts._logistic import Logistic, linear, ridge
from whybox.concepts._outcome import shares
from whybox.concepts._pool import CandidatePool
from whybox.concepts._source import Ask, Estimates
from whybox.concepts.baselines import indicators, start
from whybox.errors import InputError
from whybox.explanations.counterfactuals import Counterfactuals, GenerationCost
from whybox.typing import Floats


@dataclass(frozen=True)
class ZeroEffect:
    """Says that nothing has an effect: the row that every method has to beat.

    Args:
        concepts: what may be asked for.
        classifier: finds current values where they are not given.

    Example:
        >>> from whybox.concepts import ConceptEffect
        >>> zero = ZeroEffect((Concept("food", ("-", "+")),))
        >>> ConceptEffect(lambda texts: [[1.0] for _ in texts], zero).explain(["Good soup."], "food", to="-").mean.tolist()
        [[0.0]]
    """

    concepts: tuple[Concept, ...]
    classifier: ConceptClassifier | None = field(default=None, repr=False)

    @property
    def estimand(self) -> Estimand:
        """Nothing is held."""
        return "total"

    @property
    def default_k(self) -> int:
        """There are no counterfactuals to count."""
        return 1

    def estimate(
        self,
        ask: Ask,
        texts: Sequence[str],
        concept: str,
        *,
        to: str,
        k: int = 1,
        seed: int = 0,
        current: Sequence[str | None] | None = None,
    ) -> Estimates:
        """Zeros."""
        began = time.perf_counter()
        originals, _, values, rows = start(self.concepts, texts, concept, to, current, self.classifier)
        effects = np.zeros((len(rows), ask(originals[:1]).shape[1]))
        return _estimates(self, originals, values, rows, effects, began, {"k": k, "seed": seed})


@dataclass(frozen=True)
class ConditionalExpectation:
    """CONEXP: the model's mean output for candidates with the new value, minus the mean for those with the old one.

    A difference of groups, not an effect: what goes along with the concept counts in full. Texts whose old value is not known are compared
    with all candidates.

    Args:
        pool: the candidates.
        classifier: finds current values where they are not given.

    Source: Abraham et al., CEBaB, NeurIPS 2022; Goyal et al. 2019.

    Example:
        >>> from whybox.concepts import ConceptEffect
        >>> pool = CandidatePool(["good", "bad"], {"food": ["+", "-"]})
        >>> model = lambda texts: [[float("good" in t)] for t in texts]
        >>> ConceptEffect(model, ConditionalExpectation(pool)).explain(["good rice"], "food", to="-", current=["+"]).mean.tolist()
        [[-1.0]]
    """

    pool: CandidatePool
    classifier: ConceptClassifier | None = field(default=None, repr=False)

    @property
    def estimand(self) -> Estimand:
        """Nothing is held."""
        return "total"

    @property
    def default_k(self) -> int:
        """There are no counterfactuals to count."""
        return 1

    def estimate(
        self,
        ask: Ask,
        texts: Sequence[str],
        concept: str,
        *,
        to: str,
        k: int = 1,
        seed: int = 0,
        current: Sequence[str | None] | None = None,
    ) -> Estimates:
        """The same for every text of the same old value."""
        began = time.perf_counter()
        originals, asked, values, rows = start(self.pool.concepts, texts, concept, to, current, self.classifier)
        outputs = ask(self.pool.texts)
        codes = self.pool.codes(concept)
        new = outputs[self.pool.candidates(concept, to)].mean(axis=0)
        old: dict[str | None, Floats] = {None: outputs[codes >= 0].mean(axis=0)}
        for value in {values[i] for i in rows} - {None}:
            assert value is not None
            old[value] = outputs[self.pool.candidates(concept, value)].mean(axis=0)
        effects = np.array([new - old[values[i]] for i in rows]).reshape(len(rows), outputs.shape[1])
        return _estimates(self, originals, values, rows, effects, began, {"k": k, "seed": seed, "values": list(asked.values)})


@dataclass(frozen=True)
class SLearner:
    """A regression of the model's output on indicators of all concepts; the effect swaps one of them.

    Class probabilities: a logistic regression of the model's most probable class. Other outputs: ridge regressions.

    Args:
        pool: the candidates; their concepts are predicted, as those of texts are.
        classifier: predicts concepts.
        penalty: of the regressions. Default 1.

    Source: Kuenzel et al., PNAS 116, 2019; as a baseline of CEBaB.

    Example:
        >>> from whybox.concepts import CallableClassifier, ConceptEffect
        >>> reads = CallableClassifier({"food": lambda texts: ["+" if "good" in t else "-" for t in texts]})
        >>> pool = CandidatePool(["good", "bad"] * 50, {"food": ["+", "-"] * 50})
        >>> model = lambda texts: [[float("good" in t)] for t in texts]
        >>> ConceptEffect(model, SLearner(pool, reads)).explain(["good rice"], "food", to="-").mean.round(1).tolist()
        [[-1.0]]
    """

    pool: CandidatePool
    classifier: ConceptClassifier = field(repr=False)
    penalty: float = 1.0

    @property
    def estimand(self) -> Estimand:
        """Every other concept is held."""
        return "direct"

    @property
    def default_k(self) -> int:
        """There are no counterfactuals to count."""
        return 1

    def estimate(
        self,
        ask: Ask,
        texts: Sequence[str],
        concept: str,
        *,
        to: str,
        k: int = 1,
        seed: int = 0,
        current: Sequence[str | None] | None = None,
    ) -> Estimates:
        """Prediction with the new value minus prediction with the predicted values."""
        began = time.perf_counter()
        originals, asked, values, rows = start(self.pool.concepts, texts, concept, to, current, self.classifier)
        outputs = ask(self.pool.texts)
        design = self._of_pool
        before = self._design([originals[i] for i in rows])
        after = before.copy()
        left = sum(len(c.values) for c in self.pool.concepts[: list(by_name(self.pool.concepts)).index(concept)])
        after[:, left : left + len(asked.values)] = [float(v == to) for v in asked.values]
        if shares(outputs):
            classes = [f"{c:09d}" for c in outputs.argmax(axis=1).tolist()]
            model = Logistic.fit(design, classes, strength=1.0 / self.penalty)
            effects = np.zeros((len(rows), outputs.shape[1]))
            effects[:, [int(v) for v in model.values]] = model.probabilities(after) - model.probabilities(before)
        else:
            coef = ridge(design, outputs, self.penalty)
            effects = linear(after, coef) - linear(before, coef)
        return _estimates(self, originals, values, rows, effects, began, {"k": k, "seed": seed, "penalty": self.penalty})

    @cached_property
    def _of_pool(self) -> Floats:
        return self._design(self.pool.texts)

    def _design(self, texts: Sequence[str]) -> Floats:
        blocks = [indicators(self.classifier, texts, c) for c in self.pool.concepts]
        return np.concatenate(blocks, axis=1)


def _estimates(
    source: Any,
    texts: tuple[str, ...],
    values: Sequence[str | None],
    rows: Sequence[int],
    effects: Floats,
    began: float,
    settings: dict[str, Any],
) -> Estimates:
    cost = GenerationCost(seconds=time.perf_counter() - began)
    name = type(source).__name__
    if not np.isfinite(effects).all():
        raise InputError(f"{name}: the model's outputs for the pool hold NaN; this estimator needs them all")
    none = Counterfactuals(texts=texts, edits=(), source=name, estimand=source.estimand, cost=cost, settings=settings)
    return Estimates(none, np.array(rows, dtype=np.int64), tuple(values[i] for i in rows), effects)
