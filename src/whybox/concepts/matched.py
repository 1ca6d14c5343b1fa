"""Matched counterfactuals: what other texts with the target value say, in place of what this text says."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from whybox.concepts._classifiers import ConceptClassifier
from whybox.concepts._concept import Concept
from whybox.concepts._coupling import Followers
from whybox.concepts._cross_fit import cross_fit
from whybox.concepts._graph import CausalGraph, Estimand, check_estimand
from whybox.concepts._match import Matcher
from whybox.concepts._matched_edits import Intervene, Made, Passages, WholeTexts
from whybox.concepts._matched_effect import MatchedEffect
from whybox.concepts._neighbors import Neighbors, exact_neighbors
from whybox.concepts._pool import CandidatePool
from whybox.concepts._profiles import Profiles
from whybox.concepts._source import Ask, Estimates, check_current, check_texts
from whybox.concepts._splice import PassageIndex
from whybox.concepts.passage_reader import PassageReader
from whybox.concepts.tfidf_encoder import TfidfEncoder
from whybox.errors import InputError, OptionError
from whybox.explanations.counterfactuals import Counterfactuals, Edit, GenerationCost

Unit = Literal["passages", "texts"]
Encode = Callable[[list[str]], Any]


@dataclass(frozen=True)
class MatchedCounterfactuals:
    """Counterfactuals from a labelled pool: no LLM, and a few milliseconds each.

    With ``unit="passages"`` (default) the passages of a text that tell the concept give way to those of its nearest candidates that tell
    the target value; the rest of the text stays. With ``unit="texts"`` the nearest candidates themselves stand as counterfactuals, which
    is matching as published.

    Used as the source of :class:`ConceptEffect` it is an :class:`EffectEstimator` as well: an outcome model, fitted to the explained
    model's answers for the pool with and without the passages in question, gives a second estimate (``adjust``), and a regression of these
    answers on concepts alone a third (``by_concepts``); they are averaged.

    Make one by :meth:`fit`.

    Args:
        pool: candidates with their values.
        encoder: texts to (n, e) vectors, or one such encoder for each concept; candidates are ranked by their cosine with the text.
        reader: finds the passages that tell a concept; needed for passages.
        graph: which concept causes which; None (default): unknown.
        estimand: "total" lets the effects of the concept follow and needs a graph; "direct" holds every other concept. Default: "total"
            with a graph, "direct" without one.
        unit: "passages" or "texts".
        adjust: share of the outcome model in the estimate, from 0 (none: the plain mean over the counterfactuals) to 1; default 0.2.
            "cross-fit" takes the share that tells the pool's own outputs best when each text is rebuilt from the others, which favours
            the exchange too much: a rebuilt text keeps its value. Passages only; with 0 nothing is regressed at all.
        by_concepts: share, from 0 to 1, of a regression on what a text tells of every concept, whatever its words, in the estimate;
            ``adjust`` parts the rest. Default 0.2.
        default_k: counterfactuals a text if ConceptEffect is not told. Default 20.
        classifier: finds current values where they are not given; None (default) asks the reader.
        neighbors: who searches; default exact search, which an index such as faiss may replace.
        penalty: of both ridge regressions. Default 3.
        outcome_texts: candidates, drawn at random, that the regressions are fitted to. Default 1000.
        keep: share, from 0 to 1, of what the outcome model does not tell of a text's own output that its counterfactual is taken to share.
            Default 0.1; with ``adjust=0`` there is no outcome model, and nothing is kept.

    Raises:
        InputError: pool, graph and reader do not fit.
        OptionError: an option has a value that does not exist.

    Source: matching: Gat et al., ICLR 2024 (arXiv 2310.00603). Exchange of passages and the outcome model on what remains are our own;
    averaging matching with a regression follows Abadie and Imbens, J. Business and Economic Statistics 29, 2011.

    Example:
        >>> texts = ["Good soup. Rude waiter.", "Bad soup. Rude waiter.", "Good rice. Kind waiter.", "Bad rice. Kind waiter."]
        >>> source = MatchedCounterfactuals.fit(texts, {"food": ["+", "-", "+", "-"]})
        >>> source.counterfactuals(["Good fish. Slow waiter."], "food", to="-", current=["+"]).edits[0].text
        'Bad soup. Slow waiter.'
    """

    pool: CandidatePool
    encoder: Encode | Mapping[str, Encode] = field(repr=False)
    reader: PassageReader | None = None
    graph: CausalGraph | None = None
    estimand: Estimand = None  # type: ignore[assignment]  # None is resolved below and never seen
    unit: Unit = "passages"
    adjust: float | Literal["cross-fit"] = 0.2
    default_k: int = 20
    classifier: ConceptClassifier | None = field(default=None, repr=False)
    neighbors: Neighbors = field(default=exact_neighbors, repr=False)
    penalty: float = 3.0
    outcome_texts: int = 1000
    keep: float = 0.1
    by_concepts: float = 0.2

    def __post_init__(self) -> None:
        if not isinstance(self.pool, CandidatePool):
            raise InputError(
                f"pool: expected a CandidatePool, got {type(self.pool).__name__}; MatchedCounterfactuals.fit makes one of texts"
            )
        if self.unit not in ("passages", "texts"):
            raise OptionError(f'unit: expected "passages" or "texts", got {self.unit!r}')
        if self.unit == "passages" and self.reader is None:
            raise OptionError('unit="passages" needs reader=PassageReader.fit(...); MatchedCounterfactuals.fit makes one')
        if self.graph is not None:
            self.graph.check(concept.name for concept in self.pool.concepts)
        asked: Any = self.estimand
        if asked is None:
            object.__setattr__(self, "estimand", "direct" if self.graph is None else "total")
        elif check_estimand(asked) == "total" and self.graph is None:
            raise OptionError('estimand: "total" needs graph=CausalGraph(...), which says what may follow; without one ask for "direct"')
        if isinstance(self.encoder, Mapping) and (without := sorted({c.name for c in self.pool.concepts} - set(self.encoder))):
            raise InputError(f"encoder: expected one for each concept, got none for {without}")
        if self.adjust != "cross-fit" and not (isinstance(self.adjust, (int, float)) and 0 <= self.adjust <= 1):
            raise OptionError(f'adjust: expected "cross-fit" or a share from 0 to 1, got {self.adjust!r}')
        for name in ("default_k", "outcome_texts"):
            check_count(name, getattr(self, name))
        for name in ("keep", "by_concepts"):
            share = getattr(self, name)
            if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
                raise OptionError(f"{name}: expected a share from 0 to 1, got {share!r}")
        if not self.penalty > 0:
            raise OptionError(f"penalty: expected a positive number, got {self.penalty!r}")

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],
        labels: Mapping[str, Sequence[str | None]],
        concepts: Sequence[Concept] | None = None,
        *,
        encoder: Encode | Mapping[str, Encode] | None = None,
        reader: PassageReader | None = None,
        classifier: ConceptClassifier | None = None,
        not_told: str | None = "unknown",
        graph: CausalGraph | None = None,
        estimand: Estimand | None = None,
        unit: Unit = "passages",
        adjust: float | Literal["cross-fit"] = 0.2,
        keep: float = 0.1,
        by_concepts: float = 0.2,
        default_k: int = 20,
        neighbors: Neighbors = exact_neighbors,
        seed: int = 0,
    ) -> MatchedCounterfactuals:
        """Fit what is not given to the pool: encoder and reader.

        Args:
            texts: m candidates.
            labels: concept to m values, None where one is not known.
            concepts: what may be asked for; None takes the labels' own names and values.
            encoder: texts to vectors; None (default) fits a :class:`TfidfEncoder`.
            reader: None (default) fits a :class:`PassageReader`.
            classifier: fills in unknown values of the pool and of explained texts; None (default): those of the pool stay unknown.
            not_told: the value that says that a text does not tell a concept. Default "unknown"; a concept without it is always told.
            graph: as in the class; so are the following.
            estimand: "total" or "direct".
            unit: "passages" or "texts".
            adjust: share of the outcome model.
            keep: share of a text's own residual.
            by_concepts: share of the regression on concepts.
            default_k: counterfactuals a text.
            neighbors: who searches.
            seed: of the encoder. Default 0.
        """
        pool = CandidatePool(tuple(check_texts(texts)), labels, concepts, classifier)  # type: ignore[arg-type]  # None is resolved there
        if encoder is None:
            encoder = TfidfEncoder.fit(pool.texts, seed=seed)
        if reader is None and unit == "passages":
            known = {c.name: [None if i < 0 else c.values[i] for i in pool.codes(c.name).tolist()] for c in pool.concepts}
            reader = PassageReader.fit(pool.texts, known, not_told=not_told)
        return cls(
            pool,
            encoder,
            reader,
            graph,
            estimand,  # type: ignore[arg-type]  # None is resolved there
            unit,
            adjust,
            default_k,
            classifier,
            neighbors,
            keep=keep,
            by_concepts=by_concepts,
        )

    @cached_property
    def _matchers(self) -> dict[str, Matcher]:
        """One a concept; all the same, unless each concept has an encoder of its own."""
        if not isinstance(self.encoder, Mapping):
            matcher = Matcher(self.pool, self.encoder, self.neighbors)
            return {concept.name: matcher for concept in self.pool.concepts}
        return {concept.name: Matcher(self.pool, self.encoder[concept.name], self.neighbors) for concept in self.pool.concepts}

    @cached_property
    def _index(self) -> PassageIndex:
        assert self.reader is not None
        return PassageIndex(self.pool, self.reader)

    @cached_property
    def _profiles(self) -> Profiles:
        assert self.reader is not None
        return Profiles(self.pool, self.reader)

    @cached_property
    def _followers(self) -> Followers | None:
        return None if self.graph is None or self.estimand == "direct" else Followers(self.pool, self.graph)

    def _maker(self, concept: str, movable: tuple[str, ...]) -> WholeTexts | Passages:
        if self.unit == "texts":
            return WholeTexts(self._matchers[concept])
        assert self.reader is not None
        return Passages(self._matchers[concept], self._index, self._followers if movable else None, movable, self.classifier or self.reader)

    def may_move(self, concept: str) -> tuple[str, ...]:
        """What may follow when a concept is set."""
        return () if self.graph is None else self.graph.may_move(concept, self.estimand)

    def counterfactuals(
        self, texts: Sequence[str], concept: str, *, to: str, k: int = 1, seed: int = 0, current: Sequence[str | None] | None = None
    ) -> Counterfactuals:
        """At most k counterfactuals of each text in which the concept has the value ``to``.

        Args:
            texts: n originals. One that stands in the pool as well is not matched with itself: ``settings["itself"]`` counts how often.
            concept: what is set.
            to: its new value.
            k: how many; fewer where the pool has fewer, and one where a passage only goes. Default 1.
            seed: of the draws of what follows. Default 0.
            current: the concept's value in each text; None (default) asks the classifier, or the reader.

        Returns:
            Counterfactuals of every text that does not have the value already. ``notes`` of an edit tell the candidate; edits for which no
            passage could be exchanged are whole candidates, and ``settings["whole texts"]`` counts them.

        Raises:
            OptionError: the concept or value does not exist.
            InputError: no candidate has the value.
        """
        return self._make(texts, concept, to, k, seed, current)[0]

    def paraphrases(
        self, texts: Sequence[str], concept: str, *, k: int = 1, seed: int = 0, current: Sequence[str | None] | None = None
    ) -> Counterfactuals:
        """k edits of each text that tell the concept's present value in a candidate's words: the null that effects are compared with."""
        originals = check_texts(texts)
        asked = self.pool.concept(concept)
        values = self._current(originals, asked, current)
        began = time.perf_counter()
        edits: list[Edit] = []
        for value in dict.fromkeys(v for v in values if v is not None):
            rows = [i for i, v in enumerate(values) if v == value]
            edits += self._maker(concept, ()).make(Intervene(originals, rows, values, concept, value, k, seed)).edits
        edits.sort(key=lambda e: (e.original, e.sample))
        cost = GenerationCost(seconds=time.perf_counter() - began)
        name = "MatchedCounterfactuals paraphrase"
        return Counterfactuals(texts=originals, edits=tuple(edits), source=name, estimand=self.estimand, cost=cost)

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
        """Effects of setting the concept: the mean over counterfactuals, averaged with the outcome model's estimate if ``adjust``.

        Args:
            ask: the explained model.
            texts: n originals.
            concept: what is set.
            to: its new value.
            k: counterfactuals a text. Default 1.
            seed: of the draws. Default 0.
            current: the concept's value in each text; None (default) asks the classifier, or the reader.
        """
        made, parts, rows = self._make(texts, concept, to, k, seed, current)
        matched = MatchedEffect(ask, made, parts, rows)
        if not self.adjust or self.unit != "passages" or not rows:
            return Estimates(made, np.array(rows, dtype=np.int64), matched.source_values, matched.mean())
        second = matched.regression(self._index, self._profiles, (concept, *self.may_move(concept)), self.penalty, self.outcome_texts)
        share = (
            cross_fit(ask, self._maker(concept, ()), self.pool, concept, second.fitted, k) if self.adjust == "cross-fit" else self.adjust
        )
        scale = "log-odds" if second.fitted.model.probabilities else "outputs"
        made = replace(made, settings={**made.settings, "share of the outcome model": share, "averaged as": scale})
        effects = matched.combined(second, share, self.by_concepts, self.keep)
        return Estimates(made, np.array(rows, dtype=np.int64), matched.source_values, effects)

    def _current(self, texts: tuple[str, ...], asked: Concept, current: Sequence[str | None] | None) -> tuple[str | None, ...]:
        given = check_current(current, len(texts), asked.values)
        if given is not None:
            return given
        judge = self.classifier or self.reader
        return (None,) * len(texts) if judge is None else judge.classify(texts, asked.name)

    def _make(
        self, texts: Sequence[str], concept: str, to: str, k: int, seed: int, current: Sequence[str | None] | None
    ) -> tuple[Counterfactuals, Made, list[int]]:
        """The counterfactuals, how they were made, and the positions of their texts."""
        began = time.perf_counter()
        originals = check_texts(texts)
        asked = self.pool.concept(concept)
        check_count("k", k)
        self.pool.candidates(concept, to)  # refuses what nobody has
        values = self._current(originals, asked, current)
        rows = [i for i, value in enumerate(values) if value != to]
        parts = self._maker(concept, self.may_move(concept)).make(Intervene(originals, rows, values, concept, to, k, seed))
        settings = {
            "unit": self.unit,
            "k": k,
            "seed": seed,
            "pool": len(self.pool),
            "without label": self.pool.missing(concept),
            "may_move": list(self.may_move(concept)),
            **parts.counts,
        }
        made = Counterfactuals(
            texts=originals,
            edits=tuple(parts.edits),
            source="MatchedCounterfactuals",
            estimand=self.estimand,
            cost=GenerationCost(seconds=time.perf_counter() - began),
            settings=settings,
        )
        return made, parts, rows


def check_count(name: str, value: Any) -> None:
    """Refuse what is no positive integer.

    Raises:
        OptionError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise OptionError(f"{name}: expected a positive integer, got {value!r}")
