"""The baselines that every table of concept effects carries: matchers that read no text, and estimators that read no counterfactual."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whybox._random import generator
from whybox.concepts._classifiers import ConceptClassifier
from whybox.concepts._concept import Concept, by_name
from whybox.concepts._graph import Estimand
from whybox.concepts._logistic import Logistic
from whybox.concepts._match import Matcher
from whybox.concepts._pool import CandidatePool
from whybox.concepts._source import check_current, check_texts
from whybox.errors import InputError, OptionError
from whybox.explanations.counterfactuals import Counterfactuals, Edit, GenerationCost
from whybox.typing import Floats, Ints


def start(
    concepts: Sequence[Concept],
    texts: Sequence[str],
    concept: str,
    to: str,
    current: Sequence[str | None] | None,
    judge: ConceptClassifier | None,
) -> tuple[tuple[str, ...], Concept, tuple[str | None, ...], list[int]]:
    """Checked texts, the concept, its values, and the rows that do not have the value already."""
    originals = check_texts(texts)
    named = by_name(concepts)
    if concept not in named:
        raise OptionError(f"concept: expected one of {sorted(named)}, got {concept!r}")
    asked = named[concept]
    asked.check(to)
    values = check_current(current, len(originals), asked.values)
    if values is None:
        values = (None,) * len(originals) if judge is None else judge.classify(originals, concept)
    return originals, asked, values, [i for i, value in enumerate(values) if value != to]


@dataclass(frozen=True)
class RandomMatches:
    """Any candidates with the target value.

    Args:
        pool: the candidates.
        classifier: finds current values where they are not given.

    Example:
        >>> pool = CandidatePool(["Good soup.", "Bad soup."], {"food": ["+", "-"]})
        >>> RandomMatches(pool).counterfactuals(["Good rice."], "food", to="-").edits[0].text
        'Bad soup.'
    """

    pool: CandidatePool
    classifier: ConceptClassifier | None = field(default=None, repr=False)

    @property
    def estimand(self) -> Estimand:
        """A candidate differs in whatever it differs: nothing is held."""
        return "total"

    def counterfactuals(
        self, texts: Sequence[str], concept: str, *, to: str, k: int = 1, seed: int = 0, current: Sequence[str | None] | None = None
    ) -> Counterfactuals:
        """k candidates of each text, drawn without replacement among those that have the value and are not the text itself."""
        began = time.perf_counter()
        originals, _, values, rows = start(self.pool.concepts, texts, concept, to, current, self.classifier)
        among = self.pool.candidates(concept, to)
        drawn = _drawn(self.pool, originals, rows, [among] * len(rows), concept, to, k, seed)
        return _matches(self, self.pool, originals, rows, drawn, values, concept, to, began, {"k": k, "seed": seed})


@dataclass(frozen=True)
class ApproxMatches:
    """Candidates with the target value and, by prediction, the same values of all other concepts.

    Where no candidate has them the fallback is any candidate with the target value; ``settings["coverage"]`` is the share of texts that
    needed no fallback, and ``notes["exact"]`` tells it of an edit. Fewer than k exact candidates are not filled up.

    Args:
        pool: the candidates.
        classifier: predicts the concepts of texts and of the pool.
        encoder: ranks the exact candidates by cosine; None (default) draws among them.

    Source: Abraham et al., CEBaB, NeurIPS 2022 (arXiv 2205.14140), approximate counterfactuals.

    Example:
        >>> from whybox.concepts import CallableClassifier
        >>> reads = CallableClassifier(
        ...     {name: lambda texts, w=w: ["+" if w in t else "-" for t in texts] for name, w in (("food", "good"), ("noise", "loud"))}
        ... )
        >>> texts = ["good", "bad", "good, loud", "bad, loud"]
        >>> pool = CandidatePool(texts, {"food": ["+", "-", "+", "-"], "noise": ["-", "-", "+", "+"]})
        >>> ApproxMatches(pool, reads).counterfactuals(["very good, loud"], "food", to="-").edits[0].text
        'bad, loud'
    """

    pool: CandidatePool
    classifier: ConceptClassifier = field(repr=False)
    encoder: Callable[[list[str]], Any] | None = field(default=None, repr=False)

    @property
    def estimand(self) -> Estimand:
        """Every other concept is held."""
        return "direct"

    @cached_property
    def _matcher(self) -> Matcher:
        assert self.encoder is not None
        return Matcher(self.pool, self.encoder)

    @cached_property
    def _predicted(self) -> dict[str, NDArray[np.object_]]:
        """Concept to (m,) predicted values of the pool."""
        return {c.name: np.array(self.classifier.classify(self.pool.texts, c.name), dtype=object) for c in self.pool.concepts}

    def counterfactuals(
        self, texts: Sequence[str], concept: str, *, to: str, k: int = 1, seed: int = 0, current: Sequence[str | None] | None = None
    ) -> Counterfactuals:
        """At most k candidates of each text."""
        began = time.perf_counter()
        originals, asked, values, rows = start(self.pool.concepts, texts, concept, to, current, self.classifier)
        among = self.pool.candidates(concept, to)
        same = np.ones((len(rows), len(among)), dtype=bool)
        for other in self.pool.concepts:
            if other.name != asked.name and rows:
                mine = np.array(self.classifier.classify([originals[i] for i in rows], other.name), dtype=object)
                same &= mine[:, None] == self._predicted[other.name][among][None]
        itself = np.array([[self.pool.texts[p] == originals[i] for p in among.tolist()] for i in rows], dtype=bool).reshape(same.shape)
        exact = (same & ~itself).any(axis=1)
        allowed = [among[row] if fits else among for row, fits in zip(same, exact, strict=True)]
        if self.encoder is None:
            chosen = _drawn(self.pool, originals, rows, allowed, concept, to, k, seed)
        else:
            chosen = [self._matcher.nearest(originals, [i], places, k)[0][0] for i, places in zip(rows, allowed, strict=True)]
        settings = {"k": k, "seed": seed, "coverage": float(exact.mean()) if rows else 1.0}
        notes = [{"exact": bool(fits)} for fits in exact]
        return _matches(self, self.pool, originals, rows, chosen, values, concept, to, began, settings, notes)


@dataclass(frozen=True)
class PropensityMatches:
    """Candidates with the target value whose probability to have it, given their other concepts, is nearest to the text's.

    Args:
        pool: the candidates.
        classifier: predicts the concepts of texts and of the pool.

    Source: Rosenbaum and Rubin, Biometrika 70, 1983, as a baseline of Gat et al., ICLR 2024.

    Example:
        >>> from whybox.concepts import CallableClassifier
        >>> reads = CallableClassifier(
        ...     {name: lambda texts, w=w: ["+" if w in t else "-" for t in texts] for name, w in (("food", "good"), ("noise", "loud"))}
        ... )
        >>> texts = ["good", "bad", "good, loud", "bad, loud", "bad, very loud"]
        >>> pool = CandidatePool(texts, {"food": list("+-+--"), "noise": list("--+++")})
        >>> PropensityMatches(pool, reads).counterfactuals(["so good, loud"], "food", to="-").edits[0].text[:9]
        'bad, loud'
    """

    pool: CandidatePool
    classifier: ConceptClassifier = field(repr=False)

    @property
    def estimand(self) -> Estimand:
        """Every other concept is held, as far as one number can hold them."""
        return "direct"

    @cached_property
    def _fitted(self) -> dict[str, tuple[Logistic, Floats]]:
        return {}

    def _design(self, texts: Sequence[str], concept: str) -> Floats:
        """(n, d) indicators of the other concepts' predicted values."""
        blocks = [indicators(self.classifier, texts, c) for c in self.pool.concepts if c.name != concept]
        return np.concatenate([np.ones((len(texts), 1)), *blocks], axis=1)

    def _propensity(self, concept: str) -> tuple[Logistic, Floats]:
        """The model of the concept given the others, and (m, v) probabilities of the pool's texts."""
        if concept not in self._fitted:
            design, codes = self._design(self.pool.texts, concept), self.pool.codes(concept)
            known = codes >= 0
            model = Logistic.fit(design[known], [self.pool.concept(concept).values[c] for c in codes[known].tolist()])
            self._fitted[concept] = (model, model.probabilities(design))
        return self._fitted[concept]

    def counterfactuals(
        self, texts: Sequence[str], concept: str, *, to: str, k: int = 1, seed: int = 0, current: Sequence[str | None] | None = None
    ) -> Counterfactuals:
        """The k candidates of nearest propensity; among equals, drawn."""
        began = time.perf_counter()
        originals, _, values, rows = start(self.pool.concepts, texts, concept, to, current, self.classifier)
        among = self.pool.candidates(concept, to)
        model, scores = self._propensity(concept)
        at = model.values.index(to)
        mine = model.probabilities(self._design([originals[i] for i in rows], concept))[:, at] if rows else np.zeros(0)
        chosen = []
        for i, score in zip(rows, mine.tolist(), strict=True):
            free = among[[self.pool.texts[p] != originals[i] for p in among.tolist()]]
            rng = generator(seed, "propensity", _key(originals[i]), concept, to)
            order = np.lexsort((rng.random(len(free)), np.abs(scores[free, at] - score).round(12)))
            chosen.append(free[order[:k]].tolist())
        return _matches(self, self.pool, originals, rows, chosen, values, concept, to, began, {"k": k, "seed": seed})


