"""Estimators that were tried and did not become the default; kept so that the table shows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from whybox.concepts import CandidatePool, Estimates, FittedClassifier, MatchedCounterfactuals
from whybox.concepts._logistic import linear, ridge, softmax
from whybox.concepts._outcome import scores
from whybox.datasets._concept_data import render
from whybox.explanations import Counterfactuals


def _design(classifier: FittedClassifier, pool: CandidatePool, texts: Sequence[str]) -> tuple[Any, dict[str, slice]]:
    """(n, d) probabilities of all concepts, and where each stands."""
    blocks, places, left = [], {}, 0
    for concept in pool.concepts:
        p, values = classifier.probabilities(texts, concept.name)
        block = np.zeros((len(texts), len(concept.values)))
        block[:, [concept.values.index(v) for v in values]] = p
        blocks.append(block)
        places[concept.name] = slice(left, left + block.shape[1])
        left += block.shape[1]
    return np.concatenate(blocks, axis=1), places


@dataclass(frozen=True)
class Abduction:
    """A ridge regression of log-probabilities on the concepts' probabilities; the share ``keep`` of a text's own residual stays."""

    pool: CandidatePool
    classifier: FittedClassifier = field(repr=False)
    keep: float = 0.75
    estimand: str = "direct"
    default_k: int = 1

    def estimate(self, ask: Any, texts: Any, concept: str, *, to: str, k: int = 1, seed: int = 0, current: Any = None) -> Estimates:
        rows = [i for i, value in enumerate(current) if value != to]
        mine = [texts[i] for i in rows]
        design, places = _design(self.classifier, self.pool, self.pool.texts)
        coef = ridge(design, scores(ask(self.pool.texts), True), 3.0)
        before, _ = _design(self.classifier, self.pool, mine)
        after = before.copy()
        after[:, places[concept]] = [float(v == to) for v in self.pool.concept(concept).values]
        outputs = ask(mine)
        rest = scores(outputs, True) - linear(before, coef)
        effects = softmax(linear(after, coef) + self.keep * rest) - outputs
        none = Counterfactuals(texts=tuple(texts), edits=(), source="Abduction", estimand="direct", settings={"k": k, "seed": seed})
        return Estimates(none, np.array(rows), tuple(current[i] for i in rows), effects)


@dataclass(frozen=True)
class BiasCorrected:
    """K whole texts, each corrected by what a regression on the concepts' probabilities says of its distance to the text."""

    source: MatchedCounterfactuals
    classifier: FittedClassifier = field(repr=False)
    estimand: str = "direct"
    default_k: int = 10

    def estimate(self, ask: Any, texts: Any, concept: str, *, to: str, k: int = 1, seed: int = 0, current: Any = None) -> Estimates:
        made = self.source.counterfactuals(texts, concept, to=to, k=k, seed=seed, current=current)
        pool = self.source.pool
        rows = [i for i, value in enumerate(current) if value != to]
        at = {i: r for r, i in enumerate(rows)}
        design, places = _design(self.classifier, pool, pool.texts)
        coef = ridge(design, scores(ask(pool.texts), True), 3.0)
        wanted, _ = _design(self.classifier, pool, [texts[i] for i in rows])
        wanted[:, places[concept]] = [float(v == to) for v in pool.concept(concept).values]
        owner = np.array([at[e.original] for e in made.edits])
        candidates = np.array([e.notes["candidate"] for e in made.edits])
        outputs = ask([e.text for e in made.edits])
        held = design[candidates].copy()
        held[:, places[concept]] = [float(v == to) for v in pool.concept(concept).values]
        moved = softmax(scores(outputs, True) + linear(wanted, coef)[owner] - linear(held, coef))
        mean = np.zeros((len(rows), outputs.shape[1]))
        np.add.at(mean, owner, moved)
        mean /= np.bincount(owner, minlength=len(rows))[:, None]
        return Estimates(made, np.array(rows), tuple(current[i] for i in rows), mean - ask([texts[i] for i in rows]))


def fused(encoders: Sequence[Callable[[list[str]], Any]]) -> Callable[[list[str]], Any]:
    """Several encoders' vectors of length 1, side by side."""

    def encode(texts: list[str]) -> Any:
        vectors = [np.asarray(e(texts), dtype=np.float32) for e in encoders]
        return np.concatenate([v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-9) for v in vectors], axis=1)

    return encode


@dataclass(frozen=True)
class TrueEquations:
    """A bound, no method: true equations and wording; only the noise has to be told from the values, by its posterior."""

    data: Any = field(repr=False)
    draws: int = 100
    estimand: str = "total"
    default_k: int = 1

    def noise(self, rows: Any) -> dict[str, Any]:
        """(n * draws,) noise of each variable, given all values of the row."""
        from scipy.stats import truncnorm

        rng, found = np.random.default_rng(0), {}
        for variable in self.data.model.variables:
            name, codes = variable.name, self.data.codes[variable.name][rows]
            if variable.mechanism is None:
                found[name] = np.repeat(self.data.noise[name][rows], self.draws)
                continue
            parents = {p: self.data.codes[p][rows].astype(float) for p in variable.parents}
            rest, (mean, deviation) = variable.mechanism(parents, np.zeros(len(rows))), variable.noise
            low = np.where(codes == 0, -np.inf, codes - 0.5 - rest)
            high = np.where(codes == len(variable.values) - 1, np.inf, codes + 0.5 - rest)
            ends = ((low - mean) / deviation)[:, None], ((high - mean) / deviation)[:, None]
            drawn = truncnorm.rvs(*ends, loc=mean, scale=deviation, size=(len(rows), self.draws), random_state=rng)
            found[name] = drawn.reshape(-1)
        return found

    def estimate(self, ask: Any, texts: Any, concept: str, *, to: str, k: int = 1, seed: int = 0, current: Any = None) -> Estimates:
        rows = [i for i, value in enumerate(current) if value != to]
        at = np.array([self.data.index(texts[i]) for i in rows])
        code = next(c for c in self.data.concepts if c.name == concept).values.index(to)
        codes = self.data.model.solve(self.noise(at), {concept: np.full(len(at) * self.draws, code)})
        written = render(self.data.renderer, codes, np.repeat(self.data.style[at], self.draws, axis=0))
        logs = scores(ask(list(written)), True).reshape(len(at), self.draws, -1).mean(axis=1)
        none = Counterfactuals(texts=tuple(texts), edits=(), source="TrueEquations", estimand="total", settings={"k": k, "seed": seed})
        return Estimates(none, np.array(rows), tuple(current[i] for i in rows), softmax(logs) - ask([texts[i] for i in rows]))
