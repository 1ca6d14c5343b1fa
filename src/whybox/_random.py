"""The only file that makes random generators. The global generators of NumPy, torch and Python are never touched."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from whybox.errors import OptionError


def generator(seed: int | np.integer, *stream: str | int) -> np.random.Generator:
    """A generator for one named stream of a call's seed.

    The same seed and names give the same draws on every machine; other names give independent draws, so that a new consumer of
    randomness does not shift the draws of an old one.

    Args:
        seed: non-negative integer.
        *stream: names of the consumer, such as ``"coalitions"`` and the number of features.

    Raises:
        OptionError: the seed is not a non-negative integer (None is refused: noise would be unseeded).

    Example:
        >>> int(generator(0, "coalitions", 4).integers(1000)) == int(generator(0, "coalitions", 4).integers(1000))
        True
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise OptionError(f"seed: expected a non-negative integer, got {seed!r}; every draw is seeded, pass for example seed=0")
    digest = hashlib.sha256(repr(tuple(str(name) for name in stream)).encode()).digest()
    return np.random.default_rng([int(seed), *np.frombuffer(digest, dtype=np.uint32).tolist()])


@contextmanager
def torch_stream(seed: int | np.integer, *stream: str | int, device: Any = None) -> Iterator[None]:
    """A block in which torch's own draws (dropout) come from one named stream; its global generators are afterwards as they were.

    Layers of torch can only draw from the global generator of their device, so it is lent to them and put back, also after an exception.

    Args:
        seed: non-negative integer.
        *stream: names of the consumer.
        device: a torch device; None (default) is the CPU.
    """
    import torch

    drawn = int(generator(seed, *stream).integers(2**63))
    on_gpu = device is not None and torch.device(device).type == "cuda"
    gpus = [torch.device(device).index or 0] if on_gpu else []
    with torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(drawn)
        if gpus:
            with torch.cuda.device(gpus[0]):
                torch.cuda.manual_seed(drawn)
        yield
