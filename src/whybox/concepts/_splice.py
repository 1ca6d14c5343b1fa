"""Passages of the pool by what they tell, and texts with some of their passages exchanged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from whybox.concepts._passages import passage, replaced, without
from whybox.concepts._pool import CandidatePool
from whybox.concepts.passage_reader import PassageReader
from whybox.typing import Bools, Floats, Ints

_LIKELY = 0.6  # a passage as likely as this tells the value that its text is known to tell


@dataclass(frozen=True)
class Told:
    """Texts cut into passages, and which of them tell one concept.

    Args:
        pieces: the passages of each text.
        tells: of each text the positions of the passages that tell the concept.
        values: of each text the values that those passages tell, likeliest first by passage.
        guessed: of each text whether no passage tells its value clearly, so that the likeliest was taken.
    """

    pieces: tuple[tuple[str, ...], ...]
    tells: tuple[tuple[int, ...], ...]
    values: tuple[tuple[str, ...], ...]
    guessed: tuple[bool, ...]


def told(reader: PassageReader, texts: Sequence[str], concept: str, given: Sequence[str | None] | None = None) -> Told:
    """Where each text tells a concept.

    Args:
        reader: finds passages.
        texts: n texts.
        concept: its name.
        given: n values that the texts are known to tell, None where that is not known; None: of no text. A text that tells a value tells
            it in the passages that likely tell this value, or in the likeliest one; a text that does not tell the concept, nowhere; one of
            which nothing is known, in the passages that more likely tell a value than none.
    """
    pieces = tuple(tuple(reader.pieces(text)) for text in texts)
    flat = [piece for p in pieces for piece in p]
    unique = {piece: i for i, piece in enumerate(dict.fromkeys(flat))}
    probability, names = reader.read(list(unique), concept)
    speaks: Bools = probability.sum(axis=1) > 0.5
    best = probability.argmax(axis=1) if len(names) else np.zeros(len(unique), dtype=np.int64)
    tells, values, guessed = [], [], []
    for p, value in zip(pieces, given or (None,) * len(pieces), strict=True):
        at = [unique[piece] for piece in p]
        guess = False
        if value is None or value not in (*names, reader.not_told):
            places = tuple(i for i, u in enumerate(at) if speaks[u])
        elif value not in names:
            places = ()
        else:
            mine = probability[at, names.index(value)]
            places = tuple(np.flatnonzero(mine > _LIKELY).tolist())
            if guess := not places and len(p) > 0:
                places = (int(mine.argmax()),)
        tells.append(places)
        values.append(tuple(value if value in names else names[best[at[i]]] for i in places))
        guessed.append(guess)
    return Told(pieces, tuple(tells), tuple(values), tuple(guessed))


@dataclass(frozen=True)
class PassageIndex:
    """What the pool's texts say of each concept.

    Args:
        pool: the candidates.
        reader: finds passages.
    """

    pool: CandidatePool
    reader: PassageReader = field(repr=False)

    @cached_property
    def _told(self) -> dict[str, Told]:
        return {}

    def told(self, concept: str) -> Told:
        """Where the pool's texts tell a concept."""
        if concept not in self._told:
            values = self.pool.concept(concept).values
            known = [None if code < 0 else values[code] for code in self.pool.codes(concept).tolist()]
            self._told[concept] = told(self.reader, self.pool.texts, concept, known)
        return self._told[concept]

    @cached_property
    def _donors(self) -> dict[tuple[str, str], dict[int, str]]:
        return {}

    def donors(self, concept: str, value: str) -> dict[int, str]:
        """Passages by candidate: of those labelled with the value, what tells it; in pool order."""
        key = (concept, value)
        if key not in self._donors:
            found = self.told(concept)
            labelled = np.flatnonzero(self.pool.codes(concept) == self.pool.concept(concept).values.index(value))
            said = {}
            for i in labelled.tolist():
                kept = [place for place, v in zip(found.tells[i], found.values[i], strict=True) if v == value]
                if kept:
                    said[i] = passage(found.pieces[i], kept)
            self._donors[key] = said
        return self._donors[key]

    def remainders(self, concepts: Sequence[str]) -> list[str]:
        """The pool's texts without the passages that tell any of these concepts."""
        each = [self.told(c) for c in concepts]
        return [without(pieces, {place for t in each for place in t.tells[i]}) for i, pieces in enumerate(each[0].pieces)]


def remainder(each: Mapping[str, Told], concepts: Sequence[str], i: int) -> str:
    """One text without the passages that tell any of these concepts."""
    pieces = each[concepts[0]].pieces[i]
    return without(pieces, {place for c in concepts for place in each[c].tells[i]})


def exchanged(each: Mapping[str, Told], i: int, said: Mapping[str, str | None]) -> str:
    """One text in which passages tell other values.

    Args:
        each: concept to where the texts tell it.
        i: which text.
        said: concept to the passage that tells its new value, put where the old one began (at the end if there was none); None: none.
    """
    first = next(iter(said))
    pieces = each[first].pieces[i]
    dropped = {place for concept in said for place in each[concept].tells[i]}
    comes: dict[int, str] = {}
    for concept, words in said.items():
        if words is None:
            continue
        place = min(each[concept].tells[i], default=len(pieces))
        comes[place] = f"{comes[place]} {words}" if place in comes else words
    return replaced(pieces, dropped, comes)


def one_hot(codes: Ints, size: int) -> Floats:
    """(n, size) indicators."""
    return np.eye(size)[codes]
