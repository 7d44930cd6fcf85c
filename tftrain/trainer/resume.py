"""Going on with a run whose config has changed: what may, because it cannot touch the numbers, and what may not."""

from __future__ import annotations

from pathlib import Path

from tftrain.config.compose import read_config
from tftrain.config.export import config_diff
from tftrain.config.rules import rate_monitors
from tftrain.config.schema import Config
from tftrain.config.validation import validate
from tftrain.runtime.cluster import is_chief
from tftrain.runtime.errors import ConfigError
from tftrain.runtime.run_dir import CONFIG, RunFolderError, ensure_available
from tftrain.runtime.terminal import say

LENGTH = (
    "training.steps",
    "training.epochs",
)  # what was trained stays as it is
EVERY = "checkpoint.every"
SAFE_TO_CHANGE = (
    *LENGTH,
    "training.steps_per_call",
    "log",
    EVERY,
    "checkpoint.max_to_keep",
)
POINTS = (
    "log.scalars",
    "log.histograms_every",
)  # at which steps there is a point of the curves


def check_run_dir(
    config: Config, run_dir: Path | None, resume: bool, allow_changes: bool
) -> bool:
    """Refuse a folder that the run cannot use, before TensorFlow is imported, which takes seconds.

    Args:
        config: that of the run.
        run_dir: the folder asked for; None for a new one.
        resume: whether to continue from the last checkpoint in the folder.
        allow_changes: whether to continue although the config has changed in a way that affects the numbers.

    Returns:
        Whether it has changed in such a way.

    Raises:
        RunFolderError: the folder is another run's or cannot be written, or the config changed.
    """
    if is_chief(config.training.strategy):
        ensure_available(run_dir, resume)
    return resume and config_changed(run_dir, config, allow_changes)


def config_changed(folder: Path, config: Config, allow: bool) -> bool:
    """Return whether a run's config has changed in a way that affects the numbers, and print each change.

    Args:
        folder: that of the run, with its saved config.
        config: the new one.
        allow: whether such a change is allowed.

    Raises:
        RunFolderError: it is, and that is not allowed.
    """
    saved = folder / CONFIG
    if not saved.is_file():
        return False
    try:
        old_config = validate(read_config(saved), saved.stem)
    except ConfigError:  # written by another version, or by hand
        changes = ["its saved config can no longer be read"]
        matter = True
    else:
        changes = config_diff(old_config, config)
        paths = [line.partition(":")[0] for line in changes]
        matter = any(not _is_safe_change(path, config) for path in paths)
    if matter and not allow:
        raise RunFolderError(
            f"run folder {folder}: the config has changed; give --allow-changes to go on with it",
            changes,
        )
    for line in changes:
        say(f"changed since the last session: {line}")
    return matter


def _is_safe_change(path: str, config: Config) -> bool:
    if _is_within(path, POINTS) and _depends_on_points(config):
        return False
    # A rewind goes back to the last checkpoint.
    if path == EVERY and config.training.on_bad_step == "rewind":
        return False
    return _is_within(path, SAFE_TO_CHANGE)


def _is_within(path: str, paths: tuple[str, ...]) -> bool:
    return any(
        path == parent or path.startswith(f"{parent}.") for parent in paths
    )


def _depends_on_points(config: Config) -> bool:
    """Return whether points of training decide on the rate, the best checkpoint, or when to stop."""
    stopping = config.training.early_stopping
    watched = [
        config.checkpoint.best,
        stopping and stopping.monitor,
        *rate_monitors(config.optimizer, "optimizer").values(),
    ]
    return any(
        name and name != "auto" and not name.startswith("val_")
        for name in watched
    )
