"""For tests: is a model fit to be explained, and doubles that record calls or are wrong in a known way."""

from whybox.testing.check_model import check_model
from whybox.testing.faults import FAULTS, Fault
from whybox.testing.model_report import Check, ModelReport
from whybox.testing.models import RecordingModel

__all__ = ["FAULTS", "Check", "Fault", "ModelReport", "RecordingModel", "check_model"]
