"""Where arrays live: what goes to a device and how, and what waits for it. torch is looked at only if the caller has imported it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whybox._arrays import is_torch, namespace
from whybox.typing import Array, Rows

__all__ = ["carried", "empty_like", "send", "side_stream", "synchronize"]


def empty_like(x: Array) -> Array:
    """An array without numbers, in the library and on the device of x."""
    return namespace(x).empty((0,), device=x.device)


def synchronize(x: Array) -> None:
    """Wait until the device of x has done what it was told."""
    if is_torch(x) and x.device.type == "cuda":
        sys.modules["torch"].cuda.synchronize(x.device)
    elif type(x).__module__.split(".")[0] == "cupy":
        x.device.synchronize()


def send(host: NDArray[Any], like: Array, dtype: Any = None) -> Array:
    """A host array in the library and on the device of another; to CUDA from pinned memory, which nobody waits for.

    Args:
        host: any dtype that the library has.
        like: any array of it.
        dtype: what it is converted to, before it travels; None leaves it.
    """
    host = np.ascontiguousarray(host)
    host = host if host.flags.writeable else host.copy()  # torch warns of read-only memory
    if is_torch(like) and like.device.type == "cuda":
        tensor = sys.modules["torch"].from_numpy(host)
        return carried(tensor if dtype is None else tensor.to(dtype), like.device)
    return namespace(like).asarray(host, dtype=dtype, device=like.device)


def carried(tensor: Any, device: Any) -> Any:
    """A tensor on another device; from the host to CUDA by pinned memory, so that the host need not wait until the device is idle."""
    if tensor.device.type == "cpu" and device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def side_stream(like: Array) -> Callable[[Callable[[], Rows]], Rows]:
    """Runs what composes rows on a CUDA stream of its own, so that it overlaps the model; on any other device it is a plain call."""
    if not (is_torch(like) and like.device.type == "cuda"):
        return lambda compose: compose()
    cuda = sys.modules["torch"].cuda
    stream = cuda.Stream(like.device)
    stream.wait_stream(cuda.current_stream(like.device))  # the rows and the background are there

    def run(compose: Callable[[], Rows]) -> Rows:
        with cuda.stream(stream):
            rows = compose()
        main = cuda.current_stream(like.device)
        main.wait_stream(stream)
        if is_torch(rows):
            rows.record_stream(main)
        return rows

    return run
