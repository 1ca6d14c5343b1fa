"""A language model's last layer, for the few places whose scores are wanted: with a large vocabulary it costs more than all others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


@contextmanager
def only_places(head: Module | None, places: Tensor, shape: tuple[int, ...]) -> Iterator[None]:
    """The layer sees only some places of each row; what the model does to its scores afterwards (scaling, capping) stays the model's.

    Calls of other threads are left alone. A model that uses its layer in another way scores every place, which its output's shape tells.

    Args:
        head: the layer from hidden states to scores, ``model.get_output_embeddings()``; None changes nothing.
        places: (rows, t) places.
        shape: (rows, width) of the whole.
    """
    if head is None:
        yield
        return
    import torch

    me = threading.get_ident()

    def pick(_: Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if threading.get_ident() != me or not given or given[0].ndim != 3 or tuple(given[0].shape[:2]) != tuple(shape):
            return None
        hidden = given[0]
        rows = torch.arange(shape[0], device=hidden.device)[:, None]
        return (hidden[rows, places.to(hidden.device)], *given[1:])

    handle = head.register_forward_pre_hook(pick)
    try:
        yield
    finally:
        handle.remove()
