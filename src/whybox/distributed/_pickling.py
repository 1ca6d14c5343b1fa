"""Pickle with functions of scripts and notebooks by value. cloudpickle comes with joblib, and joblib with scikit-learn."""

from __future__ import annotations

from typing import Any


def dumps(value: Any) -> bytes:
    """The value as bytes that ``pickle.loads`` reads.

    Raises:
        Exception: whatever an object raises that cannot be pickled.
    """
    try:
        import cloudpickle
    except ImportError:  # joblib before 1.6 carries its own
        from joblib.externals import cloudpickle
    return bytes(cloudpickle.dumps(value))
