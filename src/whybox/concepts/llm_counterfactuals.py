"""Counterfactual texts written by an LLM, and judged."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from whybox._random import generator
from whybox.concepts._checks import CHEAP, Check
from whybox.concepts._classifiers import ConceptClassifier
from whybox.concepts._concept import Concept, by_name
from whybox.concepts._graph import CausalGraph, Estimand, check_estimand
from whybox.concepts._model_checks import ConfoundersKept, Similar, TargetReached, similarities
from whybox.concepts._prompts import PARAPHRASE, Example, PromptTemplate, strategy, task_fields
from whybox.concepts._rounds import Task, work_off
from whybox.concepts._source import check_current, check_texts
from whybox.errors import InputError, OptionError
from whybox.explanations.counterfactuals import Counterfactuals, Edit, Failure
from whybox.llms import Prompt, Sampling, TextGenerator


@dataclass(frozen=True)
class LLMCounterfactuals:
    """Edits in which one concept has another value and what must stay has stayed.

    The text is fenced as data and the reply is only a proposal: every edit goes through the checks, is repaired a bounded number of times
    with the reason told, and is returned with its reasons if it stays invalid.

    Args:
        llm: any :class:`~whybox.llms.TextGenerator`; wrap it in :class:`~whybox.llms.Cached` so that no reply is paid twice.
        concepts: what the texts tell.
        graph: which concept causes which; None (default): unknown.
        estimand: "total" lets the effects of the concept follow and needs a graph; "direct" holds every other concept. Default: "total"
            with a graph, "direct" without one.
        strategy: "change-only", "fix-confounders", "mediators-may-move", "few-shot", "step-by-step" or a PromptTemplate of your own.
            Default: "mediators-may-move" for a total effect, else "fix-confounders".
        classifier: finds current values where they are not given, and judges whether edits reached the target and kept the confounders;
            best not the LLM that writes. None (default) leaves both unjudged: the settings of the result say so.
        checks: what edits must pass; None takes the built-in ones, with those of the classifier and the encoder.
        examples: for the few-shot strategy.
        encode: texts to (n, d) embeddings, for the similarity that is reported; None reports none.
        min_similarity: least cosine that is valid, if there is an encoder; None (default) only reports it.
        temperature: 0 (default) writes the most probable edit; k > 1 edits need a temperature above 0.
        max_tokens: longest reply. Default 1024.
        repairs: how often an invalid edit is sent back with the reason. Default 1.

    Raises:
        InputError: concepts and graph do not fit.
        OptionError: an option has a value that does not exist.

    Source: Gat et al., ICLR 2024 (arXiv 2310.00603), generation with the graph's confounders named; filters as in its released code.

    Example:
        >>> from whybox.llms import FunctionGenerator
        >>> llm = FunctionGenerator(lambda prompt: "The soup was bad.", name="grumbler")
        >>> food = Concept("food", ("Negative", "Positive"))
        >>> source = LLMCounterfactuals(llm, [food])
        >>> e = source.counterfactuals(["The soup was good."], "food", to="Negative", current=["Positive"])
        >>> e.edits[0].text, e.edits[0].valid, e.estimand
        ('The soup was bad.', True, 'direct')
    """

    llm: TextGenerator
    concepts: tuple[Concept, ...]
    graph: CausalGraph | None = None
    estimand: Estimand = None  # type: ignore[assignment]  # None is resolved below and never seen
    strategy: str | PromptTemplate | None = None
    classifier: ConceptClassifier | None = None
    checks: tuple[Check, ...] | None = None
    examples: tuple[Example, ...] = ()
    encode: Callable[[list[str]], Any] | None = field(default=None, repr=False)
    min_similarity: float | None = None
    temperature: float = 0.0
    max_tokens: int = 1024
    repairs: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "concepts", tuple(by_name(self.concepts).values()))
        if self.graph is not None:
            self.graph.check(concept.name for concept in self.concepts)
        asked: Any = self.estimand
        if asked is None:
            object.__setattr__(self, "estimand", "direct" if self.graph is None else "total")
        elif check_estimand(asked) == "total" and self.graph is None:
            raise OptionError('estimand: "total" needs graph=CausalGraph(...), which says what may follow; without one ask for "direct"')
        strategy(self.strategy, self.estimand, self.graph is not None)
        Sampling(self.temperature, self.max_tokens)
        if isinstance(self.repairs, bool) or not isinstance(self.repairs, int) or self.repairs < 0:
            raise OptionError(f"repairs: expected an integer of at least 0, got {self.repairs!r}")
        if self.min_similarity is not None and self.encode is None:
            raise OptionError("min_similarity: needs encode=, a function from texts to embeddings")

    @property
    def template(self) -> PromptTemplate:
        """The prompt that is used."""
        return strategy(self.strategy, self.estimand, self.graph is not None)

    def fixed(self, concept: str) -> tuple[str, ...]:
        """Concepts that an edit of this one must leave alone."""
        if self.graph is not None:
            return self.graph.fixed(concept, self.estimand)
        return tuple(c.name for c in self.concepts if c.name != concept)

    def counterfactuals(
        self, texts: Sequence[str], concept: str, *, to: str, k: int = 1, seed: int = 0, current: Sequence[str | None] | None = None
    ) -> Counterfactuals:
        """k edits of each text in which the concept has the value ``to``.

        Args:
            texts: n originals.
            concept: what is set.
            to: its new value.
            k: edits a text; more than one needs a temperature above 0. Default 1.
            seed: of the markers and of the k samples. Default 0.
            current: the concept's value in each text; None (default) asks the classifier, if there is one.

        Returns:
            Edits of every text that does not have the value already, valid or marked with their reasons.

        Raises:
            OptionError: the concept or value does not exist, or k > 1 at temperature 0.
            BudgetError, RemoteError: from the generator; replies that arrived are in its cache, if it has one.
        """
        return self._make(texts, concept, to, k, seed, current, self.template)

    def paraphrases(
        self, texts: Sequence[str], concept: str, *, k: int = 1, seed: int = 0, current: Sequence[str | None] | None = None
    ) -> Counterfactuals:
        """k edits of each text that say what tells the concept in other words: the null that effects are compared with.

        Args:
            texts: n originals.
            concept: what is said in other words and keeps its value.
            k: edits a text. Default 1.
            seed: of the samples. Default 0.
            current: the concept's value in each text; None asks the classifier.

        Raises:
            InputError: the value of a text is not known.
        """
        return self._make(texts, concept, None, k, seed, current, PARAPHRASE)

    def prompts(
        self, texts: Sequence[str], concept: str, *, to: str, k: int = 1, seed: int = 0, current: Sequence[str | None] | None = None
    ) -> list[Prompt]:
        """What would be asked first (repairs come on top), for ``llm.plan(...)``."""
        return [task.prompt for task in self._tasks(check_texts(texts), concept, to, k, seed, current, self.template)]

    def _make(
        self,
        texts: Sequence[str],
        concept: str,
        to: str | None,
        k: int,
        seed: int,
        current: Sequence[str | None] | None,
        template: PromptTemplate,
    ) -> Counterfactuals:
        began = time.perf_counter()
        originals = check_texts(texts)
        tasks = self._tasks(originals, concept, to, k, seed, current, template)
        checks = self._checks()
        done, cost = work_off(self.llm, tasks, checks, Sampling(self.temperature, self.max_tokens), self.repairs)
        similar = self._similarities(tasks, [d.text for d in done])
        edits = tuple(
            Edit(
                original=task.original,
                concept=concept,
                source_value=task.source,
                target=task.candidate.target,
                sample=task.sample,
                text=d.text,
                failures=tuple(Failure(name, why) for name, why in d.failures),
                attempts=d.attempts,
                similarity=s,
                notes={"rejected": d.rejected} if d.rejected else {},
            )
            for task, d, s in zip(tasks, done, similar, strict=True)
        )
        settings = {
            "template": template.label,
            "llm": self.llm.identity(),
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "repairs": self.repairs,
            "seed": seed,
            "k": k,
            "checks": [check.name for check in checks],
            "fixed": list(self.fixed(concept)),
            "may_move": [] if self.graph is None else list(self.graph.may_move(concept, self.estimand)),
        }
        cost = replace(cost, seconds=time.perf_counter() - began)
        name = "LLMCounterfactuals" if to is not None else "LLMCounterfactuals paraphrase"
        return Counterfactuals(texts=originals, edits=edits, source=name, estimand=self.estimand, cost=cost, settings=settings)

    def _tasks(
        self,
        texts: tuple[str, ...],
        concept: str,
        to: str | None,
        k: int,
        seed: int,
        current: Sequence[str | None] | None,
        template: PromptTemplate,
    ) -> list[Task]:
        named = by_name(self.concepts)
        if concept not in named:
            raise OptionError(f"concept: expected one of {sorted(named)}, got {concept!r}")
        asked = named[concept]
        if to is not None:
            asked.check(to)
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise OptionError(f"k: expected a positive integer, got {k!r}")
        if k > 1 and self.temperature == 0:
            raise OptionError(f"k={k}: edits at temperature 0 are all the same; set temperature above 0, or k=1")
        values = check_current(current, len(texts), asked.values)
        if values is None:
            values = self.classifier.classify(texts, concept) if self.classifier is not None else (None,) * len(texts)
        if to is None and None in values:
            raise InputError(f"paraphrases: the value of {concept!r} must be known in every text; give current= or a classifier")
        fixed = self.fixed(concept) if to is not None else tuple(c.name for c in self.concepts if c.name != concept)
        movable = () if self.graph is None else self.graph.may_move(concept, self.estimand)
        tasks = []
        for i, (text, source) in enumerate(zip(texts, values, strict=True)):
            target = to if to is not None else source
            if source == to or target is None:
                continue
            fields = task_fields(asked, source, target, text, fixed, movable, self.examples, seed)
            question = template.fill(fields)
            for sample in range(k):
                draw = None
                if self.temperature > 0:  # by content, so that a text's edits do not depend on its neighbours
                    draw = int(
                        generator(seed, "llm edit", text.encode("utf-8", "backslashreplace").hex(), concept, target, sample).integers(2**31)
                    )
                prompt = Prompt.of(question, system=template.system, seed=draw)
                tasks.append(Task(i, sample, text, source, prompt, fields["open"], fields["close"], concept, target, fixed))
        return tasks

    def _checks(self) -> tuple[Check, ...]:
        if self.checks is not None:
            return self.checks
        checks = CHEAP
        if self.classifier is not None:
            checks = (*checks, TargetReached(self.classifier), ConfoundersKept(self.classifier))
        if self.encode is not None and self.min_similarity is not None:
            checks = (*checks, Similar(self.encode, self.min_similarity))
        return checks

    def _similarities(self, tasks: Sequence[Task], edited: Sequence[str]) -> list[float | None]:
        if self.encode is None:
            return [None] * len(tasks)
        return list(similarities(self.encode, [task.text for task in tasks], edited))
