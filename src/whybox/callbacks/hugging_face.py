"""A callback for the Hugging Face Trainer."""

from __future__ import annotations

from typing import Any, Literal

from whybox.callbacks.explanation_logger import ExplanationLogger
from whybox.errors import MissingDependencyError, OptionError


def trainer_callback(logger: ExplanationLogger, *, on: Literal["epoch", "step", "evaluate"] = "epoch") -> Any:
    """A ``transformers.TrainerCallback`` that calls the logger; its numbers also go to the trainer's own ``log_history``.

    Args:
        logger: what is called; its ``every`` counts epochs, or steps.
        on: "epoch" (default) after each epoch, "step" after each optimisation step, or "evaluate" after each evaluation (steps are counted
            then too, so leave ``every`` at 1).

    Returns:
        An object for ``Trainer(callbacks=[...])``. Only the first process of a distributed training logs.

    Raises:
        OptionError: ``on`` has another value.
        MissingDependencyError: transformers is not installed.

    Example:
        >>> trainer_callback(None, on="sometimes")
        Traceback (most recent call last):
        whybox.errors.OptionError: ...
    """
    if on not in ("epoch", "step", "evaluate"):
        raise OptionError(f"on: expected epoch, step or evaluate, got {on!r}")
    try:
        from transformers import TrainerCallback
    except ImportError as error:
        raise MissingDependencyError("transformers", "hf", "trainer_callback") from error

    class ExplanationCallback(TrainerCallback):
        """Hands the trainer's epoch or step to the logger."""

        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            """After an epoch."""
            del args, control
            if on == "epoch":
                _log(logger, round(state.epoch), state)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            """After an optimisation step."""
            del args, control
            if on == "step":
                _log(logger, state.global_step, state)

        def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            """After an evaluation."""
            del args, control
            if on == "evaluate":
                _log(logger, state.global_step, state)

    return ExplanationCallback()


def _log(logger: ExplanationLogger, step: int, state: Any) -> None:
    if not state.is_world_process_zero:
        return
    entry = logger(step)
    if entry is not None:
        state.log_history.append({**entry.scalars, "epoch": state.epoch, "step": state.global_step})
