"""What a caller of as_model asked for, checked once for every adapter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from whybox.errors import OptionError

Output = Literal["auto", "probability", "decision", "value"]


@dataclass(frozen=True)
class Options:
    """The options that an adapter may honour or must refuse.

    Args:
        output: which of the model's outputs is explained.
        device: where rows go before the call (torch only).
        dtype: what every row is converted to before the call (torch only).
    """

    output: Output = "auto"
    device: Any = None
    dtype: Any = None

    def __post_init__(self) -> None:
        """Refuse an output that does not exist."""
        if self.output not in get_args(Output):
            raise OptionError(f"output: expected one of {', '.join(map(repr, get_args(Output)))}, got {self.output!r}")

    def refuse_placement(self, name: str) -> None:
        """Raise if a device or dtype was asked of a model that has none.

        Args:
            name: the model, for the message.

        Raises:
            OptionError: a device or dtype was given.
        """
        if self.device is not None or self.dtype is not None:
            raise OptionError(
                f"device and dtype are for torch modules; {name} is not one. Leave them out, or convert the rows in your own function"
            )


def type_name(obj: Any) -> str:
    """The name of an object's class, for messages and ``Model.name``."""
    return type(obj).__name__
