"""Small fits and small matrices on one thread: threads that wait for one another cost many times what they save."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import RLock
from typing import Any

_WORTH_THREADS = 200_000


@contextmanager
def threads_for(rows: int) -> Iterator[None]:
    """Keep OpenMP to one thread for fits of fewer than 200,000 rows.

    Measured on two cores with other work: 20,000 rows, two ensembles of 200 trees, took 1.4 s of CPU on one thread and 30 s on two.

    Args:
        rows: of the fit.
    """
    if rows >= _WORTH_THREADS:
        yield
        return
    from threadpoolctl import ThreadpoolController  # comes with scikit-learn

    openmp = ThreadpoolController().select(user_api="openmp")  # BLAS is put back by whoever set it, which may be between now and then
    with openmp.limit(limits=1):
        yield


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS and LAPACK to one thread, for many factorisations of matrices of some hundred rows.

    OpenBLAS shares even these out among its threads, which then mostly wait for one another; and what it shares out, it rounds otherwise.
    The number of threads belongs to the whole process, so that Python's threads come in here one after the other: each finds one thread
    from beginning to end, and the last digits do not depend on who else is at work. Keep the pieces short.

    Example:
        >>> import numpy as np
        >>> with one_blas_thread():
        ...     bool(np.linalg.inv(np.eye(3))[0, 0] == 1.0)
        True
    """
    with _inside, _libraries().limit(limits=1):
        yield


def _renew() -> None:
    """A lock that nobody holds."""
    global _inside
    _inside = RLock()


_inside = RLock()
if hasattr(os, "register_at_fork"):  # whoever held it is not in the child
    os.register_at_fork(after_in_child=_renew)


@lru_cache(maxsize=1)
def _libraries() -> Any:
    """What is loaded: NumPy's and SciPy's, which a solver has imported before it comes here."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")
