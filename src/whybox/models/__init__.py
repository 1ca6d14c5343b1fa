"""Adapters: one file a library. ``as_model`` is the only way in."""

from whybox._arrays import is_out_of_memory
from whybox._remote import Budget, Limits, Retry, Spending
from whybox.models._adapt import as_model
from whybox.models._codecs import Codec, JSONRows, MLflow, OpenInference
from whybox.models._options import Output
from whybox.models._scores import PrefixWarning
from whybox.models.generation import TeacherForcing
from whybox.models.http import HTTPModel
from whybox.models.transformers import TransformersClassifier, TruncationWarning

__all__ = [
    "Budget",
    "Codec",
    "HTTPModel",
    "JSONRows",
    "Limits",
    "MLflow",
    "OpenInference",
    "Output",
    "PrefixWarning",
    "Retry",
    "Spending",
    "TeacherForcing",
    "TransformersClassifier",
    "TruncationWarning",
    "as_model",
    "is_out_of_memory",
]
