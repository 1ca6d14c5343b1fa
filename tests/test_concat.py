"""concat: explanations of parts are the explanation of the whole, and what does not belong together is refused."""

from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest

import whybox as wb
from whybox.errors import InputError, OptionError, SchemaError
from whybox.explanations import Attribution
from whybox.typing import RunStats

RNG = np.random.default_rng(0)
X = pd.DataFrame(RNG.normal(size=(9, 5)), columns=list("abcde")).assign(e=pd.Categorical(list("uvuvuvuvu"), categories=["v", "u"]))


def model(rows):
    first = rows["a"] * rows["b"] + (rows["e"] == "u") * rows["c"]
    return np.stack([first, rows["d"] - first], axis=1)


EXPLAINERS = {
    "KernelSHAP": lambda: wb.KernelSHAP(model, X),
    "PermutationSHAP": lambda: wb.PermutationSHAP(model, X),
    "LIME": lambda: wb.LIME(model, X, min_score=None),
    "Occlusion": lambda: wb.Occlusion(model, X),
    "groups": lambda: wb.ExactSHAP(model, space=wb.spaces.Groups(wb.spaces.Marginal(X), {"ab": ["a", "b"], "rest": ["c", "d", "e"]})),
}


def same(a, b, names=None):
    for name in names or {item.name for item in fields(Attribution)} - {"stats"}:
        ours, theirs = getattr(a, name), getattr(b, name)
        if isinstance(theirs, pd.DataFrame):
            pd.testing.assert_frame_equal(ours, theirs)
        elif name in ("inputs", "marks") or (isinstance(theirs, np.ndarray) and theirs.dtype == object):
            assert (ours is None) == (theirs is None), name
            assert theirs is None or all(np.array_equal(one, two) for one, two in zip(ours, theirs, strict=True)), name
        elif isinstance(theirs, np.ndarray):
            np.testing.assert_array_equal(ours, theirs, name)
        else:
            assert ours == theirs, name


@pytest.mark.parametrize("target", [None, "predicted"])
@pytest.mark.parametrize("name", EXPLAINERS)
def test_parts_are_the_whole(name, target):
    who = EXPLAINERS[name]()
    whole = who.explain(X, target=target)
    parts = [who.explain(part, target=target) for part in (X[:4], X[4:5], X[5:])]
    joined = wb.concat(parts)
    same(joined, whole)
    assert joined.stats.n_queries == sum(part.stats.n_queries for part in parts)
    assert joined.stats.total_seconds == sum(part.stats.total_seconds for part in parts)
    assert joined.stats.batch_size == max(part.stats.batch_size for part in parts)
    assert not joined.values.flags.writeable


def test_single_rows_come_together_and_their_cost_counts_once():
    whole = EXPLAINERS["KernelSHAP"]().explain(X)
    rows = [whole[i] for i in range(len(whole))]
    joined = wb.concat(rows)
    same(joined, whole, {"values", "std_error", "base_values", "predictions", "feature_names", "method", "settings"})
    assert joined.stats == whole.stats
    assert wb.concat([whole[:3], whole[3:]]).stats == whole.stats
    assert list(joined.data.index) == list(X.index)


def test_texts_come_together():
    texts = ["good plot, bad end", "fine", "bad cast and bad plot"]
    who = wb.KernelSHAP(lambda rows: np.array([row.count("bad") - row.count("good") for row in rows], float), space=wb.spaces.Words())
    same(wb.concat([who.explain(texts[:1]), who.explain(texts[1:])]), who.explain(texts))


def test_rows_of_arrays_are_counted_on_and_labels_stay():
    x = X.drop(columns="e").to_numpy()
    who = wb.ExactSHAP(lambda rows: rows[:, 0] * rows[:, 1], x)
    parts = [who.explain(x[:2]), who.explain(x[2:4])]
    assert wb.concat(parts).to_frame()["row"].unique().tolist() == [0, 1, 2, 3]
    labelled = wb.concat([replace(parts[0], row_labels=("p", "q")), parts[1]])
    assert labelled.to_frame()["row"].unique().tolist() == ["p", "q", 0, 1]


def test_what_does_not_belong_together_is_refused():
    x = X.drop(columns="e")
    who = wb.KernelSHAP(lambda rows: rows["a"].to_numpy(), x)
    e = who.explain(x[:2])
    other = {
        "method": wb.ExactSHAP(lambda rows: rows["a"].to_numpy(), x).explain(x[:2]),
        "seed": who.explain(x[:2], seed=1),
        "settings": who.explain(x[:2], budget=16),
        "target": who.explain(x[:2], target=0),
        "feature_names": wb.KernelSHAP(lambda rows: rows["a"].to_numpy(), x[["b", "a"]]).explain(x[["b", "a"]][:2]),
        "output_names": replace(e, output_names=("other",)),
        "std_error": replace(e, std_error=None),
        "data": replace(e, data=None, row_labels=None),
    }
    for name, part in other.items():
        with pytest.raises(OptionError, match=rf"explanations 0 and 1 differ in .*\b{name}\b"):
            wb.concat([e, part])
    with pytest.raises(SchemaError, match="column 'a': float64 and float32"):
        wb.concat([e, replace(e, data=e.data.astype({"a": np.float32}))])
    with pytest.raises(SchemaError, match="DataFrame in explanation 0 and a ndarray in 1"):
        wb.concat([e, replace(e, data=e.data.to_numpy(), row_labels=None)])
    with pytest.raises(InputError, match="got none"):
        wb.concat([])
    with pytest.raises(InputError, match="got ndarray at 1"):
        wb.concat([e, e.values])


def test_costs_are_summed_field_by_field():
    """A field that comes later is not forgotten."""
    one = RunStats(**{item.name: 2 for item in fields(RunStats)})
    two = RunStats(**{item.name: 3 for item in fields(RunStats)} | {"repeat_sd": None})
    e = Attribution(values=[[1.0]], base_values=[0.0], predictions=[1.0], feature_names=("a",), method="m", stats=one)
    joined = wb.concat([e, replace(e, stats=two)]).stats
    assert joined == RunStats(**{item.name: 5 for item in fields(RunStats)} | {"batch_size": 3, "repeat_sd": 2})