@dataclass(frozen=True)
class ConceptVectors:
    """An encoder: the probabilities of every concept's values side by side (ConVecs).

    Args:
        probabilities: (texts, concept) to (n, v) probabilities, such as those of a fitted classifier.
        concepts: names, in the order of the vector.

    Source: LIBERTy (arXiv 2601.10700).

    Example:
        >>> import numpy as np
        >>> ConceptVectors(lambda texts, concept: np.full((len(texts), 2), 0.5), ("food", "noise"))(["Hm."]).tolist()
        [[0.5, 0.5, 0.5, 0.5]]
    """

    probabilities: Callable[[Sequence[str], str], Floats] = field(repr=False)
    concepts: tuple[str, ...]

    def __call__(self, texts: Sequence[str]) -> Floats:
        """(n, sum of values) probabilities."""
        return np.concatenate([np.asarray(self.probabilities(texts, c), dtype=np.float64) for c in self.concepts], axis=1)


def indicators(classifier: ConceptClassifier, texts: Sequence[str], concept: Concept) -> Floats:
    """(n, v) indicators of predicted values; zeros where none was told."""
    told = classifier.classify(texts, concept.name)
    return np.array([[float(value == v) for v in concept.values] for value in told]).reshape(len(texts), len(concept.values))


def _key(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").hex()


def _drawn(
    pool: CandidatePool, texts: tuple[str, ...], rows: Sequence[int], allowed: Sequence[Ints], concept: str, to: str, k: int, seed: int
) -> list[list[int]]:
    """At most k of the allowed candidates of each row, by a draw that depends on the text alone."""
    chosen = []
    for i, places in zip(rows, allowed, strict=True):
        free = places[[pool.texts[p] != texts[i] for p in places.tolist()]]
        rng = generator(seed, "random match", _key(texts[i]), concept, to)
        chosen.append(rng.permutation(free)[:k].tolist())
    return chosen


def _matches(
    source: Any,
    pool: CandidatePool,
    texts: tuple[str, ...],
    rows: Sequence[int],
    chosen: Sequence[Sequence[int]],
    values: Sequence[str | None],
    concept: str,
    to: str,
    began: float,
    settings: dict[str, Any],
    notes: Sequence[dict[str, Any]] | None = None,
) -> Counterfactuals:
    if empty := [i for i, places in zip(rows, chosen, strict=True) if not places]:
        raise InputError(f"pool: the only candidate with {concept}={to!r} is the text itself (position {empty[0]}); add candidates")
    edits = tuple(
        Edit(i, concept, values[i], to, sample, pool.texts[p], notes={"candidate": p, **(notes[r] if notes else {})})
        for r, (i, places) in enumerate(zip(rows, chosen, strict=True))
        for sample, p in enumerate(places)
    )
    cost = GenerationCost(seconds=time.perf_counter() - began)
    return Counterfactuals(texts=texts, edits=edits, source=type(source).__name__, estimand=source.estimand, cost=cost, settings=settings)
