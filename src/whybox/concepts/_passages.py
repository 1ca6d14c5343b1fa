"""Passages: the clauses of a text, cut so that nothing is lost, taken out and put in."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from whybox.errors import InputError

Split = Callable[[str], list[str]]
WORDS: dict[str, Any] = {"token_pattern": r"(?u)\b\w+\b"}  # for vectorizers: words of one letter count, as "I" and "a" do

# A clause ends with punctuation that white space (or a full-width sign) follows, or before a word that begins the next one.
_CUT = re.compile(
    r"(?<=[.!?;,:])(?=\s)|(?<=[。！？；，：\n])(?=.)|(?=\s(?:and|but|although|though|however|while|which|with)\b)",
    re.IGNORECASE | re.DOTALL,
)
_WORD = re.compile(r"\w+")
_JOINT = re.compile(r"^\s*(?:and|but|although|though|however|while|which|with)\b\s*,?\s*", re.IGNORECASE)
_ENDED = re.compile(r"[.!?。！？]\W*$")


def clauses(text: str) -> list[str]:
    """The clauses of a text, which joined give the text again, byte by byte.

    A piece of one word stays with the clause before it: "food, service" is no two clauses.

    Example:
        >>> clauses("The food was good, but the waiter was rude. Never again!")
        ['The food was good,', ' but the waiter was rude.', ' Never again!']
    """
    pieces: list[str] = []
    for piece in _CUT.split(text):
        if not piece:
            continue
        if pieces and len(_WORD.findall(piece)) < 2:
            pieces[-1] += piece
        else:
            pieces.append(piece)
    return pieces


def checked_split(split: Split, text: str) -> list[str]:
    """Its pieces.

    Raises:
        InputError: they do not make up the text.
    """
    pieces = list(split(text))
    if "".join(pieces) != text:
        raise InputError(f"split: expected pieces that joined give the text again, which those of {text[:60]!r} do not")
    return pieces


def without(pieces: Sequence[str], dropped: Collection[int]) -> str:
    """The text without some pieces."""
    if not dropped:
        return "".join(pieces)
    return "".join(piece for i, piece in enumerate(pieces) if i not in dropped).strip()


def replaced(pieces: Sequence[str], dropped: Collection[int], said: Mapping[int, str] | Sequence[str]) -> str:
    """The text with passages put in.

    Args:
        pieces: of the text.
        dropped: positions of the pieces that go.
        said: what comes: by the position that it goes to (len(pieces): the end), or a list of passages for the end.
    """
    at = said if isinstance(said, Mapping) else {len(pieces): " ".join(said)}
    out = ""
    for i in range(len(pieces) + 1):
        if i in at:
            out = _joined(out, at[i])
        if i < len(pieces) and i not in dropped:
            out = _joined(out, pieces[i], keep=i - 1 not in dropped and i not in at)
    return out if not dropped and not at else out.strip()


def _joined(before: str, piece: str, keep: bool = False) -> str:
    """One behind the other: a space between, and a new sentence where the one before has ended."""
    if keep:  # neighbours in the text itself stay as they are
        return before + piece
    piece = piece.strip()
    if not before.strip():
        return piece
    if _ENDED.search(before) or before.rstrip()[-1:] in ",;:，；：":
        return f"{before.rstrip()} {piece}"
    if piece[:1].isupper():
        return f"{before.rstrip()}. {piece}"
    return f"{before.rstrip()} {piece}"


def passage(pieces: Sequence[str], kept: Collection[int]) -> str:
    """Some pieces as one passage that can stand elsewhere: without the word that joined them to what was before."""
    said = " ".join(pieces[i].strip() for i in sorted(kept)).strip()
    bare = _JOINT.sub("", said, count=1)
    bare = bare or said
    return bare[:1].upper() + bare[1:] if bare is not said else bare
