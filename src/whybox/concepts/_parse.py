"""From a reply to the edited text. What cannot be read is said to be so; nothing is guessed."""

from __future__ import annotations

import re

_THOUGHT = re.compile(r"^\s*<think>.*?</think>", re.DOTALL | re.IGNORECASE)
_THINKING = re.compile(r"\s*<think>", re.IGNORECASE)
_FENCE = re.compile(r"^```[\w-]*\n(.*)\n```$", re.DOTALL)


def edited_text(reply: str, opening: str, closing: str) -> str | None:
    r"""The text between the markers.

    A reply without markers is taken as a whole, as small models often leave them out; the checks judge it then. A reply with an opening
    marker and no closing one was cut off, and so was one that still thinks: None.

    Args:
        reply: what the generator wrote.
        opening: first marker line.
        closing: last marker line.

    Example:
        >>> edited_text("Sure: <<<TEXT a>>>\nBad soup.\n<<<END a>>>", "<<<TEXT a>>>", "<<<END a>>>")
        'Bad soup.'
    """
    reply = without_thought(reply)
    start = reply.rfind(opening)
    stop = reply.rfind(closing)
    if start >= 0:
        if stop < start:
            return None
        return _unfenced(reply[start + len(opening) : stop].strip("\n"))
    if _THINKING.match(reply):
        return None
    if stop >= 0:  # some models repeat only the end
        reply = reply[:stop]
    return _unfenced(reply.strip())


def without_thought(reply: str) -> str:
    """A reply without what a model thought aloud before it."""
    return _THOUGHT.sub("", reply)


def _unfenced(text: str) -> str:
    fenced = _FENCE.match(text)
    return fenced.group(1) if fenced else text
