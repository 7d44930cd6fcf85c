"""tftrain: train Keras models from a YAML file and see their gradients in TensorBoard.

`load(path, overrides)` gives a checked config, `train(config)` runs it, `load_model(run_dir)` reads the model back.
"""

from __future__ import annotations

import sys

if sys.argv[:1] == ["-m"] and "tftrain" in sys.orig_argv:
    # `python -m tftrain` looks in the working directory first, where a file may be called yaml.py or random.py.
    sys.path.append(sys.path.pop(0))
    from tftrain.runtime.working_directory import guard_working_directory

    guard_working_directory()

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tftrain.runtime.version import __version__

if TYPE_CHECKING:
    import keras

    from tftrain.config.schema import Config
    from tftrain.runtime.errors import ConfigError
    from tftrain.trainer.results import Result

__all__ = [
    "Config",
    "ConfigError",
    "__version__",
    "load",
    "load_model",
    "train",
]


def __getattr__(name: str) -> Any:
    # TensorBoard imports this package with its plugin, and would end where anything that is imported here is broken.
    if name == "Config":
        from tftrain.config.schema import Config

        return Config
    if name == "ConfigError":
        from tftrain.runtime.errors import ConfigError

        return ConfigError
    raise AttributeError(f"module 'tftrain' has no attribute '{name}'")


def load(
    path: str | os.PathLike, overrides: Sequence[str] | Mapping[str, Any] = ()
) -> Config:
    """Read and check a config file; TensorFlow is not imported.

    Args:
        path: the YAML file.
        overrides: what `--set` takes, such as `["training.epochs=3"]`, or `{"training.epochs": 3}`.

    Raises:
        ConfigError: every problem of the file, a line each.
    """
    from tftrain.config.loading import load_config

    return load_config(path, overrides)


def train(
    config: Config,
    run_dir: str | os.PathLike | None = None,
    resume: bool = False,
    allow_changes: bool = False,
    trust: bool = False,
) -> Result:
    """Train, and return the history as arrays, the model, the results and the run's folder.

    Args:
        config: what `load` gives.
        run_dir: the run's folder; `runs/NAME-TIME` where it is not given.
        resume: go on from the last checkpoint in `run_dir`, or start if there is none.
        allow_changes: go on also with a config that would have given other numbers.
        trust: run also the code that a saved model (`model: saved`) has in its file.

    Raises:
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP, after a checkpoint is saved.
        tftrain.runtime.errors.InputError: the config or the data cannot be trained on.
        tftrain.runtime.errors.UserCodeError: a part of the user's raised.
        tftrain.runtime.run_dir.RunFolderError: the folder is another run's or cannot be written, or the config changed.
        tftrain.runtime.cluster.WorkerLost: of several workers one is missing, or has gone.
    """
    from tftrain.runtime.tensorflow_import import import_tensorflow
    from tftrain.trainer.resume import check_run_dir

    folder = None if run_dir is None else Path(run_dir)
    changed = check_run_dir(config, folder, resume, allow_changes)
    import_tensorflow()
    from tftrain.trainer.trainer import fit

    return fit(
        dataclasses.replace(config, trust=trust), folder, resume, changed
    )


def load_model(
    run_dir: str | os.PathLike,
    custom_objects: Mapping[str, Any] | None = None,
    trust: bool = False,
    checkpoint: int | str | None = None,
    preprocess: bool = True,
) -> keras.Model:
    """Read the model of a run's folder, with the users' own parts that the config in the folder names.

    Where the config has preprocessing, the model takes examples as the data has them: it prepares them with what was
    learned in training, and its `network` is the trained model itself.

    Args:
        run_dir: the run's folder.
        custom_objects: by name, what the run's config does not name, such as a layer that your model function uses.
        trust: run also code that the file holds, such as that of a Lambda layer; otherwise it is refused.
        checkpoint: `"best"`, `"latest"` or a step: the weights of that checkpoint, in a model that is built from the
            config and its data; with `training.ema` the averaged ones. By default `model.keras` is read; where a run
            has not got to its end, the checkpoint that would become it, with a warning.
        preprocess: whether to prepare what the model is given; false gives the network, for examples that are prepared.

    Raises:
        tftrain.runtime.run_dir.RunFolderError: there is no such checkpoint, or a file of the run is a link.
        ValueError: the model cannot be read.
    """
    from tftrain.runtime.run_dir import CONFIG, refuse_foreign_entries
    from tftrain.runtime.tensorflow_import import import_tensorflow

    refuse_foreign_entries(Path(run_dir))
    config = load(Path(run_dir) / CONFIG)
    import_tensorflow()
    from tftrain.trainer import loading

    return loading.load_model(
        config, Path(run_dir), custom_objects, trust, checkpoint, preprocess
    )
