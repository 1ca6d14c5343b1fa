"""Every error that whybox raises, in one tree.

::

    WhyboxError
    ├── InputError (ValueError)          what was handed in cannot be explained as it is
    │   ├── SchemaError                  columns, order, dtypes or categories do not match
    │   ├── ShapeError                   an array has another shape than the call needs
    │   └── OptionError                  an argument has a value that does not exist
    ├── ModelError (RuntimeError)        the model answered something that cannot be used
    │   ├── OutputShapeError             wrong length or number of axes
    │   ├── OutputValueError             NaN, infinite or non-numeric outputs
    │   └── OutputOrderError             the answer for a row depends on its place in the batch
    ├── RemoteError (RuntimeError)       a remote endpoint refused, or kept failing
    ├── BudgetError (RuntimeError)       the budget does not allow what was asked
    ├── CheckpointError (RuntimeError)   a checkpoint belongs to another job, or is not one
    ├── WorkerLostError (RuntimeError)   worker processes died before the work was done
    └── MissingDependencyError (ImportError)   an extra is not installed

A message says what was expected, what came, and what to do. Exceptions that the model itself raises are not wrapped: they pass through
with a note (PEP 678) that names the batch.
"""


class WhyboxError(Exception):
    """Base of every error of this library."""


class InputError(WhyboxError, ValueError):
    """What was handed in cannot be explained as it is."""


class SchemaError(InputError):
    """Columns, their order, dtypes or categories do not match the background."""


class ShapeError(InputError):
    """An array has another shape than the call needs."""


class OptionError(InputError):
    """An argument has a value that does not exist."""


class ModelError(WhyboxError, RuntimeError):
    """The model answered something that cannot be used."""


class OutputShapeError(ModelError):
    """The model's output has a wrong length or number of axes."""


class OutputValueError(ModelError):
    """The model's output holds NaN, infinite or non-numeric values."""


class OutputOrderError(ModelError):
    """The model's answer for a row depends on the row's place in the batch."""


class RemoteError(WhyboxError, RuntimeError):
    """A remote endpoint refused the call, or kept failing after every retry. Keys are cut out of its message."""


class BudgetError(WhyboxError, RuntimeError):
    """The budget does not allow what was asked."""


class CheckpointError(WhyboxError, RuntimeError):
    """A checkpoint belongs to another job, or is not a checkpoint."""


class WorkerLostError(WhyboxError, RuntimeError):
    """Worker processes died, or their engine failed, before every batch was done. What was finished is kept."""


class MissingDependencyError(WhyboxError, ImportError):
    """An optional dependency is not installed.

    Args:
        package: the name that pip knows.
        extra: the whybox extra that brings it.
        feature: what needed it.
    """

    def __init__(self, package: str, extra: str, feature: str) -> None:
        super().__init__(f"{feature} needs the package {package!r}, which is not installed; run: pip install 'whybox[{extra}]'")
        self.package, self.extra, self.feature = package, extra, feature
