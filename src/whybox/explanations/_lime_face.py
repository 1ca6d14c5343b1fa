"""LIME's way of reading an explanation, for those who come from LIME."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from whybox.errors import InputError, OptionError
from whybox.explanations._view import batch, lines, output_label

if TYPE_CHECKING:
    from whybox.explanations.attribution import Attribution


class LimeFace:
    """Accessors with the names and the meaning of ``lime.explanation.Explanation``; they read one row."""

    __slots__ = ()

    def available_labels(self) -> list[int]:
        """Positions of the explained outputs."""
        e = _one_row(self, "available_labels")
        return list(range(e.n_outputs)) if e.multi_output else [_label(e)]

    def as_list(self, label: int | str | None = None) -> list[tuple[str, float]]:
        """Names and weights, largest weight first. Features whose weight is exactly 0 were not selected and are left out.

        Args:
            label: position or name of the output. None takes the explained output, or output 1 where several are, as LIME does.

        Raises:
            InputError: the explanation has several rows.
            OptionError: this output was not explained.
        """
        e = _chosen(self, label, "as_list")
        return [(_name(e, line.name, line.value, line.position), line.attribution) for line in lines(e, 0) if line.attribution != 0]

    def as_map(self) -> dict[int, list[tuple[int, float]]]:
        """For every explained output: positions of features and their weights, largest weight first."""
        e = _one_row(self, "as_map")
        shown = {label: e[..., label] if e.multi_output else e for label in self.available_labels()}
        return {label: [(x.position, x.attribution) for x in lines(one, 0) if x.attribution != 0] for label, one in shown.items()}

    @property
    def local_exp(self) -> dict[int, list[tuple[int, float]]]:
        """The same as ``as_map()``."""
        return self.as_map()


def _one_row(face: LimeFace, what: str) -> Attribution:
    from whybox.explanations.attribution import Attribution

    e = batch(cast(Attribution, face))
    if len(e) != 1:
        raise InputError(f"{what}: reads one row, and this explains {len(e)}; choose one: e[0].{what}()")
    return e


def _label(e: Attribution) -> int:
    """LIME calls the only output of a regression 1; so does this where nothing else says which output it is."""
    return 1 if e.target_index is None else int(e.target_index[0])


def _chosen(face: LimeFace, label: int | str | None, what: str) -> Attribution:
    e = _one_row(face, what)
    if e.multi_output:
        if label is None and e.n_outputs == 1:
            label = 0
        return e.output(label) if isinstance(label, str) else e[..., 1 if label is None else label]  # a label is a position, as in LIME
    if label is None or label == _label(e) or (e.output_names is not None and label in _names(e)):
        return e
    explained = output_label(e, _label(e)) if _names(e) else _label(e)
    raise OptionError(f"{what}: output {label!r} was not explained; this explains {explained!r}")


def _names(e: Attribution) -> set[str]:
    """The name of the explained output."""
    if e.output_names is None:
        return set()
    return {e.output_names[0 if e.target_index is None else int(e.target_index[0])]}


def _name(e: Attribution, name: str, value: str, position: int) -> str:
    """LIME's name of a feature: with its value where that is a category, and the condition where there is one."""
    if e.conditions is not None and e.conditions[0][position] is not None:
        return name
    if not value or e.ragged or e.members is not None or _is_number(_raw(e, position)):
        return name
    return f"{name}={value}"


def _raw(e: Attribution, position: int) -> Any:
    return e.data[0, position] if isinstance(e.data, np.ndarray) else e.data.iat[0, position]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, (bool, np.bool_))
