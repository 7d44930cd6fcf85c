"""The model of a run's folder, read back: the one it ended with, or that of a checkpoint."""

from __future__ import annotations

import dataclasses
import numbers
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from tftrain.config.schema import Config
from tftrain.core.checkpoint import (
    CheckpointManager,
    complete_checkpoints,
    steps_in,
)
from tftrain.core.state import ModelState
from tftrain.models import serialization
from tftrain.runtime.names import did_you_mean
from tftrain.runtime.run_dir import BEST, CHECKPOINTS, MODEL, RunFolderError
from tftrain.trainer.build import open_objective
from tftrain.trainer.build_data import preprocessing
from tftrain.trainer.prepared import read_prepared

LATEST = "latest"


def load_model(
    config: Config,
    folder: Path,
    custom_objects: Mapping[str, Any] | None = None,
    trust: bool = False,
    checkpoint: int | str | None = None,
    preprocess: bool = True,
) -> keras.Model:
    """Read the model of a run.

    Where `model.keras` is asked for but missing or damaged, it is the model of the checkpoint that would become
    `model.keras` if the run ended there, with a warning.

    Args:
        config: that of the run.
        folder: that of the run.
        custom_objects: classes and functions of the model, by registered name; see `keras.saving.load_model`.
        trust: whether to run code that the model's file contains.
        checkpoint: a step, "latest" or "best"; None for `model.keras`.
        preprocess: whether to put the run's preprocessing before the model.

    Raises:
        RunFolderError: there is no such checkpoint.
        ValueError: the model cannot be read.
    """
    network = _load_network(config, folder, custom_objects, trust, checkpoint)
    if not preprocess:
        return network
    return read_prepared(folder, network, preprocessing(config))


def _load_network(
    config: Config,
    folder: Path,
    custom_objects: Mapping[str, Any] | None,
    trust: bool,
    checkpoint: int | str | None,
) -> keras.Model:
    if checkpoint is not None:
        return _load_checkpoint(
            dataclasses.replace(config, trust=trust), folder, checkpoint
        )
    saved, substitute = folder / MODEL, _substitute_checkpoint(config, folder)
    if substitute is None or serialization.is_whole(saved):
        return serialization.load_model(config, folder, custom_objects, trust)
    fault = (
        "is damaged"
        if saved.exists()
        else "is not there: the run has not ended"
    )
    model = _load_checkpoint(
        dataclasses.replace(config, trust=trust), folder, substitute
    )
    warnings.warn(
        f"{saved} {fault}; the {substitute} checkpoint is loaded in its place",
        stacklevel=4,
    )
    return model


def _substitute_checkpoint(config: Config, folder: Path) -> str | None:
    """Which checkpoint stands in for `model.keras`; None where there is none."""
    checkpoints = folder / CHECKPOINTS
    if config.checkpoint.restore_best and complete_checkpoints(
        checkpoints / BEST
    ):
        return BEST
    return LATEST if complete_checkpoints(checkpoints) else None


def _load_checkpoint(
    config: Config, folder: Path, checkpoint: int | str
) -> keras.Model:
    """Build the model from the run's config and data, and give it the weights of a checkpoint.

    With `training.ema` these are the averages, as in `model.keras`.
    """
    _check_there(folder, checkpoint)
    _, objective = open_objective(config)
    averaged = objective.params if config.training.ema else ()
    checkpoints = CheckpointManager(
        folder / CHECKPOINTS, ModelState(objective.model, averaged)
    )
    if checkpoint == BEST:
        checkpoints.restore_best()
    elif checkpoint == LATEST:
        checkpoints.restore_latest()
    else:
        checkpoints.restore_step(int(checkpoint))
    return objective.model


def _check_there(folder: Path, checkpoint: int | str) -> None:
    """Raise RunFolderError where there is no such checkpoint."""
    steps = steps_in(folder / CHECKPOINTS)
    names = [LATEST] if steps else []
    if complete_checkpoints(folder / CHECKPOINTS / BEST):
        names.append(BEST)
    if not names:
        raise RunFolderError(
            f"run folder {folder}: {CHECKPOINTS} holds no checkpoint"
        )
    is_step = isinstance(checkpoint, numbers.Integral) and not isinstance(
        checkpoint, bool
    )
    if checkpoint in (steps if is_step else names):
        return
    expected = ", ".join(map(str, [*names, *steps]))
    hint = (
        did_you_mean(checkpoint, names) if isinstance(checkpoint, str) else ""
    )
    fault = f"there is no checkpoint {checkpoint!r}; expected one of {expected}{hint}"
    raise RunFolderError(f"run folder {folder}: {fault}")
