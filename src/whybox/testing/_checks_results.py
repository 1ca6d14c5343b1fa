"""Contracts on what comes out: it can be pickled, saved and printed, and holds no secret."""

from __future__ import annotations

import json
import pickle
import tempfile
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from whybox.testing._checks_bench import Bench, difference, expect, game
from whybox.typing import Rows

SECRET = "sk-planted-0123456789"  # noqa: S105  # planted, to be searched for
SHOWN = ("feature_names", "output_names", "method", "estimator", "target", "seed", "stats", "settings")


def pickle_round_trip(bench: Bench) -> None:
    """13. Explanation and explainer come back from pickle as they were."""
    explainer = bench.make(game)
    e = explainer.explain(bench.x(2), **bench.few())
    do = "keep lambdas, locks and files out"
    _same(pickle.loads(pickle.dumps(e)), e, "an explanation from pickle", do)  # noqa: S301  # our own bytes
    again = pickle.loads(pickle.dumps(explainer)).explain(bench.x(2), **bench.few())  # noqa: S301  # our own bytes
    gap = difference(again, e)
    expect(not gap, "a pickled explainer to answer as before", gap, do)


def save_round_trip(bench: Bench) -> None:
    """13. What is saved comes back, DataFrames included."""
    import pandas as pd

    names = [f"column {j}" for j in range(8)]
    x, background = (pd.DataFrame(part, columns=names) for part in (bench.x(2), bench.background()))
    with tempfile.TemporaryDirectory() as folder:
        for model, rows, reference in ((game, bench.x(2), None), (_of_frame, x, background))[: 1 if bench.texts else 2]:
            e = bench.make(model, reference).explain(rows, **bench.few())
            path = Path(folder) / "e.npz"
            e.save(path)
            back = type(e).load(path)
            _same(back, e, "a saved explanation", "save every field")
            if isinstance(rows, pd.DataFrame):
                expect(rows.equals(back.data), "the DataFrame as it was", back.data, "save columns in their dtypes")


def _of_frame(rows: Any) -> Any:
    return game(rows.to_numpy())


def _same(ours: Any, theirs: Any, what: str, do: str) -> None:
    gap = difference(ours, theirs)
    expect(not gap, f"{what} with the same numbers", gap, do)
    for name in SHOWN:
        mine, other = getattr(ours, name), getattr(theirs, name)
        expect(mine == other, f"{what} with the same {name}", f"{mine!r} for {other!r}", do)


@dataclass
class KeyedModel:
    """A client of a paid model, whose key its own repr shows, as careless clients do."""

    api_key: str = SECRET

    def __call__(self, rows: Rows) -> Any:
        """The game."""
        return game(rows)


def no_secret_in_artefacts(bench: Bench) -> None:
    """A key that the model holds is in nothing that is saved, printed or logged."""
    explainer = bench.make(KeyedModel())
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "job.whybox"
        e = explainer.explain(bench.x(2), checkpoint=log, **bench.few())
        path = Path(folder) / "e.npz"
        e.save(path)
        with zipfile.ZipFile(path) as archive:
            saved = b"".join(archive.read(name) for name in archive.namelist())
        artefacts: dict[str, bytes] = {"the checkpoint": log.read_bytes(), "the saved file": saved + path.read_bytes()}
    artefacts |= {
        "repr of the explanation": repr(e).encode(),
        "HTML of the explanation": e._repr_html_().encode(),
        "pickle of the explanation": pickle.dumps(e),
        "settings": json.dumps(dict(e.settings)).encode(),
        "fields of the explanation": repr([getattr(e, field.name) for field in fields(e)]).encode(),
        "repr of the explainer": repr(explainer).encode(),
    }
    leaks = [name for name, content in artefacts.items() if SECRET.encode() in content]
    expect(not leaks, "the model's key in no artefact", f"it is in {leaks}", "hide the model from repr, and save no object of the user's")
    expect(bool(np.isfinite(e.values).all()), "finite values", "others", "explain models with attributes like any other")
