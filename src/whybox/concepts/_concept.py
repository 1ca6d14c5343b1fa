"""What an explanation speaks of: concepts and their values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from whybox.errors import InputError, OptionError


@dataclass(frozen=True)
class Concept:
    """A property of texts that can take a few values.

    Args:
        name: such as "food".
        values: at least two, such as ("Negative", "Positive").
        description: what it means, in the words of a prompt.

    Raises:
        InputError: the name is empty, or values are fewer than two, repeated or not texts.

    Example:
        >>> Concept("food", ("Negative", "Positive"), "how good the food is").check("Positive")
        'Positive'
    """

    name: str
    values: tuple[str, ...]
    description: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise InputError(f"concept: expected a name, got {self.name!r}")
        if isinstance(self.values, str):
            raise InputError(f"concept {self.name!r}: expected a sequence of values, got the text {self.values!r}")
        object.__setattr__(self, "values", tuple(self.values))
        if len(self.values) < 2 or len(set(self.values)) < len(self.values) or not all(isinstance(v, str) and v for v in self.values):
            raise InputError(f"concept {self.name!r}: expected at least two different values, all of them texts, got {self.values!r}")

    def check(self, value: str) -> str:
        """The value, if it is one of the concept's.

        Raises:
            OptionError: it is not.
        """
        if value not in self.values:
            raise OptionError(f"concept {self.name!r}: expected one of the values {self.values}, got {value!r}")
        return value


def by_name(concepts: Iterable[Concept]) -> dict[str, Concept]:
    """Concepts by their name.

    Raises:
        InputError: there are none, one is not a Concept, or two have one name.
    """
    found: dict[str, Concept] = {}
    for concept in concepts:
        if not isinstance(concept, Concept):
            raise InputError(f"concepts: expected Concept objects, got {type(concept).__name__}")
        if concept.name in found:
            raise InputError(f"concepts: {concept.name!r} is there twice; give each concept a name of its own")
        found[concept.name] = concept
    if not found:
        raise InputError("concepts: expected at least one Concept, got none")
    return found
