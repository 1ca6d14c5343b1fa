"""An LLM that is none: it reads our prompts and answers from the structural model, exactly or sloppily."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from whybox._random import generator
from whybox.concepts import StructuralCounterfactuals
from whybox.datasets import ConceptData

_FIELD = re.compile(r"^(Concept|Current value|New value|May follow|Must stay as it is): (.*?)(?: \(.*\))?$", re.MULTILINE)
_FENCED = re.compile(r"^(<<<TEXT \w+>>>)\n(.*?)\n(<<<END \w+>>>)$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class StructuralEditor:
    """Text to text: the built-in edit prompts in, the structural model's edit out. For tests, examples and benchmarks without an LLM.

    Args:
        data: the texts that it knows.
        sloppy: share of its edits in which it also moves a confounder (where there is none, another concept that must stay). Default 0.
        repents: whether it edits properly when told what was wrong. Default False.
        seed: of the choice of sloppy edits. Default 0.

    Example:
        >>> from whybox.datasets import concept_reviews
        >>> StructuralEditor(concept_reviews(5))("What is the time?")
        'I only edit texts.'
    """

    data: ConceptData = field(repr=False)
    sloppy: float = 0.0
    repents: bool = False
    seed: int = 0

    @cached_property
    def _sources(self) -> dict[str, StructuralCounterfactuals]:
        return {name: StructuralCounterfactuals(self.data, name) for name in ("total", "direct")}

    @cached_property
    def _values(self) -> dict[str, tuple[str, ...]]:
        return {concept.name: concept.values for concept in self.data.concepts}

    def __call__(self, prompt: str) -> str:
        """The edited text between the markers of the prompt; a value, if it is asked to classify."""
        fields = {name: value.strip() for name, value in reversed(_FIELD.findall(prompt))}
        fenced = _FENCED.search(prompt)
        if fenced is None or fields.get("Concept") not in self._values:
            return "I only edit texts."
        opening, text, closing = fenced.groups()
        concept, target = fields["Concept"], fields.get("New value")
        if target is None:
            return self._value(text, concept) or "not known"
        again = prompt.count("That cannot be used")
        return f"{opening}\n{self._edit(text, concept, target, fields, again)}\n{closing}"

    def bad(self, text: str, concept: str, target: str) -> bool:
        """Whether it is sloppy with this edit."""
        return bool(generator(self.seed, "sloppy", text, concept, target).random() < self.sloppy)

    def _edit(self, text: str, concept: str, target: str, fields: dict[str, str], again: int) -> str:
        total = fields.get("May follow", "nothing") != "nothing"
        source = self._sources["total" if total else "direct"]
        try:
            edits: tuple[Any, ...] = source.counterfactuals([text], concept, to=target).edits
        except ValueError:
            return text  # not a text of the data
        if not edits:
            return self.data.paraphrase([self.data.index(text)], concept)[0] if text in self.data.texts else text
        edited = str(edits[0].text)
        if self.bad(text, concept, target) and not (again and self.repents):
            fixed = [name for name in fields.get("Must stay as it is", "").split(", ") if name in self._values]
            fixed = [name for name in self.data.graph.confounders(concept) if name in fixed] or fixed
            return self._spoilt(edited, fixed, concept, source)
        return edited

    def _spoilt(self, edited: str, fixed: list[str], concept: str, source: StructuralCounterfactuals) -> str:
        """The edit with one concept moved that had to stay."""
        rng = generator(self.seed, "spoilt", edited)
        name = fixed[int(rng.integers(len(fixed)))] if fixed else concept
        values = list(self._values[name])
        start = int(rng.integers(len(values)))
        for value in values[start:] + values[:start]:
            moved = source.counterfactuals([edited], name, to=value).edits
            if moved:
                return moved[0].text
        return edited

    def _value(self, text: str, concept: str) -> str | None:
        try:
            return self._sources["total"].value(text, concept)
        except ValueError:
            return None
