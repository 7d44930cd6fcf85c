"""What preprocessing learned from the training split, beside the saved model."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tftrain.core.types import Tree
from tftrain.data.number_types import Numbers, cast_numbers, cast_ready
from tftrain.data.preprocessing import Chain, Fitted, Preprocess
from tftrain.runtime.atomic_files import atomic_path
from tftrain.runtime.npz import MAX_ARRAY_BYTES
from tftrain.runtime.run_dir import PREPROCESS
from tftrain.runtime.terminal import say
from tftrain.runtime.untrusted import read_bytes

_DESCRIPTION = "description"


def write_learned(
    folder: Path,
    chain: Chain,
    example: tuple[Tree, tf.TensorSpec],
    names: Sequence[str],
) -> None:
    """Write what the preprocessing learned; a state that is no numbers is told, and not written.

    Args:
        folder: the run's folder.
        chain: the preprocessing.
        example: the specs of features and target as the data has them, without the batch axis.
        names: of the steps, for messages.
    """
    if not chain.steps:
        return
    try:
        content = _learned_bytes(chain, example)
    except TypeError as error:
        warnings.warn(
            f"what preprocess ({', '.join(names)}) learned cannot be written, so load_model gives the model alone, "
            f"by preprocess=False: {error}; expected arrays, numbers and text, in dicts, lists and tuples",
            stacklevel=2,
        )
        return
    with atomic_path(folder / PREPROCESS) as aside:
        aside.write_bytes(content)


def restore_learned(
    folder: Path, chain: Chain, example: tuple[Tree, tf.TensorSpec]
) -> None:
    """Write again what the preprocessing learned, and report it, where it is missing or damaged.

    Args:
        folder: that of the run.
        chain: the preprocessing.
        example: the specs of features and target, before it.
    """
    file = folder / PREPROCESS
    if not chain.steps:
        return
    try:
        read_learned(
            file, folder, [fitted.step for fitted in chain.fitted[1::2]]
        )  # every other one is a cast
    except ValueError:
        with suppress(
            TypeError
        ):  # a state that is no numbers was never written
            content = _learned_bytes(chain, example)
            fault = "is damaged" if file.exists() else "is lost"
            say(f"{file} {fault}; it is written again from the data")
            with atomic_path(file) as aside:
                aside.write_bytes(content)


def _learned_bytes(chain: Chain, example: tuple[Tree, tf.TensorSpec]) -> bytes:
    """The file of what the preprocessing learned; raises TypeError for a state that is no numbers."""
    arrays: list[np.ndarray] = []
    states = [_state_as_json(fitted.state, arrays) for fitted in chain.fitted]
    features, target = example
    is_dict = isinstance(features, Mapping)
    described = (
        {name: _spec_as_json(spec) for name, spec in features.items()}
        if is_dict
        else _spec_as_json(features)
    )
    description = {
        "states": states,
        "features": described,
        "target": _spec_as_json(target),
    }
    held = io.BytesIO()
    numbered = {str(place): array for place, array in enumerate(arrays)}
    np.savez(
        held, **numbered, **{_DESCRIPTION: np.array(json.dumps(description))}
    )
    return held.getvalue()


def _spec_as_json(spec: tf.TensorSpec) -> list:
    return [spec.shape.as_list(), spec.dtype.name]


def read_learned(
    file: Path, folder: Path, steps: Sequence[Preprocess]
) -> tuple[list[Fitted], tuple]:
    """The fitted preprocessing, and the specs of an example as the data has it; raises ValueError."""
    try:
        with np.load(
            _checked_content(file, folder), allow_pickle=False
        ) as held:
            description = json.loads(str(held[_DESCRIPTION]))
            states = [
                _state_from_json(saved, held) for saved in description["states"]
            ]
        fitted = _chain_of(steps, states)
        features, target = (
            description["features"],
            tf.TensorSpec(*description["target"]),
        )
        is_dict = isinstance(features, dict)
        specs = (
            {name: tf.TensorSpec(*saved) for name, saved in features.items()}
            if is_dict
            else tf.TensorSpec(*features)
        )
    except Exception as error:  # zipfile, NumPy and JSON raise errors of many kinds for what is damaged
        why = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"'{file}', what the preprocessing learned, cannot be read: {why}; preprocess=False gives the model without"
        ) from error
    return fitted, (specs, target)


def _checked_content(file: Path, folder: Path) -> io.BytesIO:
    """The content of a file whose arrays take no more memory than the file, for they are not compressed."""
    content = io.BytesIO(read_bytes(file, root=folder, limit=MAX_ARRAY_BYTES))
    with zipfile.ZipFile(content) as archive:
        if any(
            entry.compress_type != zipfile.ZIP_STORED
            for entry in archive.infolist()
        ):
            raise ValueError("its arrays are compressed")
    return content


def _chain_of(steps: Sequence[Preprocess], states: list[Tree]) -> list[Fitted]:
    """Each step behind its cast, and the cast for the model at the end, as `data.chain.fit` makes them."""
    if len(states) != 2 * len(steps) + 1:
        raise ValueError(
            f"it holds {len(states)} states, and the config names {len(steps)} steps"
        )
    fitted = []
    for place, state in enumerate(states):
        if place % 2:
            fitted.append(Fitted(steps[place // 2], state, 0))
            continue
        make = cast_ready if place == len(states) - 1 else cast_numbers
        numbers, rounded = state
        fitted.append(
            Fitted(Preprocess(make(Numbers[numbers], rounded)), state, 0)
        )
    return fitted


def _state_as_json(state: Any, arrays: list[np.ndarray]) -> Any:
    """A state as JSON, with the arrays in it by their numbers; raises TypeError for what is neither."""
    if isinstance(state, dict) and all(isinstance(key, str) for key in state):
        return {
            "dict": {
                key: _state_as_json(value, arrays)
                for key, value in state.items()
            }
        }
    if type(state) in (list, tuple):
        return {
            type(state).__name__: [
                _state_as_json(value, arrays) for value in state
            ]
        }
    if state is None or type(state) in (bool, int, float, str):
        return {"value": state}
    if (
        not (tf.is_tensor(state) or isinstance(state, (np.ndarray, np.generic)))
        or np.asarray(state).dtype.hasobject
    ):
        raise TypeError(f"a {type(state).__name__}")
    arrays.append(np.asarray(state))
    return {"array": len(arrays) - 1}


def _state_from_json(described: Any, held: Mapping[str, np.ndarray]) -> Any:
    [(kind, value)] = described.items()
    if kind == "dict":
        return {
            key: _state_from_json(item, held) for key, item in value.items()
        }
    if kind in ("list", "tuple"):
        parts = [_state_from_json(item, held) for item in value]
        return tuple(parts) if kind == "tuple" else parts
    return held[str(value)] if kind == "array" else value
