"""What the causal embedding is trained on: for a text and a concept, which texts are to be near and which are to be far."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from whybox.concepts._classifiers import ConceptClassifier
from whybox.concepts._concept import Concept, by_name
from whybox.concepts._graph import CausalGraph, Estimand
from whybox.concepts._source import check_current, check_texts
from whybox.errors import InputError
from whybox.explanations.counterfactuals import Counterfactuals
from whybox.typing import Bools, Ints

if TYPE_CHECKING:
    from torch import Tensor

SETS = ("CF", "M", "notCF", "notM")  # from the most similar that is wanted to the least
PAIRS = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))  # the six terms: the first is to be nearer than the second


@dataclass(frozen=True, eq=False)
class ContrastSets:
    """Texts with their originals and concept values, from which the four sets of any (text, concept) follow.

    With T the concept that is set and F the concepts that setting it must leave alone, a text's sets are

    - CF: texts of the same original in which T differs and all of F are equal;
    - notCF: texts of the same original in which T is equal and one of F differs (with a graph and total effects, at least one: what
      another concept brings about moves with it);
    - M: texts of other originals in which all of F are equal, whatever T is;
    - notM: the other texts of other originals.

    A value that is not known is equal to none.

    Args:
        texts: N texts, originals and edits.
        groups: (N,) the original of each.
        values: (N, c) code of each concept's value, -1 where it is not known.
        fixed: (c, c) row T: which concepts belong to F.
        single: whether notCF differs in exactly one.
        concepts: the c concepts.
    """

    texts: tuple[str, ...]
    groups: Ints
    values: Ints
    fixed: Bools
    single: bool
    concepts: tuple[Concept, ...]
    _within: dict[int, dict[str, _Members]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        texts: Sequence[str],
        counterfactuals: Sequence[Counterfactuals],
        concepts: Sequence[Concept],
        *,
        labels: Mapping[str, Sequence[str | None]] | None,
        classifier: ConceptClassifier | None,
        graph: CausalGraph | None,
        estimand: Estimand,
    ) -> ContrastSets:
        """Sets of originals and their valid edits.

        Args:
            texts: n originals.
            counterfactuals: edits of them.
            concepts: c concepts.
            labels: concept to the value of each original; None asks the classifier.
            classifier: tells the values of edits; None trusts each edit: the concept that it sets has the value that was asked for, the
                concepts that it must leave alone are the original's, and the rest is not known.
            graph: which concepts an edit may move; None: none but the one it sets.
            estimand: "total" or "direct".

        Raises:
            InputError: an edit is of an unknown original or concept, labels do not fit, or neither labels nor a classifier are given.
        """
        originals = tuple(dict.fromkeys(check_texts(texts)))
        named = by_name(concepts)
        if graph is not None:
            graph.check(named)
        names = list(named)
        free = {name: set() if graph is None else set(graph.may_move(name, estimand)) for name in names}
        fixed = np.array([[other != name and other not in free[name] for other in names] for name in names], dtype=bool)
        place = {text: i for i, text in enumerate(originals)}
        rows = [place[text] for text in texts]
        codes = np.full((len(originals), len(names)), -1, dtype=np.int64)
        if labels is None and classifier is None:
            raise InputError("labels: the concept values of the texts are needed; pass labels=, or a classifier= that tells them")
        for column, name in enumerate(names):
            if labels is not None:
                if name not in labels:
                    raise InputError(f"labels: expected values of every concept, {name!r} is missing; it may be None where it is not known")
                given = check_current(labels[name], len(texts), named[name].values)
            else:
                assert classifier is not None
                given = tuple(classifier.classify(list(texts), name))
            assert given is not None
            codes[rows, column] = _codes(given, named[name])
        edits, of, made = [], [], []
        seen: set[tuple[int, str]] = set(enumerate(originals))
        for result in counterfactuals:
            for edit in result.edits:
                text = result.texts[edit.original]
                if text not in place:
                    raise InputError(f"counterfactuals: they edit {text[:60]!r}, which is not among the texts; pass all originals as texts")
                if not edit.valid or (place[text], edit.text) in seen:
                    continue
                if edit.concept not in named:
                    raise InputError(f"counterfactuals: expected edits of the concepts {names}, got one of {edit.concept!r}")
                named[edit.concept].check(edit.target)
                seen.add((place[text], edit.text))
                edits.append(edit.text)
                of.append(place[text])
                made.append((names.index(edit.concept), named[edit.concept].values.index(edit.target)))
        if not edits:
            raise InputError("counterfactuals: expected valid edits of the texts, got none; an embedding cannot be learnt without them")
        groups = np.array([*range(len(originals)), *of], dtype=np.int64)
        if classifier is not None:
            told = [_codes(classifier.classify(edits, name), named[name]) for name in names]
            after = np.stack(told, axis=1)
        else:
            column, target = np.array(made, dtype=np.int64).T
            after = np.where(fixed[column], codes[of], -1)
            after[np.arange(len(column)), column] = target
        single = graph is None or estimand == "direct"
        return cls((*originals, *edits), groups, np.concatenate([codes, after]), fixed, single, tuple(named.values()))

    def digest(self) -> str:
        """Hash of texts, values and rules."""
        state = hashlib.sha256(
            repr((self.texts, [(c.name, c.values) for c in self.concepts], self.single)).encode("utf-8", "surrogatepass")
        )
        for array in (self.groups, self.values, self.fixed):
            state.update(np.ascontiguousarray(array).tobytes())
        return state.hexdigest()

    def masks(self, query: Ints, treatment: Ints, pool: Ints) -> Bools:
        """(4, b, u) which texts of a pool are in which of :data:`SETS` of b (query, treatment).

        Args:
            query: (b,) positions of texts.
            treatment: (b,) positions of concepts.
            pool: (u,) positions of texts.
        """
        differ = np.zeros((len(query), len(pool)), dtype=np.int16)
        known = np.ones(differ.shape, dtype=bool)
        for c in range(self.values.shape[1]):
            matters = self.fixed[treatment, c]
            if matters.any():
                mine, theirs = self.values[query, c][:, None], self.values[pool, c][None]  # (b, 1), (1, u)
                differ += matters[:, None] & (mine != theirs)
                known &= ~matters[:, None] | ((mine >= 0) & (theirs >= 0))
        own, other = self.values[query, treatment][:, None], self.values[pool][:, treatment].T  # (b, 1), (b, u)
        same = self.groups[query][:, None] == self.groups[pool][None]
        near = same & known & (own >= 0) & (other >= 0) & (query[:, None] != pool[None])
        far, agree = ~same & known, differ == 0
        moved = differ == 1 if self.single else ~agree
        return np.stack([near & (own != other) & agree, far & agree, near & (own == other) & moved, far & ~agree])

    def examples(self, treatments: Sequence[int]) -> tuple[Ints, Ints]:
        """(query, treatment) pairs that have at least one counterfactual or one text of notCF."""
        queries, chosen = [], []
        for t in treatments:
            has = np.flatnonzero((self._index(t)["CF"].counts > 0) | (self._index(t)["notCF"].counts > 0))
            queries.append(has)
            chosen.append(np.full(len(has), t))
        return np.concatenate(queries).astype(np.int64), np.concatenate(chosen).astype(np.int64)

    def pool(self, query: Ints, treatment: Ints, samples: int, rng: np.random.Generator) -> Ints:
        """The queries, with up to ``samples`` texts of each of their four sets, sorted."""
        chosen = [query]
        for t in np.unique(treatment).tolist():
            asked = query[treatment == t]
            chosen += [members.some(asked, samples, rng) for members in self._index(t).values()]
        chosen.append(rng.integers(0, len(self.texts), size=samples * len(query)))  # nearly all are in notM
        return np.unique(np.concatenate(chosen))

    def _index(self, treatment: int) -> dict[str, _Members]:
        """For every text its members of CF and of notCF, and those texts that agree with it in all that must stay."""
        if treatment not in self._within:
            n, matters = len(self.texts), self.fixed[treatment]
            left, right = _within_groups(self.groups)
            near = self._near(left, right, treatment)
            key = np.unique(self.values[:, matters], axis=0, return_inverse=True)[1].reshape(-1)  # equal where all that must stay is
            key = np.where((self.values[:, matters] >= 0).all(axis=1), key, n + np.arange(n))  # what is not known is equal to none
            by = np.argsort(key, kind="stable")
            starts = np.searchsorted(key[by], key)
            matched = _Members(by, starts, np.searchsorted(key[by], key, side="right") - starts)
            self._within[treatment] = {
                "CF": _Members.of(left[near[0]], right[near[0]], n),
                "notCF": _Members.of(left[near[1]], right[near[1]], n),
            }
            self._within[treatment]["M"] = matched
        return self._within[treatment]

    def _near(self, left: Ints, right: Ints, treatment: int) -> tuple[Bools, Bools]:
        """Which pairs of texts of one original are (text, CF) and which are (text, notCF)."""
        a, b, matters = self.values[left], self.values[right], self.fixed[treatment]
        known = (((a >= 0) & (b >= 0)) | ~matters).all(axis=1) & (a[:, treatment] >= 0) & (b[:, treatment] >= 0) & (left != right)
        differ = ((a != b) & matters).sum(axis=1)
        equal = a[:, treatment] == b[:, treatment]
        return known & ~equal & (differ == 0), known & equal & (differ == 1 if self.single else differ >= 1)


@dataclass(frozen=True, eq=False)
class _Members:
    """For every text, a run of an array of positions."""

    members: Ints
    starts: Ints
    counts: Ints

    @classmethod
    def of(cls, left: Ints, right: Ints, n: int) -> _Members:
        by = np.lexsort((right, left))
        counts = np.bincount(left, minlength=n)
        return cls(right[by], np.cumsum(counts) - counts, counts)

    def some(self, query: Ints, n: int, rng: np.random.Generator) -> Ints:
        """All members of each query's run if they are at most n, else n drawn with replacement."""
        counts = self.counts[query][:, None]
        drawn = np.floor(rng.random((len(query), n)) * counts).astype(np.int64)
        at = np.where(counts <= n, np.arange(n)[None], drawn)
        inside = at < counts
        found: Ints = self.members[(self.starts[query][:, None] + at)[inside]]
        return found


