"""The exceptions that end a command with a message for the user instead of a traceback."""

from __future__ import annotations

from collections.abc import Iterable

MAX_PROBLEMS = 100  # listed in one ConfigError


class ConfigError(ValueError):
    """Everything that is wrong with a config; the message has one line for each problem.

    Args:
        problems: one line each; repeated lines are dropped, and only the first 100 are listed.
    """

    def __init__(self, problems: Iterable[str]):
        self.problems = list(dict.fromkeys(problems))
        lines = self.problems[:MAX_PROBLEMS]
        omitted = len(self.problems) - len(lines)
        if omitted:
            lines.append(f"and {omitted} more problems")
        super().__init__("\n".join(lines))


class ImportPathError(ValueError):
    """A dotted path that leads to no module, function or class."""


class DataError(ValueError):
    """Data that cannot be trained on; the message is one line."""


class InputError(ValueError):
    """A config or data that cannot be trained on; the message is one line, with the place in the config."""


class UserCodeError(RuntimeError):
    """A component of the user's raised; the message is its traceback, without frames of tftrain and TensorFlow."""


class TrainingError(RuntimeError):
    """TensorFlow failed during training, or a file of the run cannot be written; the message is one line."""
