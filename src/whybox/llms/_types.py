"""What every text generator speaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from whybox.errors import InputError, OptionError

Role = Literal["system", "user", "assistant"]
Finish = Literal["stop", "length", "refused", "failed"]
_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Prompt:
    """What a generator answers.

    Args:
        messages: (role, content) in order; roles are "system", "user" and "assistant", and the last is not "assistant".
        seed: for sampling; None at temperature 0.

    Raises:
        InputError: a role does not exist, a content is not a text, or nobody asks.

    Example:
        >>> Prompt.of("Say good morning.", system="Be brief.").messages[0]
        ('system', 'Be brief.')
    """

    messages: tuple[tuple[Role, str], ...]
    seed: int | None = None

    def __post_init__(self) -> None:
        if not self.messages or self.messages[-1][0] == "assistant":
            raise InputError("prompt: expected at least one message, the last one from the user")
        for role, content in self.messages:
            if role not in _ROLES or not isinstance(content, str):
                raise InputError(
                    f"prompt: expected messages (role, text) with a role of {_ROLES}, got role {role!r} and {type(content).__name__}"
                )

    @classmethod
    def of(cls, user: str, *, system: str = "", seed: int | None = None) -> Prompt:
        """A prompt of one question, with a system message if it is not empty."""
        asked: tuple[tuple[Role, str], ...] = (("user", user),)
        return cls((("system", system), *asked) if system else asked, seed)

    def then(self, reply: str, user: str) -> Prompt:
        """The conversation carried on: what was answered, and what is asked next."""
        return Prompt((*self.messages, ("assistant", reply), ("user", user)), self.seed)


@dataclass(frozen=True)
class Sampling:
    """How replies are drawn.

    Args:
        temperature: 0 (default) takes the most probable token each time.
        max_tokens: longest reply in tokens. Default 512.

    Raises:
        OptionError: a value is out of range.

    Example:
        >>> Sampling(temperature=0.7).max_tokens
        512
    """

    temperature: float = 0.0
    max_tokens: int = 512

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 10:
            raise OptionError(f"temperature: expected a number from 0 to 10, got {self.temperature!r}")
        if isinstance(self.max_tokens, bool) or not isinstance(self.max_tokens, int) or self.max_tokens < 1:
            raise OptionError(f"max_tokens: expected a positive integer, got {self.max_tokens!r}")
        object.__setattr__(self, "temperature", float(self.temperature))  # 0 and 0.0 are one key of a cache


@dataclass(frozen=True)
class Reply:
    """What came back for one prompt.

    Args:
        text: the reply; empty if there is none.
        finish: "stop" (complete), "length" (cut off at max_tokens), "refused" (by the provider's filter) or "failed".
        error: why it failed, or None.
        prompt_tokens: tokens sent for it, repetitions included; None if nobody counted.
        reply_tokens: tokens received.
        requests: requests sent for it; 0 if it came from a cache or answers the same prompt as another one.
        cached: it came from a cache.

    Example:
        >>> Reply("Good morning.", prompt_tokens=5, reply_tokens=3, requests=1).finish
        'stop'

    Raises:
        InputError: the text is none.
    """

    text: str
    finish: Finish = "stop"
    error: str | None = None
    prompt_tokens: int | None = None
    reply_tokens: int | None = None
    requests: int = 0
    cached: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):  # before it is cached for good
            raise InputError(
                f"Reply: expected a text, got {type(self.text).__name__}; a generator that has none answers Reply('', 'failed', why)"
            )


OnReply = Callable[[int, Reply], None]


@runtime_checkable
class TextGenerator(Protocol):
    """Many prompts in, as many replies out, in order."""

    def identity(self) -> dict[str, Any]:
        """JSON values that tell this model and its fixed parameters from others; the cache's key is made of them. No secrets."""

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling = ..., *, on_reply: OnReply | None = None) -> list[Reply]:
        """Answer every prompt.

        Args:
            prompts: what is asked.
            sampling: temperature and length.
            on_reply: called with (position, reply) as soon as each reply is there, perhaps from another thread.

        Returns:
            One reply a prompt, in order. A prompt that could not be answered has a reply with finish "failed" and the reason.
        """
