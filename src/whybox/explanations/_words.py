"""Words of a text, how many of them an edit changed, and which."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

import numpy as np

_WORD = re.compile(r"\w+(?:['’\-]\w+)*|[^\w\s]")
_SENTENCE = re.compile(r"\S.*?(?:[.!?。！？]+(?=\s|$)|\n|$)", re.DOTALL)
_LONG = 400  # words from which sentences are matched first: difflib is slow on long repetitive lists


@dataclass(frozen=True)
class Piece:
    """A stretch of a diff.

    Args:
        kind: "keep", "delete" or "insert".
        text: the stretch itself: of the edited text for "keep" and "insert", of the original for "delete".
    """

    kind: Literal["keep", "delete", "insert"]
    text: str


def words(text: str) -> list[str]:
    """Words and punctuation signs, without white space.

    Example:
        >>> words("It's well-made, too.")
        ["It's", 'well-made', ',', 'too', '.']
    """
    return _WORD.findall(text)


def edit_distance(a: Sequence[str], b: Sequence[str]) -> int:
    """Levenshtein distance: the least number of insertions, deletions and replacements.

    Example:
        >>> edit_distance(words("the food was good"), words("the soup was not good"))
        2
    """
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    end = 0
    while end < min(len(a), len(b)) - start and a[-1 - end] == b[-1 - end]:
        end += 1
    a, b = a[start : len(a) - end], b[start : len(b) - end]
    if not a or not b:
        return len(a) + len(b)
    number = {word: i for i, word in enumerate(dict.fromkeys([*a, *b]))}
    codes = np.array([number[word] for word in b])
    steps = np.arange(len(b) + 1)
    row = steps.copy()
    for i, word in enumerate(a, start=1):
        best = np.minimum(row[1:] + 1, row[:-1] + (codes != number[word]))
        row = np.minimum.accumulate(np.concatenate([[i], best]) - steps) + steps  # insertions, all columns at once
    return int(row[-1])


def diff(original: str, edited: str) -> tuple[Piece, ...]:
    """What an edit kept, deleted and inserted, word by word.

    "keep" and "insert" together are exactly the edited text. White space alone is never a difference.

    Example:
        >>> [(p.kind, p.text) for p in diff("Good food.", "Bad food.")]
        [('delete', 'Good'), ('insert', 'Bad'), ('keep', ' food.')]
    """
    spans_a, spans_b = _spans(original, _WORD), _spans(edited, _WORD)
    blocks = _blocks(original, edited, spans_a, spans_b)
    pieces: list[Piece] = []
    done = 0  # of the edited text
    for tag, i1, i2, j1, j2 in blocks:
        gone = original[spans_a[i1][0] : spans_a[i2 - 1][1]] if i2 > i1 else ""
        if tag == "equal":
            stop = spans_b[j2 - 1][1]
            _add(pieces, "keep", edited[done:stop])
            done = stop
            continue
        start = spans_b[j1][0] if j2 > j1 else done
        _add(pieces, "keep", edited[done:start])
        done = start
        _add(pieces, "delete", gone)
        if j2 > j1:
            done = spans_b[j2 - 1][1]
            _add(pieces, "insert", edited[start:done])
    _add(pieces, "keep", edited[done:])
    return tuple(pieces)


def _add(pieces: list[Piece], kind: Literal["keep", "delete", "insert"], text: str) -> None:
    if text:
        pieces.append(Piece(kind, text))


def _spans(text: str, pattern: re.Pattern[str]) -> list[tuple[int, int]]:
    return [match.span() for match in pattern.finditer(text)]


Block = tuple[str, int, int, int, int]


def _blocks(a: str, b: str, spans_a: list[tuple[int, int]], spans_b: list[tuple[int, int]]) -> list[Block]:
    """Opcodes over words; long texts are matched by sentence first, and words only where sentences differ."""
    words_a, words_b = [a[i:j] for i, j in spans_a], [b[i:j] for i, j in spans_b]
    if len(words_a) + len(words_b) < _LONG:
        return _opcodes(words_a, words_b, 0, 0)
    starts_a, starts_b = _sentence_starts(a, spans_a), _sentence_starts(b, spans_b)
    sentences_a = [tuple(words_a[i:j]) for i, j in zip(starts_a, [*starts_a[1:], len(words_a)], strict=True)]
    sentences_b = [tuple(words_b[i:j]) for i, j in zip(starts_b, [*starts_b[1:], len(words_b)], strict=True)]
    starts_a, starts_b = [*starts_a, len(words_a)], [*starts_b, len(words_b)]
    blocks: list[Block] = []
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, sentences_a, sentences_b, autojunk=False).get_opcodes():
        p1, p2, q1, q2 = starts_a[i1], starts_a[i2], starts_b[j1], starts_b[j2]
        if tag == "equal":
            blocks.append((tag, p1, p2, q1, q2))
        else:
            blocks += _opcodes(words_a[p1:p2], words_b[q1:q2], p1, q1)
    return blocks


def _sentence_starts(text: str, spans: list[tuple[int, int]]) -> list[int]:
    """Positions of the words that begin a sentence."""
    firsts = np.array([span[0] for span in spans])
    starts = np.searchsorted(firsts, [span[0] for span in _spans(text, _SENTENCE)])
    return sorted(set(starts[starts < len(spans)].tolist()) | {0})


def _opcodes(a: list[str], b: list[str], shift_a: int, shift_b: int) -> list[Block]:
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    return [(tag, i1 + shift_a, i2 + shift_a, j1 + shift_b, j2 + shift_b) for tag, i1, i2, j1, j2 in matcher.get_opcodes()]
