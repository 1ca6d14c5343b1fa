"""How matched counterfactuals are put together: for each text its candidates, what follows, and the exchange of passages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from whybox._random import generator
from whybox.concepts._classifiers import ConceptClassifier
from whybox.concepts._coupling import Followers
from whybox.concepts._match import Matcher
from whybox.concepts._splice import PassageIndex, Told, exchanged, told
from whybox.explanations.counterfactuals import Edit
from whybox.typing import Ints


@dataclass(frozen=True)
class Made:
    """What came out.

    Args:
        edits: of all texts that were asked for, in their order.
        codes: of each edit the new codes of the concept and of what may follow.
        told: concept to where the texts (those asked for, in their order) tell it; empty for whole texts.
        counts: how often a fallback was taken.
    """

    edits: list[Edit]
    codes: list[dict[str, int]]
    told: dict[str, Told]
    counts: dict[str, int]


@dataclass(frozen=True)
class Intervene:
    """What is set in which texts.

    Args:
        texts: all texts of the call.
        rows: positions of those in which it is set, in order.
        values: the concept's value in each of all texts.
        concept: what is set.
        to: its new value.
        k: counterfactuals a text.
        seed: of the draws.
    """

    texts: tuple[str, ...]
    rows: Sequence[int]
    values: Sequence[str | None]
    concept: str
    to: str
    k: int
    seed: int


@dataclass(frozen=True)
class WholeTexts:
    """Candidates stand as they are.

    Args:
        matcher: ranks candidates.
    """

    matcher: Matcher

    def make(self, job: Intervene) -> Made:
        """The k nearest candidates with the target value."""
        pool = self.matcher.pool
        near, close, itself = self.matcher.nearest(job.texts, job.rows, pool.candidates(job.concept, job.to), job.k)
        edits = [
            Edit(i, job.concept, job.values[i], job.to, sample, pool.texts[place], similarity=similar, notes={"candidate": place})
            for i, row, cosines in zip(job.rows, near, close, strict=True)
            for sample, (place, similar) in enumerate(zip(row, cosines, strict=True))
        ]
        return Made(edits, [{} for _ in edits], {}, {"itself": itself})


@dataclass(frozen=True)
class Passages:
    """Passages are exchanged.

    Args:
        matcher: ranks candidates.
        index: what the pool's texts say.
        followers: what follows when a concept is set; None: nothing does.
        movable: concept to what may follow.
        judge: tells the values of concepts in a text.
    """

    matcher: Matcher
    index: PassageIndex
    followers: Followers | None
    movable: tuple[str, ...]
    judge: ConceptClassifier

    @property
    def _silent(self) -> str | None:
        return self.index.reader.not_told

    def make(self, job: Intervene) -> Made:
        """Each text with other passages."""
        asked = [job.texts[i] for i in job.rows]
        code = self._code(job.concept, job.to)
        before = self._present(job, asked)
        each = {c: told(self.index.reader, asked, c, before[c]) for c in (job.concept, *self.movable)}
        moves = self._follow(job, asked, code, before)
        donors = _Donors(self.matcher, self.index, job)
        donors.look_up(job.concept, job.to, range(len(asked)))
        for concept, value in dict.fromkeys((c, v) for row in moves for draw in row for c, v in draw.items()):
            wanted = [r for r, row in enumerate(moves) if any(draw.get(concept) == value for draw in row)]
            donors.look_up(concept, self._value(concept, value), wanted)
        edits: list[Edit] = []
        codes: list[dict[str, int]] = []
        counts = {"itself": 0, "whole texts": 0, "not found": 0, "guessed": sum(each[job.concept].guessed)}
        emptied: list[int] = []
        for r, i in enumerate(job.rows):
            made = self._texts(job, r, each, moves[r], donors)
            if not each[job.concept].tells[r]:
                counts["not found"] += 1
            if made is None:
                emptied.append(i)
                continue
            for sample, (text, similar, notes, new) in enumerate(made):
                edits.append(Edit(i, job.concept, job.values[i], job.to, sample, text, similarity=similar, notes=notes))
                codes.append({job.concept: code, **new})
        if emptied:
            instead = WholeTexts(self.matcher).make(Intervene(job.texts, emptied, job.values, job.concept, job.to, job.k, job.seed))
            counts["whole texts"] = len(emptied)
            edits += instead.edits
            codes += [{job.concept: code} for _ in instead.edits]
            counts["itself"] += instead.counts["itself"]
            order = sorted(range(len(edits)), key=lambda j: (edits[j].original, edits[j].sample))
            edits, codes = [edits[j] for j in order], [codes[j] for j in order]
        counts["itself"] += donors.itself
        return Made(edits, codes, each, counts)

    def _texts(
        self, job: Intervene, r: int, each: Mapping[str, Told], moves: Sequence[Mapping[str, int]], donors: _Donors
    ) -> list[tuple[str, float | None, dict[str, Any], dict[str, int]]] | None:
        """(text, cosine, notes, codes of what followed) of each draw; None if there is nothing to exchange with, or nothing is left."""
        silent = job.to == self._silent
        found = donors.of(r, job.concept, job.to)
        if not silent and not found:
            return None
        count = len(moves) if self.movable else (1 if silent else min(len(found), job.k))
        made = []
        for sample in range(count):
            said: dict[str, str | None] = {job.concept: None}
            similar, notes = None, {}
            if not silent:
                place, words, similar = found[sample % len(found)]
                said[job.concept] = words
                notes = {"candidate": place, "passage": words}
            follows = moves[sample] if self.movable else {}
            for concept, value in follows.items():
                others = donors.of(r, concept, self._value(concept, value))
                if others:
                    said[concept] = others[sample % len(others)][1]
                elif self._value(concept, value) == self._silent:
                    said[concept] = None
            if follows:
                notes["followed"] = {c: self._value(c, v) for c, v in follows.items()}
            text = exchanged(each, r, said)
            if not text.strip():
                return None
            made.append((text, similar, notes, dict(follows)))
        return made

    @property
    def _follows(self) -> bool:
        return self.followers is not None and bool(self.movable)

    def _present(self, job: Intervene, asked: Sequence[str]) -> dict[str, Sequence[str | None]]:
        """Concept to its value in each text: of the one that is set, and of all others if anything follows from it."""
        present: dict[str, Sequence[str | None]] = {job.concept: [job.values[i] for i in job.rows]}
        if self._follows and asked:
            others = [c.name for c in self.matcher.pool.concepts if c.name != job.concept]
            present |= {name: self.judge.classify(asked, name) for name in others}
        return {c: present.get(c, [None] * len(asked)) for c in (*present, *self.movable)}

    def _follow(
        self, job: Intervene, asked: Sequence[str], code: int, values: Mapping[str, Sequence[str | None]]
    ) -> list[list[dict[str, int]]]:
        """Of each text k draws of what its effects become."""
        if not self._follows or self.followers is None:
            return [[{} for _ in range(job.k)] for _ in asked]
        before = {name: [None if v is None else self._code(name, v) for v in given] for name, given in values.items()}
        draws: list[list[dict[str, int]]] = []
        for r, text in enumerate(asked):
            known = {name: codes[r] for name, codes in before.items()}
            present = {name: c for name, c in known.items() if c is not None}
            if len(present) < len(known):  # nobody knows what follows from what is not known
                draws.append([{} for _ in range(job.k)])
                continue
            rng = generator(job.seed, "matched followers", text.encode("utf-8", "backslashreplace").hex(), job.concept, job.to)
            draws.append(self.followers.follow(present, job.concept, code, job.k, rng))
        return draws

    def _code(self, concept: str, value: str) -> int:
        return self.matcher.pool.concept(concept).values.index(value)

    def _value(self, concept: str, code: int) -> str:
        return self.matcher.pool.concept(concept).values[code]


@dataclass
class _Donors:
    """Of each text its nearest candidates' passages, by what they tell."""

    matcher: Matcher
    index: PassageIndex
    job: Intervene
    itself: int = 0
    _found: dict[tuple[str, str], dict[int, list[tuple[int, str, float]]]] = field(default_factory=dict)

    def look_up(self, concept: str, value: str, rows: Sequence[int]) -> None:
        """Search for some texts, given by their position among those asked for."""
        said = self.index.donors(concept, value)
        if not said or not len(rows) or value == self.index.reader.not_told:
            return
        among: Ints = np.fromiter(said, dtype=np.int64, count=len(said))
        near, close, itself = self.matcher.nearest(self.job.texts, [self.job.rows[r] for r in rows], among, self.job.k)
        self.itself += itself
        self._found[concept, value] = {
            r: [(p, said[p], s) for p, s in zip(places, cosines, strict=True)] for r, places, cosines in zip(rows, near, close, strict=True)
        }

    def of(self, r: int, concept: str, value: str) -> list[tuple[int, str, float]]:
        """(candidate, passage, cosine), the nearest first."""
        return self._found.get((concept, value), {}).get(r, [])