def _within_groups(groups: Ints) -> tuple[Ints, Ints]:
    """All ordered pairs of positions of one group."""
    order = np.argsort(groups, kind="stable")
    sizes = np.bincount(groups)[groups[order]]
    first = np.searchsorted(groups[order], groups[order])
    inside = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.repeat(order, sizes), order[np.repeat(first, sizes) + inside]


def contrastive_loss(similarity: Tensor, masks: Bools, temperature: float) -> Tensor:
    """The six-term loss, mean over queries.

    A term for the sets A (nearer) and B is -log(A' / (A' + B')), with A' the mean of exp(cosine / temperature) over A. A term with an
    empty set is left out. Source: Gat et al. (2024), arXiv 2310.00603.

    Args:
        similarity: (b, u) cosines of queries and pool.
        masks: (4, b, u) members of the sets CF, M, notCF, notM.
        temperature: of the exponentials.
    """
    import torch

    members = torch.from_numpy(masks).to(similarity.device)
    counts = members.sum(dim=2)  # (4, b)
    scaled = torch.where(members, similarity / temperature, -torch.inf)
    here = counts > 0
    # an empty set would be the logarithm of 0, and its gradient NaN: it reads one arbitrary text, and its terms are left out
    scaled = torch.where(here.unsqueeze(2), scaled, similarity / temperature)
    means = torch.logsumexp(scaled, dim=2) - torch.log(counts.clamp(min=1))  # (4, b)
    total = similarity.new_zeros(similarity.shape[0])
    for near, far in PAIRS:
        total = total + torch.where(here[near] & here[far], torch.nn.functional.softplus(means[far] - means[near]), 0.0)
    return total.mean()


def _codes(values: Sequence[str | None], concept: Concept) -> Ints:
    """Positions of values, -1 for None."""
    known = {value: i for i, value in enumerate(concept.values)}
    if wrong := sorted({str(v) for v in values if v is not None and v not in known}):
        raise InputError(f"labels: {wrong} are not values of the concept {concept.name!r}; its values are {concept.values}")
    return np.array([-1 if v is None else known[v] for v in values], dtype=np.int64)
