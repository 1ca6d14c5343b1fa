"""What explainers say to those who call them as another library's: the name that it has here. Hints, not aliases."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from whybox.explanations._hints import unknown

_NAMES = {
    "shap_values": "explain(x) returns an Attribution; the values are its .values",
    "expected_value": "explain(x) returns an Attribution; the expected values are its .base_values",
    "shap_interaction_values": "KernelSHAP(model, ...).interactions(x) has them as its .values",
    "explain_instance": "explain(rows) takes a table, also of one row; as LIME prints it: explain(row)[0].as_list()",
    "explain_row": "pass the row as a table of one row: explain(row)[0]",
    "attribute": "explain(x) returns an Attribution; the values are its .values",
}


class Hints:
    """Answers to calls that other libraries' explainers take; nothing else is changed, and ``hasattr`` stays False."""

    __slots__ = ()

    def __call__(self, *_: object, **__: object) -> NoReturn:
        """No explainer is called as a function.

        Raises:
            TypeError: always; it says what to call.
        """
        raise TypeError(f"{type(self).__name__} is not called itself; whybox's name is {type(self).__name__}(model, ...).explain(x)")

    if not TYPE_CHECKING:  # a type checker is to go on reporting names that do not exist

        def __getattr__(self, name: str) -> NoReturn:
            raise unknown(self, name, _NAMES)
