"""Rows of a model that reads texts."""

from __future__ import annotations

from whybox._templates import records
from whybox.errors import InputError
from whybox.models._options import type_name
from whybox.typing import Rows


def texts_of(rows: Rows, name: str) -> tuple[list[str], list[str] | None]:
    """Rows as texts, and as second texts where rows are pairs.

    Args:
        rows: texts, pairs of texts, or records (dicts, a DataFrame) with "text" and "text_pair".
        name: the model, for messages.

    Raises:
        InputError: a row is something else.
    """
    if isinstance(rows, str):
        raise InputError(f"{name}: expected a list of texts, got one text; pass [text]")
    listed = records(rows)
    if all(isinstance(row, str) for row in listed):
        return list(listed), None
    pairs = [(row.get("text"), row.get("text_pair")) if isinstance(row, dict) else row for row in listed]
    for i, pair in enumerate(pairs):
        if not (isinstance(pair, (tuple, list)) and len(pair) == 2 and all(isinstance(text, str) for text in pair)):
            raise InputError(f"{name}: expected texts or pairs of texts, got {type_name(listed[i])} at row {i}")
    return [str(first) for first, _ in pairs], [str(second) for _, second in pairs]
