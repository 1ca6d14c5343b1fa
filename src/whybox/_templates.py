"""Prompts around the rows of a model: a template says where a text, or the fields of a record, go."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from whybox._arrays import is_frame
from whybox.errors import InputError, OptionError, SchemaError
from whybox.typing import Rows

_SLOT = re.compile(r"\{(\w+)\}")


def check_template(template: Any) -> None:
    """Refuse what is no template.

    Raises:
        OptionError: not a text, or without any place for a row.
    """
    if not isinstance(template, str) or not _SLOT.search(template):
        raise OptionError(
            f'template: expected a text with {{text}}, or with fields of the rows, such as "Summarise: {{text}}", got {template!r}'
        )


def filled(template: str, rows: Rows, name: str) -> list[str]:
    """A prompt for each row.

    Args:
        template: a text with {text}, or with the names of the fields of records.
        rows: texts, dicts of texts, or a DataFrame.
        name: of the model, for messages.

    Raises:
        InputError: rows are neither texts nor records, or a single text.
        SchemaError: the template names a field that a row lacks.

    Example:
        >>> filled("{context} Who? {text}", [{"context": "Ann came.", "text": "A:"}], "model")
        ['Ann came. Who? A:']
    """
    if isinstance(rows, str):
        raise InputError(f"{name}: expected a list of texts, got one text; pass [text]")
    parts = _SLOT.split(template)  # text, slot, text, slot, ..., text
    return ["".join(_field(row, part, i, name) if at % 2 else part for at, part in enumerate(parts)) for i, row in enumerate(records(rows))]


def records(rows: Rows) -> Sequence[Any]:
    """Rows as a sequence: the records of a DataFrame as dicts, elements of arrays and Series as they are."""
    if is_frame(rows):
        found: list[Any] = rows.to_dict("records")
        return found
    return rows.tolist() if hasattr(rows, "tolist") else list(rows)


def _field(row: Any, slot: str, i: int, name: str) -> str:
    if isinstance(row, str):
        row = {"text": row}
    if not isinstance(row, dict):
        raise InputError(f"{name}: expected texts, or records of texts, got {type(row).__name__} at row {i}")
    if slot not in row:
        raise SchemaError(f"{name}: the template names {{{slot}}}, and row {i} has {', '.join(map(str, row))}; a text alone is {{text}}")
    if not isinstance(row[slot], str):
        raise InputError(f"{name}: expected a text in the field {slot!r}, got {type(row[slot]).__name__} at row {i}")
    return str(row[slot])
