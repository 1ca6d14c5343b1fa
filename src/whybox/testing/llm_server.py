"""An OpenAI-compatible server on loopback whose replies come from the structural editor, with faults on request and counts of its own.

Run it as ``python -m whybox.testing.llm_server --texts 200``; the first line that it prints is its base URL. It is for tests, examples and
benchmarks, and serves one process's worth of clients.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from whybox.datasets import concept_reviews
from whybox.testing.loopback import TRANSPORT_FAULTS, Running, add_manners, running_module, serve
from whybox.testing.structural_editor import StructuralEditor

FAULTS = (*TRANSPORT_FAULTS, "shape")


@dataclass(frozen=True)
class Chat:
    """Chat completions, made by a function from the conversation's text to the reply.

    Args:
        reply: makes replies.
    """

    reply: Callable[[str], str]
    faults: tuple[str, ...] = ("shape",)

    def serves(self, path: str) -> bool:
        """Only chat completions."""
        return path == "/v1/chat/completions"

    def answer(self, path: str, asked: Any) -> Any:
        """A chat completion."""
        del path
        messages = asked["messages"]
        text = self.reply("\n\n".join(m["content"] for m in messages if m["role"] != "system"))
        usage = {"prompt_tokens": sum(len(m["content"]) // 4 for m in messages), "completion_tokens": len(text) // 4}
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return {"id": "chatcmpl-0", "object": "chat.completion", "model": asked["model"], "choices": [choice], "usage": usage}

    def wrong(self, kind: str, path: str, asked: Any) -> Any:
        """No choice at all."""
        del kind, path, asked
        return {"object": "chat.completion", "choices": []}

    def items(self, path: str, asked: Any) -> list[str]:
        """The conversation and its seed."""
        del path
        return [str(hash((json.dumps(asked["messages"]), asked.get("seed"))))]


@contextmanager
def running(*options: str) -> Iterator[Running]:
    """Start the server in a process of its own, and end it afterwards.

    Args:
        *options: of the command line, such as ``"--texts", "100", "--faults", "0.1"``.

    Example:
        >>> with running("--texts", "5") as server:
        ...     server.stats()["requests"]
        0
    """
    with running_module("whybox.testing.llm_server", options) as server:
        yield server


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="OpenAI-compatible loopback server that answers from a structural model")
    add_manners(parser, FAULTS)
    parser.add_argument("--texts", type=int, default=200, help="number of concept_reviews that it knows")
    parser.add_argument("--seed", type=int, default=0, help="of the reviews")
    parser.add_argument("--sloppy", type=float, default=0.0, help="share of edits that move a confounder")
    parser.add_argument("--repents", action="store_true", help="edit properly when told what was wrong")
    parser.add_argument("--say", default=None, help="answer everything with this text instead")
    parser.add_argument("--find", default=None, help="answer with everything that this pattern finds in the conversation instead")
    given = parser.parse_args(arguments)
    reply: Callable[[str], str]
    if given.say is not None:
        reply = lambda _: str(given.say)  # noqa: E731  # one line is what it takes
    elif given.find is not None:
        reply = lambda text: " ".join(re.findall(given.find, text))  # noqa: E731
    else:
        reply = StructuralEditor(concept_reviews(given.texts, seed=given.seed), sloppy=given.sloppy, repents=given.repents)
    serve(Chat(reply), given, "/v1")


if __name__ == "__main__":
    main()
