"""The share of the outcome model, by cross-fitting on texts of the pool."""

from __future__ import annotations

import numpy as np

from whybox._random import generator
from whybox.concepts._matched_edits import Intervene, Passages, WholeTexts
from whybox.concepts._matched_effect import Fitted
from whybox.concepts._outcome import scores
from whybox.concepts._pool import CandidatePool
from whybox.concepts._source import Ask
from whybox.typing import Floats, Ints

_TEXTS = 100  # of the pool that are rebuilt


def cross_fit(ask: Ask, maker: WholeTexts | Passages, pool: CandidatePool, concept: str, fitted: Fitted, k: int) -> float:
    """The share that tells texts of the pool best, each of which is rebuilt without its own help.

    Args:
        ask: the explained model.
        maker: puts other candidates' passages into a text.
        pool: the candidates.
        concept: whose passages are exchanged.
        fitted: the outcome model.
        k: exchanges a text.
    """
    drawn = generator(0, "cross-fit", concept).permutation(len(fitted.places))[:_TEXTS]
    rows = np.sort(drawn)
    texts = tuple(pool.texts[i] for i in fitted.places[rows].tolist())
    asked = pool.concept(concept)
    values = [asked.values[c] for c in pool.codes(concept)[fitted.places[rows]].tolist()]
    sums, n = np.zeros((len(rows), fitted.outputs.shape[1])), np.zeros(len(rows))
    for value in dict.fromkeys(values):
        same = [i for i, v in enumerate(values) if v == value]
        edits = maker.make(Intervene(texts, same, values, concept, value, k, 0)).edits
        edits = [edit for edit in edits if edit.text != texts[edit.original]]  # where nothing was exchanged nothing is learnt
        told = scores(ask([edit.text for edit in edits]), fitted.model.probabilities) if edits else 0.0
        np.add.at(sums, [edit.original for edit in edits], told)
        np.add.at(n, [edit.original for edit in edits], 1.0)
    rebuilt = np.divide(sums, n[:, None], out=np.full_like(sums, np.nan), where=n[:, None] > 0)
    return share_of_regression(fitted, rebuilt, rows)


def share_of_regression(fitted: Fitted, rebuilt: Floats, rows: Ints) -> float:
    """The share, between 0 and 1, that the outcome model gets: the one that tells the scores of the pool's own outputs best.

    Args:
        fitted: the outcome model; each text's prediction leaves that text out.
        rebuilt: (r, k) mean scores of some of its texts with their passages exchanged for those of others with the same value; NaN: none.
        rows: (r,) which of its texts.
    """
    usable = np.isfinite(rebuilt).all(axis=1)
    own = scores(fitted.outputs[rows][usable], fitted.model.probabilities)
    matched, regressed = rebuilt[usable] - own, fitted.model.left_out[rows][usable] - own
    apart = matched - regressed
    size = float(np.square(apart).sum())
    return 0.5 if size == 0.0 else float(np.clip((apart * matched).sum() / size, 0.0, 1.0))
