"""Effects by rewriting twice: both sides of the comparison were written by the same hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from whybox._random import generator
from whybox.concepts._nulls import back_again
from whybox.concepts._source import CounterfactualSource, check_texts
from whybox.engine import Engine
from whybox.errors import InputError, OptionError
from whybox.explanations.counterfactuals import Counterfactuals, Edit, GenerationCost
from whybox.models import as_model
from whybox.typing import Floats, Ints, RunStats


@dataclass(frozen=True)
class Average:
    """An average effect.

    Args:
        mean: (k,) over the texts.
        std_error: (k,) by bootstrap over originals; NaN with fewer than two.
        n: texts with a valid pair of edits.
        n_asked: texts that were asked for.
    """

    mean: Floats
    std_error: Floats
    n: int
    n_asked: int


@dataclass(frozen=True, kw_only=True)
class RewriteTwice:
    """What :func:`rewrite_twice` found. Effects are of ``treated`` against ``control``, on the model's k outputs.

    Args:
        concept: that was set.
        treated: its value with treatment.
        control: its value without.
        att: average effect on texts that have the treatment.
        atu: on texts that do not.
        ate: on all, weighted by their numbers.
        once: the same as ate by rewriting once (edit against untouched original), with the drift that rewriting brings.
        edits: the first rewriting, of every text.
        back: (m,) texts of the second rewriting, None where one of the two is not valid.
        output_names: of the k outputs, or None.
        stats: what the model was asked.
        cost: of all rewriting.

    Example:
        >>> from whybox.concepts import StructuralCounterfactuals
        >>> from whybox.datasets import concept_reviews
        >>> data = concept_reviews(20)
        >>> r = rewrite_twice(
        ...     lambda texts: [[len(t)] for t in texts],
        ...     StructuralCounterfactuals(data),
        ...     data.texts,
        ...     "return",
        ...     treated="yes",
        ...     control="no",
        ...     current=data.values("return"),
        ... )
        >>> r.ate.n == r.att.n + r.atu.n == 20
        True
    """

    concept: str
    treated: str
    control: str
    att: Average
    atu: Average
    ate: Average
    once: Average
    edits: Counterfactuals = field(repr=False)
    back: tuple[str | None, ...] = field(repr=False)
    output_names: tuple[str, ...] | None
    stats: RunStats = field(repr=False)
    cost: GenerationCost


def rewrite_twice(
    model: Any,
    source: CounterfactualSource,
    texts: Sequence[str],
    concept: str,
    *,
    treated: str,
    control: str,
    current: Sequence[str],
    seed: int = 0,
    n_bootstrap: int = 2000,
    engine: Engine | None = None,
) -> RewriteTwice:
    """Effect of a concept by comparing a rewriting with the rewriting of a rewriting.

    A text with the treatment is rewritten to control, and that back to treatment; the model's outputs for these two are compared, so that
    what rewriting does to every text (its tone, length, tidiness) cancels.

    Args:
        model: anything that :func:`whybox.as_model` takes and that is called with a list of texts.
        source: any source of counterfactuals.
        texts: n originals; those with another value than the two are left out and not counted.
        concept: what is rewritten.
        treated: its value with treatment.
        control: its value without.
        current: the value in each text.
        seed: of source and bootstrap. Default 0.
        n_bootstrap: resamples of the originals. Default 2000.
        engine: how the model is called; None takes the default.

    Returns:
        Average effects on the treated, the untreated and all.

    Raises:
        InputError: no text has one of the two values.
        OptionError: treated and control are the same.

    Source: RATE (ICML 2025): ATT = mean over treated of R(Re(Re(x, 0), 1)) - R(Re(x, 0)), ATU the mirror image, ATE weighted by size.

    Example:
        >>> from whybox.concepts import StructuralCounterfactuals
        >>> from whybox.datasets import concept_reviews
        >>> data = concept_reviews(40)
        >>> model = lambda texts: [[float("I will be back" in t)] for t in texts]
        >>> values = data.values("return")
        >>> r = rewrite_twice(model, StructuralCounterfactuals(data), data.texts, "return", treated="yes", control="no", current=values)
        >>> bool(r.ate.mean[0] == r.once.mean[0])  # an exact source has no drift
        True
    """
    originals = check_texts(texts)
    if treated == control:
        raise OptionError(f"treated and control: expected two values, got {treated!r} twice")
    if len(current) != len(originals):
        raise InputError(f"current: expected {len(originals)} values, one a text, got {len(current)}")
    rows = {value: [i for i, v in enumerate(current) if v == value] for value in (treated, control)}
    if not rows[treated] and not rows[control]:
        raise InputError(f"current: no text has the value {treated!r} or {control!r} of {concept!r}")
    edits, back, where, sides = [], [], [], []
    cost = GenerationCost()
    for value, other in ((treated, control), (control, treated)):
        if not rows[value]:
            continue
        own = [originals[i] for i in rows[value]]
        there = source.counterfactuals(own, concept, to=other, k=1, seed=seed, current=[value] * len(own))
        again, spent = back_again(source, there, concept, seed)
        cost += there.cost + spent
        for first, second in zip(there.edits, again, strict=True):
            row = rows[value][first.original]
            edits.append((row, first))
            back.append(second.text if first.valid and second.valid else None)
            where.append(row)
            sides.append(value == treated)
    asked = [
        text
        for (row, first), second in zip(edits, back, strict=True)
        if second is not None
        for text in (originals[row], first.text, second)
    ]
    place = {text: i for i, text in enumerate(dict.fromkeys(asked))}
    adapted = as_model(model)
    if not place:
        raise InputError(
            f"rewrite_twice: none of the {len(edits)} rewritings of {concept!r} was valid both ways; see what the source's checks say"
        )
    with (engine or Engine()).start(adapted) as run:
        outputs = run.predict(list(place))
        stats = run.stats
    used = np.array([j for j, text in enumerate(back) if text is not None], dtype=np.int64)
    sign = np.array([1.0 if sides[j] else -1.0 for j in used.tolist()])[:, None]
    first_out = outputs[[place[edits[j][1].text] for j in used.tolist()]]
    second_out = outputs[[place[str(back[j])] for j in used.tolist()]]
    plain = outputs[[place[originals[edits[j][0]]] for j in used.tolist()]]
    twice, once = sign * (second_out - first_out), sign * (plain - first_out)
    rng = generator(seed, "rewrite twice", "bootstrap")
    on_treated = np.array([sides[j] for j in used.tolist()], dtype=bool)
    total = np.bincount(np.array(sides, dtype=np.int64), minlength=2)
    kept = np.array(where, dtype=np.int64)[used]

    def average(effects: Floats, chosen: Any, n_asked: int) -> Average:
        return _average(effects[chosen], kept[chosen], n_asked, rng, n_bootstrap)

    everyone = np.ones(len(used), dtype=bool)
    order = sorted(range(len(edits)), key=lambda j: edits[j][0])
    return RewriteTwice(
        concept=concept,
        treated=treated,
        control=control,
        att=average(twice, on_treated, int(total[1])),
        atu=average(twice, ~on_treated, int(total[0])),
        ate=average(twice, everyone, len(edits)),
        once=average(once, everyone, len(edits)),
        edits=Counterfactuals(
            texts=originals,
            edits=tuple(_placed(edits[j]) for j in order),
            source="rewrite_twice, first rewriting",
            estimand=source.estimand,
            cost=cost,
        ),
        back=tuple(back[j] for j in order),
        output_names=adapted.output_names,
        stats=stats,
        cost=cost,
    )


def _placed(item: tuple[int, Edit]) -> Edit:
    return replace(item[1], original=item[0])


def _average(effects: Floats, originals: Ints, n_asked: int, rng: np.random.Generator, n_bootstrap: int) -> Average:
    k = effects.shape[1]
    n = len(effects)
    if n == 0:
        return Average(np.full(k, np.nan), np.full(k, np.nan), 0, n_asked)
    if len(np.unique(originals)) < 2:
        return Average(effects.mean(axis=0), np.full(k, np.nan), n, n_asked)
    weights = rng.multinomial(n, np.full(n, 1.0 / n), size=n_bootstrap) / n
    return Average(effects.mean(axis=0), (weights @ effects).std(axis=0, ddof=1), n, n_asked)
