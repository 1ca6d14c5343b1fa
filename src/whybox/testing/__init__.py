"""For tests: is a model fit to be explained, does an explainer keep the contracts, and doubles that are wrong in a known way."""

from whybox.testing._owen import owen_values
from whybox.testing.check_model import check_model
from whybox.testing.contract import (
    CHECKS,
    ContractError,
    ContractReport,
    Finding,
    Traits,
    check_explainer,
    examine_explainer,
    occlusion_values,
    shapley_values,
)
from whybox.testing.faults import FAULTS, Fault
from whybox.testing.model_report import Check, ModelReport
from whybox.testing.models import RecordingModel

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
