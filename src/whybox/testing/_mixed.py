"""A table of many kinds of columns, and a model of it, for contracts on DataFrames."""

from __future__ import annotations

from typing import Any

import numpy as np

from whybox.typing import Floats


def mixed_frame(rows: Floats) -> Any:
    """(n, 10) columns of many kinds from (n, 8) numbers; every category occurs in a handful of rows."""
    import pandas as pd

    return pd.DataFrame(
        {
            "size": rows[:, 0],
            "count": np.floor(10 * np.abs(rows[:, 1])).astype(np.int64),
            "kind": pd.Categorical(np.where(rows[:, 2] > 0, "up", "down"), categories=["down", "up", "never"]),
            "name": pd.array(np.where(rows[:, 3] > 0, "Ångström", "b"), dtype="str"),
            "maybe": pd.array([None if r > 0.5 else int(10 * r) for r in rows[:, 4]], dtype="Int64"),
            "gap": np.where(rows[:, 5] > 0.5, np.nan, rows[:, 5]),
            "share": rows[:, 6].astype(np.float32),
            "sign": rows[:, 7] > 0,
            "note": pd.Series(["late" if r > 0 else None for r in rows[:, 3]], dtype=object),
            "when": pd.Series([pd.Timestamp(2024, 1, 1 + int(r > 0)) for r in rows[:, 2]], dtype=object),
        }
    )


def mixed_game(rows: Any) -> Any:
    """(n,) outputs that depend on every column of ``mixed_frame``."""
    maybe = rows["maybe"].fillna(7).to_numpy(dtype=np.float64)
    up = (rows["kind"] == "up").to_numpy(dtype=np.float64)
    named = (rows["name"] == "b").to_numpy(dtype=np.float64)
    gap = np.where(np.isnan(rows["gap"].to_numpy()), 0.3, rows["gap"].to_numpy())
    first = rows["size"].to_numpy() * up + 0.1 * rows["count"].to_numpy() * named
    told = np.array([0.5 if note is None else 0.1 * len(note) for note in rows["note"]])
    day = np.array([when.day for when in rows["when"]], dtype=np.float64)
    return first + 0.2 * maybe + gap + rows["share"].to_numpy() * rows["sign"].to_numpy() + told * day
