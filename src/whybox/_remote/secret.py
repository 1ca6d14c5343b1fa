"""Keys: read from the environment at the moment they are sent, and never held, shown or saved."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

from whybox.errors import InputError, OptionError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = 12  # characters; keys of services have 30 and more
REMOVED = "[key removed]"


@dataclass(frozen=True)
class Secret:
    """The name of an environment variable that holds a key; None means that no key is sent.

    Only the name is stored, so no repr, pickle, traceback or saved file of an object that holds a Secret can show the key.

    Args:
        variable: the variable's name, such as ``"OPENAI_API_KEY"``.

    Raises:
        OptionError: no variable of this name is set. The message does not repeat what was given: it may be the key itself.

    Example:
        >>> Secret(None).reveal() is None
        True
    """

    variable: str | None = None

    def __post_init__(self) -> None:
        if self.variable is None:
            return
        if not isinstance(self.variable, str) or not _NAME.fullmatch(self.variable) or self.variable not in os.environ:
            raise OptionError(
                "api_key_env: expected the NAME of an environment variable that is set and holds the key (for example OPENAI_API_KEY), "
                "and got something else, which is not shown here because it may be a key"
            ) from None

    def reveal(self) -> str | None:
        """The key as it is now in the environment, or None.

        Raises:
            InputError: the variable has vanished or is empty.
        """
        if self.variable is None:
            return None
        key = os.environ.get(self.variable, "").strip()
        if not key:
            raise InputError(f"api_key_env: the environment variable {self.variable} is not set or empty; set it to the key")
        return key

    def scrub(self, text: str) -> str:
        """The text with every occurrence of the key cut out."""
        key = self._key()
        return text.replace(key, REMOVED) if key else text

    def scrub_answer(self, value: Any) -> Any:
        """A decoded answer with the key cut out of its texts.

        Local servers take any key, and people give them "test" or "none": what is shorter than 12 characters is no secret, but may well be
        a word of an answer, which was paid for and has to stay as it is. Numbers are never touched.
        """
        key = self._key()
        return _without(value, key) if len(key) >= _SECRET else value

    def _key(self) -> str:
        return os.environ.get(self.variable, "").strip() if self.variable is not None else ""


def _without(value: Any, key: str) -> Any:
    if isinstance(value, str):
        return value.replace(key, REMOVED)
    if isinstance(value, list):
        return [_without(item, key) for item in value]
    if isinstance(value, dict):
        return {_without(name, key): _without(item, key) for name, item in value.items()}
    return value
