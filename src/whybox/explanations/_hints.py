"""What results say to those who read them as another library's: the name that it has here. Hints, not aliases."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

_NAMES = {
    "shap_values": "its values are .values",
    "expected_value": "its expected values are .base_values",
    "attributions": "its values are .values",
    "abs": "mean absolute values are .abs_mean and .importance()",
    "mean": "mean absolute values are .abs_mean and .importance()",
    "cohorts": "slice it, e[mask], and plot each part with ax=",
    "interactions": "KernelSHAP(model, ...).interactions(x) finds them",
    "append": "whybox.concat([one, other]) joins explanations",
    "as_html": "its HTML is .to_html(), a page .report(path)",
    "show_in_notebook": "it is a notebook's output itself; its HTML is .to_html()",
    "as_pyplot_figure": "e[0].plot.bar() draws a row",
}
_PLOTS = {
    **dict.fromkeys(("force", "decision", "violin", "text", "partial_dependence"), "shap draws it from e.to_shap()"),
    "summary_plot": "it is plot.beeswarm()",
    "dependence_plot": "it is plot.scatter(feature)",
    "dependence": "it is plot.scatter(feature)",
    "embedding": "shap draws it from e.to_shap()",
}


class Hints:
    """Answers to names that other libraries' results have; ``hasattr`` stays False."""

    __slots__ = ()

    if not TYPE_CHECKING:  # a type checker is to go on reporting names that do not exist

        def __getattr__(self, name: str) -> NoReturn:
            raise unknown(self, name, _NAMES)


class PlotHints:
    """The same for plots."""

    __slots__ = ()

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            raise unknown(self, name, _PLOTS)


def unknown(of: object, name: str, names: dict[str, str]) -> AttributeError:
    """The error for a name that an object does not have, with ours where there is one."""
    hint = f"; in whybox, {names[name]}" if name in names else ""
    return AttributeError(f"{type(of).__name__!r} object has no attribute {name!r}{hint}", name=name, obj=of)
