"""Codes to texts: every row keeps its own way of putting things, whatever is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

SLOTS = 6  # choices that a sentence may use


class Renderer(Protocol):
    """Writes the text of one row."""

    @property
    def told(self) -> tuple[str, ...]:
        """The variables that the text tells, in the order of their style slots."""

    def __call__(self, codes: Mapping[str, int], style: Sequence[int]) -> str:
        """The text.

        Args:
            codes: of every told variable.
            style: SLOTS integers for each told variable, then SLOTS for the frame: the row's voice, which interventions leave alone.
        """


@dataclass(frozen=True)
class Phrases:
    """Sentences by variable and value, in the row's own order and with its own opening and end.

    Args:
        sentences: variable to value to wordings.
        openings: first sentences.
        endings: last sentences.
    """

    sentences: Mapping[str, Sequence[Sequence[str]]]
    openings: Sequence[str]
    endings: Sequence[str]

    @property
    def told(self) -> tuple[str, ...]:
        """Every variable with sentences."""
        return tuple(self.sentences)

    def __call__(self, codes: Mapping[str, int], style: Sequence[int]) -> str:
        """The text of one row."""
        said = []
        for position, name in enumerate(self.told):
            voice = style[position * SLOTS : (position + 1) * SLOTS]
            wordings = self.sentences[name][codes[name]]
            said.append((voice[0], name, wordings[voice[1] % len(wordings)]))
        frame = style[len(self.told) * SLOTS :]
        middle = [sentence for _, _, sentence in sorted(said)]
        return " ".join([self.openings[frame[0] % len(self.openings)], *middle, self.endings[frame[1] % len(self.endings)]])
