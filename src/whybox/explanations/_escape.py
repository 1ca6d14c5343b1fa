"""The one escaping function of everything that is written as HTML, SVG or JSON inside an attribute."""

from __future__ import annotations

import re

_NAMED = {"<": "&lt;", ">": "&gt;", "&": "&amp;", '"': "&quot;", "'": "&#39;", "`": "&#96;", "\u2028": "&#8232;", "\u2029": "&#8233;"}
# What XML forbids (control characters, lone surrogates, non-characters) cannot be written at all, and bidirectional controls
# would let a name rearrange the text around it: each is shown as the replacement character.
_FORBIDDEN = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069"
_SPECIAL = re.compile(f"[{''.join(map(re.escape, _NAMED))}{_FORBIDDEN}]")


def escape(text: object) -> str:
    r"""Text that means itself between tags, inside quoted attributes, in SVG, and as JSON inside an attribute.

    Args:
        text: anything; it is printed with ``str``.

    Returns:
        The text with ``< > & " ' ``` and the line separators U+2028 and U+2029 as entities, and what XML forbids as U+FFFD.

    Example:
        >>> escape('<b title="x">')
        '&lt;b title=&quot;x&quot;&gt;'
    """
    return _SPECIAL.sub(lambda match: _NAMED.get(match.group(), "\ufffd"), str(text))
