"""What edits do that change nothing of the concept: the null that an effect has to exceed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from whybox.concepts._source import CounterfactualSource, Paraphraser
from whybox.errors import InputError
from whybox.explanations.counterfactuals import Counterfactuals, Edit, Failure, GenerationCost


def null_edits(
    source: CounterfactualSource,
    texts: Sequence[str],
    concept: str,
    through: Sequence[str],
    *,
    k: int = 1,
    seed: int = 0,
    current: Sequence[str | None] | None = None,
) -> Counterfactuals:
    """Edits of each text that keep the concept's value: paraphrases where the source writes them, else there and back again.

    There and back: the concept is set to another value, and in the edited text back to the first. What the model then says otherwise is
    what editing does by itself.

    Args:
        source: of the edits.
        texts: n originals.
        concept: what keeps its value.
        through: values that the way there may go to; each text takes the first that is not its own.
        k: edits a text. Default 1.
        seed: of the source. Default 0.
        current: the concept's value in each text; None leaves the source to find out.

    Returns:
        Edits with source value and target alike. A broken way there is an invalid edit.

    Example:
        >>> from whybox.concepts import StructuralCounterfactuals
        >>> from whybox.datasets import concept_reviews
        >>> data = concept_reviews(5)
        >>> e = null_edits(StructuralCounterfactuals(data), data.texts, "price", ["cheap", "expensive"])
        >>> [edit.text for edit in e.edits] == list(data.texts)  # an exact source comes back to where it was
        True
    """
    if isinstance(source, Paraphraser):
        return source.paraphrases(texts, concept, k=k, seed=seed, current=current)
    texts = tuple(texts)
    edits: list[Edit] = []
    cost = GenerationCost()
    open_rows = set(range(len(texts)))
    for value in through:
        rows = sorted(open_rows)
        if not rows:
            break
        there = source.counterfactuals(
            [texts[i] for i in rows],
            concept,
            to=value,
            k=k,
            seed=seed,
            current=None if current is None else [current[i] for i in rows],
        )
        cost += there.cost
        open_rows -= {rows[edit.original] for edit in there.edits}
        back, spent = back_again(source, there, concept, seed)
        cost += spent
        edits += [replace(edit, original=rows[edit.original]) for edit in back]
    edits.sort(key=lambda edit: (edit.original, edit.sample))
    return Counterfactuals(
        texts=texts, edits=tuple(edits), source="there and back again", estimand=source.estimand, cost=cost, settings={"concept": concept}
    )


def back_again(source: CounterfactualSource, there: Counterfactuals, concept: str, seed: int) -> tuple[list[Edit], GenerationCost]:
    """For every edit one that sets the concept back to where it was, with the original of the first.

    Raises:
        InputError: the first value of a text is not known.
    """
    if any(edit.source_value is None for edit in there.edits):
        raise InputError(f"the way back needs the value of {concept!r} in every text; give current= or a source that finds it out")
    found: dict[int, Edit] = {j: _broken(edit, "the edit there is not valid") for j, edit in enumerate(there.edits) if not edit.valid}
    cost = GenerationCost()
    for value in dict.fromkeys(edit.source_value for edit in there.edits if edit.valid):
        assert value is not None
        places = [j for j, edit in enumerate(there.edits) if edit.valid and edit.source_value == value]
        first = [there.edits[j] for j in places]
        back = source.counterfactuals([e.text for e in first], concept, to=value, k=1, seed=seed, current=[e.target for e in first])
        cost += back.cost
        for edit in back.edits:
            origin = first[edit.original]
            attempts = origin.attempts + edit.attempts
            found[places[edit.original]] = replace(
                edit, original=origin.original, sample=origin.sample, source_value=value, attempts=attempts
            )
        for j in places:
            found.setdefault(j, _broken(there.edits[j], "the source gave no edit back"))
    return [replace(found[j], source_value=found[j].target) for j in range(len(there.edits))], cost


def _broken(edit: Edit, why: str) -> Edit:
    return replace(edit, target=str(edit.source_value), failures=(*edit.failures, Failure("way back", why)))
