"""Any function from a text to a text: other libraries, rules, tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from whybox.llms._types import OnReply, Prompt, Reply, Sampling


@dataclass(frozen=True)
class FunctionGenerator:
    """Calls a function with the text of each prompt, one after the other.

    The text is every message but the system's, joined by blank lines: a function sees the question also when it is asked again.

    Args:
        function: text to text.
        name: tells it from others in the cache; change it when the function changes.

    Example:
        >>> FunctionGenerator(str.upper, name="upper").generate([Prompt.of("hello")])[0].text
        'HELLO'
    """

    function: Callable[[str], str] = field(repr=False)  # it may hold a key
    name: str = "function"

    def identity(self) -> dict[str, Any]:
        """The name."""
        return {"kind": "function", "model": self.name}

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling = Sampling(),  # noqa: ARG002, B008  # a function decides for itself
        *,
        on_reply: OnReply | None = None,
    ) -> list[Reply]:
        """Answer every prompt; what the function raises passes through."""
        replies = []
        for position, prompt in enumerate(prompts):
            reply = Reply(self.function("\n\n".join(content for role, content in prompt.messages if role != "system")), requests=1)
            replies.append(reply)
            if on_reply is not None:
                on_reply(position, reply)
        return replies
