"""For tests: is a model fit to be explained, does an explainer keep the contracts, and doubles that are wrong in a known way."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whybox.testing._owen import owen_values as owen_values
    from whybox.testing.contract import CHECKS as CHECKS
    from whybox.testing.contract import ContractError as ContractError
    from whybox.testing.contract import ContractReport as ContractReport
    from whybox.testing.contract import Finding as Finding
    from whybox.testing.contract import Traits as Traits
    from whybox.testing.contract import check_explainer as check_explainer
    from whybox.testing.contract import examine_explainer as examine_explainer
    from whybox.testing.contract import occlusion_values as occlusion_values
    from whybox.testing.contract import shapley_values as shapley_values
    from whybox.testing.faults import FAULTS as FAULTS
    from whybox.testing.faults import Fault as Fault
    from whybox.testing.model_check import check_model as check_model
    from whybox.testing.model_report import Check as Check
    from whybox.testing.model_report import ModelReport as ModelReport
    from whybox.testing.models import RecordingModel as RecordingModel

__all__ = [
    "CHECKS",
    "FAULTS",
    "Check",
    "ContractError",
    "ContractReport",
    "Fault",
    "Finding",
    "ModelReport",
    "RecordingModel",
    "Traits",
    "check_explainer",
    "check_model",
    "examine_explainer",
    "occlusion_values",
    "owen_values",
    "shapley_values",
]

# A name is imported when it is first used: the loopback servers live here too, and start in a quarter of the time.
_HOME = {
    "CHECKS": "contract",
    "FAULTS": "faults",
    "Check": "model_report",
    "ContractError": "contract",
    "ContractReport": "contract",
    "Fault": "faults",
    "Finding": "contract",
    "ModelReport": "model_report",
    "RecordingModel": "models",
    "Traits": "contract",
    "check_explainer": "contract",
    "check_model": "model_check",
    "examine_explainer": "contract",
    "occlusion_values": "contract",
    "owen_values": "_owen",
    "shapley_values": "contract",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'whybox.testing' has no attribute {name!r}; public names: {', '.join(__all__)}")
    value = getattr(import_module(f"whybox.testing.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})  # what this file imports is nobody's to complete
