"""Which exceptions mean that the batch was too large, told without importing the library that raised them."""

from __future__ import annotations

import re
import sys

# What allocators say: torch (CPU and CUDA), cuBLAS, C++ libraries such as XGBoost and LightGBM, and XLA.
_MESSAGES = re.compile(
    r"out of memory|can't allocate memory|cannot allocate memory|not enough memory|unable to allocate|bad_alloc|bad allocation"
    r"|CUBLAS_STATUS_ALLOC_FAILED|RESOURCE_EXHAUSTED",
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a call failed for want of memory, so that half the batch may pass.

    Args:
        error: what the model raised. The exceptions that it was explicitly raised from are looked at as well.

    Returns:
        True for MemoryError, torch's OutOfMemoryError, and any other Exception whose message says that memory could not be had.

    Example:
        >>> is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")), is_out_of_memory(ValueError("bad row"))
        (True, False)
    """
    torch_error = getattr(sys.modules.get("torch"), "OutOfMemoryError", None)  # torch cannot have raised it without being loaded
    seen: set[int] = set()
    link: BaseException | None = error
    while isinstance(link, Exception) and id(link) not in seen:
        if isinstance(link, MemoryError) or (torch_error is not None and isinstance(link, torch_error)) or _MESSAGES.search(str(link)):
            return True
        seen.add(id(link))
        link = link.__cause__
    return False
