"""For training scripts: explanations of the same rows every few epochs, how they drift, and where the numbers go."""

from whybox.callbacks._drift import Drift, explanation_drift
from whybox.callbacks.explanation_logger import ExplanationLogger, Logged, Sink, SinkWarning
from whybox.callbacks.hugging_face import trainer_callback
from whybox.callbacks.sinks import MLflowSink, TensorBoardSink

__all__ = [
    "Drift",
    "ExplanationLogger",
    "Logged",
    "MLflowSink",
    "Sink",
    "SinkWarning",
    "TensorBoardSink",
    "explanation_drift",
    "trainer_callback",
]
