"""Saved models: users' own parts are written with the arguments they were given, and found again when loading."""

from __future__ import annotations

import inspect
import sys
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras

from tftrain.config import importing, keras_objects
from tftrain.config.component import user_components
from tftrain.config.schema import Config
from tftrain.core.freezing import as_made
from tftrain.core.layer_hooks import replace_attribute
from tftrain.core.types import Tree
from tftrain.runtime import untrusted
from tftrain.runtime.atomic_files import (
    WriteError,
    atomic_path,
    raising_write_error,
)
from tftrain.runtime.run_dir import MODEL, MODEL_WEIGHTS
from tftrain.runtime.untrusted import Unreadable
from tftrain.runtime.zip_clock import zip_clock


def attach_config(model: keras.Model, arguments: dict[str, Any]) -> None:
    """Give a subclassed model the configuration that it was made with, unless its class does so itself.

    Keras records the arguments of layers, but not those of models.

    Args:
        model: just made.
        arguments: that it was made with.
    """
    is_silent = type(
        model
    ).get_config is keras.Model.get_config and "get_config" not in vars(model)
    if is_silent and _is_plain(arguments) and not hasattr(model, "inputs"):
        replace_attribute(model, "get_config", lambda: dict(arguments))


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple, dict)):
        return all(
            map(_is_plain, value.values() if isinstance(value, dict) else value)
        )
    return value is None or isinstance(value, (bool, int, float, str))


def save(model: keras.Model, path: Path) -> None:
    """Write a model; where its own code cannot be written its weights, with a warning that says why.

    The file is there as a whole or not at all. Raises CannotWrite.

    Args:
        model: trained.
        path: of the `.keras` file.
    """
    weights = path.with_name(MODEL_WEIGHTS)
    try:
        with atomic_path(path) as aside, as_made(model), zip_clock():
            model.save(aside)
    except WriteError:
        raise
    except Exception as error:  # whatever a user's get_config raises: the training behind it must not be lost
        path.unlink(missing_ok=True)
        _reserve_room(weights, model)
        with atomic_path(weights) as aside:
            model.save_weights(aside)
        why = " ".join(str(error).split("\n\n")[0].split())
        warnings.warn(
            f"the model cannot be written whole, so only its weights are, as {weights}: {why}",
            stacklevel=2,
        )


def is_whole(path: Path) -> bool:
    """Whether there is a saved model at a path, with all of its bytes."""
    try:
        with (
            untrusted.open_file(path) as file,
            zipfile.ZipFile(file) as archive,
        ):
            return archive.testzip() is None
    except (
        Unreadable,
        OSError,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
    ):
        return False


def _reserve_room(path: Path, model: keras.Model) -> None:
    """Raise CannotWrite where there is no room for a model's weights: there HDF5 would end the whole process."""
    size = sum(
        weight.value.shape.num_elements() * weight.value.dtype.size
        for weight in model.weights
    )
    with (
        raising_write_error(path),
        tempfile.TemporaryFile(dir=path.parent) as file,
    ):
        file.write(bytes(2 * size + 2**20))


def load_model(
    config: Config,
    folder: Path,
    custom_objects: Mapping[str, Any] | None = None,
    trust: bool = False,
) -> keras.Model:
    """Return the trained model of a run; the components that its config names are imported.

    `custom_objects` are for what the config does not name, such as a layer used inside a function that makes the model.

    Args:
        config: that of the run.
        folder: that of the run.
        custom_objects: by name, what the config does not name, such as a layer used inside a model function.
        trust: whether to run code that the file holds.
    """
    parts = _named_by(config)
    return _load_file(
        folder / MODEL,
        parts,
        _defined_beside(parts) | dict(custom_objects or {}),
        trust,
    )


def _defined_beside(parts: Iterable[str]) -> dict[str, Any]:
    """What Keras can build of the modules that parts are in, such as a layer that a model function uses."""
    objects = {}
    for part in parts:
        importing.import_object(part)
        name = part.partition(":")[0]
        defined = {
            key: value
            for key, value in vars(sys.modules[name]).items()
            if getattr(value, "__module__", "") == name
        }
        objects |= {
            key: value
            for key, value in defined.items()
            if inspect.isfunction(value) or hasattr(value, "get_config")
        }
    return objects


def load_saved_model(
    path: str,
    parts: list[str] = [],  # noqa: B006
    *,
    input_shape: Tree,
    trust: bool,
) -> keras.Model:
    """A model that was saved with its weights, such as the model.keras of another run, to go on from.

    `parts` are the dotted paths of parts of your own in it. What the file alone says is not run: a Lambda layer is
    refused, unless --trust is given.

    Args:
        path: of the file.
        parts: the dotted paths of classes and functions of your own in it.
        input_shape: of an example.
        trust: whether to run code that the file holds.


    Raises:
        ValueError: there is no such file, it cannot be read, or it was made for other inputs.
    """
    expected = f"expected a model that Keras saved, such as runs/NAME/{MODEL}"
    file = Path(path)
    if file.suffix != ".keras":
        raise ValueError(f"'{path}' is not named FILE.keras; {expected}")
    try:
        untrusted.open_file(path).close()
    except Unreadable as error:
        raise ValueError(f"{error}; {expected}") from None
    model = _load_file(
        file, [importing.resolve(part) for part in parts], {}, trust
    )
    with zipfile.ZipFile(file) as inside:
        attach_config(
            model,
            untrusted.parse_json(inside.read("config.json"), file)["config"],
        )
    made_for = (
        tuple(model.input_shape[1:])
        if isinstance(getattr(model, "input_shape", None), tuple)
        else input_shape
    )
    if made_for != input_shape and None not in made_for:
        raise ValueError(
            f"'{path}' takes {list(made_for)}; an example of the data has the shape {list(input_shape)}"
        )
    return model


def _named_by(config: Config) -> list[str]:
    """The dotted paths of the users' own parts that a config names."""
    inner = (
        config.model.arguments["parts"]
        if config.model.target
        == "tftrain.models.serialization:load_saved_model"
        else []
    )
    return [
        *(part.target for part in user_components(config)),
        *map(importing.resolve, inner),
    ]


def _load_file(
    file: Path,
    parts: Iterable[str],
    custom_objects: Mapping[str, Any],
    trust: bool,
) -> keras.Model:
    user_objects = {}
    for part in parts:
        keras_objects.trust_function(part)
        user_objects[part.rpartition(":")[2]] = importing.import_object(part)
    try:
        return keras.models.load_model(
            file,
            custom_objects=user_objects | dict(custom_objects),
            safe_mode=not trust,
        )
    except Exception as error:  # a file may hold anything
        if trust or "safe_mode=False" not in str(error):
            message = str(error).rpartition("Exception encountered: ")[
                2
            ]  # Keras tells of every object around it
            why = " ".join(message.split("\n\n")[0].split())
            raise ValueError(f"'{file}' cannot be read: {why}") from error
        raise ValueError(
            f"'{file}' holds code of its own (a Lambda layer), which is not run; if you trust where it comes from, "
            "give --trust, or trust=True"
        ) from None
