"""Where the words, sentences and passages of a text lie. Positions are characters, so that a text can be put together again exactly.

Words follow Unicode's default word boundaries (UAX #29) without their table: letters and digits with their combining marks, an apostrophe
between letters and a point or comma between digits inside; ideographs, and letters of scripts that do not part words by spaces, one by one;
an emoji with all that belongs to it. Where that standard would join two words across a missing space ("end.Next"), they stay apart.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import pairwise

Spans = list[tuple[int, int]]

_ZWJ = "\u200d"
_MODIFIERS = "\U0001f3fb-\U0001f3ff"
_FLAGS = "\U0001f1e6-\U0001f1ff"
# Han, Hiragana, and scripts written without spaces: Thai, Lao, Myanmar, Khmer, Tibetan, New Tai Lue, Tai Tham
_ALONE = (
    "\u3005-\u3007\u3041-\u309f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
    "\u0e01-\u0e4e\u0e81-\u0edf\u1000-\u109f\uaa60-\uaa7f\u1780-\u17d3\u0f40-\u0fbc\u1980-\u19df\u1a20-\u1aad"
)
_ASCII = re.compile(r"[^\W\d_](?:\.[^\W\d_])+(?!\w)|\w+(?:(?:(?<=[^\W_])'(?=[^\W\d_])|(?<=\d)[.,](?=\d))\w+)*", re.ASCII)
_ASCII_ALL = re.compile(_ASCII.pattern + r"|(?P<same>[^\w\s])(?P=same)*", re.ASCII)
_TITLE = re.compile(r"(?:dr|mrs?|ms|prof|st|sr|jr|vs|etc|e\.g|i\.e|cf|al|no|vol|pp|figs?|inc|ltd|co|u\.s|u\.k)")
_END = re.compile(
    r"[.!?\u2026]+[\"'\u2019\u201d\u00bb)\]]*(?=\s)|[\u3002\uff01\uff1f]+[\u300d\u300f\u201d\uff09]*|[\n\r\u0085\u2028\u2029]+"
)
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n|\u2029")


@cache
def _classes() -> tuple[str, str]:
    """Regular expression classes of what extends a character (without the joiner), and of symbols such as emoji."""
    found: dict[str, list[int]] = {"extend": [], "symbol": []}
    for code in (*range(0xA0, 0x20000), *range(0xE0000, 0xE01F0)):
        kind = unicodedata.category(chr(code))
        if kind in ("Mn", "Mc", "Me", "Cf") and chr(code) not in (_ZWJ, "\u200b"):
            found["extend"].append(code)
        elif kind == "So" and not 0x1F1E6 <= code <= 0x1F1FF:
            found["symbol"].append(code)
    return _ranges(found["extend"]), _ranges(found["symbol"])


def _ranges(codes: list[int]) -> str:
    parts, start = [], codes[0]
    for code, after in zip(codes, [*codes[1:], -1], strict=True):
        if after != code + 1:
            parts.append(f"\\U{start:08x}-\\U{code:08x}")
            start = after
    return "".join(parts)


@cache
def _unicode(punctuation: bool) -> re.Pattern[str]:
    extend, symbol = _classes()
    more = f"[{extend}{_ZWJ}]*"
    one = f"(?:(?![{_ALONE}])\\w{more})"
    middle = "(?:['\u2019\u02bc\u00b7\u2027\u05f4](?=[^\\W\\d_])|(?<=[\u05d0-\u05ea])\"(?=[\u05d0-\u05ea])|(?<=\\d)[.,\u066b\u066c](?=\\d))"
    emoji = f"(?:[{symbol}][{extend}{_MODIFIERS}]*(?:{_ZWJ}\\S[{extend}{_MODIFIERS}]*)*)"
    parts = [
        "[0-9#*]\ufe0f?\u20e3",
        f"[{_FLAGS}]{{2}}",
        f"[^\\W\\d_](?:\\.[^\\W\\d_])+(?![\\w{extend}])",
        f"[{_ALONE}]{more}",
        f"{one}+(?:{middle}{one}+)*",
        emoji,
        f"[{_FLAGS}]",
    ]
    if punctuation:
        parts.append(f"(?P<same>[^\\w\\s])(?:(?P=same)|[{extend}{_ZWJ}])*")
    return re.compile("|".join(parts))


@cache
def _clusters() -> re.Pattern[str]:
    extend, symbol = _classes()
    hangul = "[\u1100-\u115f]+(?:[\uac00-\ud7a3]|[\u1160-\u11a7]+)?[\u11a8-\u11ff]*"
    emoji = f"[{symbol}][{extend}{_MODIFIERS}]*(?:{_ZWJ}\\S[{extend}{_MODIFIERS}]*)*"
    return re.compile(f"\\r\\n|[{_FLAGS}]{{2}}|{hangul}|{emoji}|[\\s\\S][{extend}{_ZWJ}]*")


def word_spans(text: str, *, punctuation: bool = False) -> Spans:
    """Words, and symbols such as emoji.

    Args:
        text: any text.
        punctuation: runs of one punctuation sign are words too.

    Example:
        >>> text = "It's 3.5 stars, well-made \U0001f469\u200d\U0001f373!"
        >>> [text[i:j] for i, j in word_spans(text)] == ["It's", "3.5", "stars", "well", "made", "\U0001f469\u200d\U0001f373"]
        True
    """
    if text.isascii():
        return [match.span() for match in (_ASCII_ALL if punctuation else _ASCII).finditer(text)]
    return [match.span() for match in _unicode(punctuation).finditer(text)]


def sentence_spans(text: str) -> Spans:
    """Sentences, without the white space around them; a line end ends one, a title or an initial before a point does not.

    Example:
        >>> text = "Dr. Who came. He left!  Why?"
        >>> [text[i:j] for i, j in sentence_spans(text)]
        ['Dr. Who came.', 'He left!', 'Why?']
    """
    spans: Spans = []
    start = 0
    for match in _END.finditer(text):
        if match[0][0] == "." and not _ends(text, start, match):
            continue
        _add(spans, text, start, match.end())
        start = match.end()
    _add(spans, text, start, len(text))
    return spans


def _ends(text: str, start: int, point: re.Match[str]) -> bool:
    """Whether a point ends a sentence: not after a title or an initial, and not before a small letter."""
    after = text[point.end() : point.end() + 40].lstrip()
    if after[:1].islower():
        return False
    word = text[max(start, point.start() - 12) : point.start()].rsplit(None, 1)[-1:] or [""]
    bare = word[0].lstrip("(\"'[").lower()
    initial = len(bare) == 1 and bare.isalpha() and bare != "i"
    return point[0].startswith("..") or not (initial or _TITLE.fullmatch(bare))


def _add(spans: Spans, text: str, start: int, stop: int) -> None:
    piece = text[start:stop]
    left = len(piece) - len(piece.lstrip())
    if left < len(piece):
        spans.append((start + left, start + len(piece.rstrip())))


def passage_spans(text: str, words: int) -> Spans:
    """Passages of whole sentences with about so many words at most; a sentence that is longer is cut between words.

    Example:
        >>> text = "One two. Three four five. Six."
        >>> [text[i:j] for i, j in passage_spans(text, 4)]
        ['One two.', 'Three four five. Six.']
    """
    pieces: list[tuple[int, int, int]] = []
    for start, stop in sentence_spans(text):
        inside = word_spans(text[start:stop])
        if len(inside) <= words:
            pieces.append((start, stop, len(inside)))
            continue
        cuts = [start, *(start + inside[i][0] for i in range(words, len(inside), words)), stop]
        for i, (a, b) in enumerate(pairwise(cuts)):
            pieces.append((a, a + len(text[a:b].rstrip()), min(words, len(inside) - i * words)))
    spans: Spans = []
    held = 0
    for start, stop, count in pieces:
        new = not spans or held + count > words or (2 * held >= words and _BLANK_LINE.search(text, spans[-1][1], start) is not None)
        if new:
            spans.append((start, stop))
            held = count
        else:
            spans[-1] = (spans[-1][0], stop)
            held += count
    return spans


def cluster_spans(text: str, spans: Spans) -> Spans:
    """Spans stretched to whole grapheme clusters, without white space at their ends; what then overlaps is one.

    Example:
        >>> cluster_spans("e\u0301 a", [(0, 1), (1, 2), (2, 4)])
        [(0, 2), (3, 4)]
    """
    if text.isascii():
        inner: set[int] = set()
    else:
        inner = {i for match in _clusters().finditer(text) for i in range(match.start() + 1, match.end())}
    joined: Spans = []
    for a, b in spans:
        start, stop = a, b
        while start in inner:
            start -= 1
        while stop in inner:
            stop += 1
        piece = text[start:stop]
        start += len(piece) - len(piece.lstrip())
        stop = start + len(piece.strip())
        if stop <= start:
            continue
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return joined
