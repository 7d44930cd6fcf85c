"""A trained model behind the preprocessing of its run, and what the preprocessing learned, in a file of the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tftrain.core.types import Batch, Tree
from tftrain.data.preprocessing import CHUNK, Chain, Fitted, Preprocess, apply
from tftrain.runtime.run_dir import PREPROCESS
from tftrain.trainer.learned_state import read_learned

BATCH = 32  # Keras' own, where none is asked for


class PreparedModel(keras.Model):
    """A model that takes examples as the data has them: they go through the preprocessing, as in evaluation, first.

    `network` is the trained model itself, which takes examples that are prepared.
    """

    def __init__(
        self,
        network: keras.Model,
        fitted: Sequence[Fitted],
        example: tuple[Tree, tf.TensorSpec],
    ):
        super().__init__(
            name=network.name, autocast=False
        )  # float64 is for the preprocessing to round
        self.network = network
        self._fitted = list(fitted)
        self._specs, self._target = example
        self.built = True

    def prepare(self, x: Tree) -> Tree:
        """Preprocess examples.

        Args:
            x: an array [examples, ...], or a dict of them, as the data has them. Numbers are given the type that floats
                have in the data; of a dict what is no feature is left out.

        Returns:
            What the network takes.

        Raises:
            ValueError: a feature is missing, or has another shape than in training.
        """
        x = _as_in_training(x, self._specs)
        examples = tf.shape(tf.nest.flatten(x)[0])[0]
        shape = tf.constant(self._target.shape.as_list(), tf.int32)
        unknown = tf.zeros(
            tf.concat([[examples], shape], 0), self._target.dtype
        )
        return apply(self._fitted, Batch(x, unknown), 0, False).x

    def call(self, x: Tree, training: bool = False) -> Any:
        """Return what the network gives for prepared examples.

        Args:
            x: as the data of the run has them.
            training: whether the model is called in training mode.
        """
        return self.network(self.prepare(x), training=training)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Predict as `keras.Model.predict` does, which would round float64 before it is prepared."""
        arrays = _arrays_of(x)
        if arrays is None:
            return super().predict(x, *args, **kwargs)
        pieces = [
            tf.nest.map_structure(np.asarray, self.prepare(piece))
            for piece in _split_arrays(arrays)
        ]
        prepared = tf.nest.map_structure(
            lambda *leaves: np.concatenate(leaves), *pieces
        )
        return self.network.predict(prepared, *args, **kwargs)

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        sample_weight: Any = None,
        **named: Any,
    ) -> Any:
        """Evaluate as `keras.Model.evaluate` does, which would round float64 before it is prepared.

        Targets are compared as they are given: what the preprocessing does to those of the run is not done to them.

        Args:
            x: as the data of the run has them.
            y: targets, as the network's.
            batch_size: as in Keras.
            verbose: as in Keras.
            sample_weight: as in Keras.
            **named: as in Keras.
        """
        arrays = _arrays_of(x)
        if arrays is None or y is None:
            return super().evaluate(
                x, y, batch_size, verbose, sample_weight, **named
            )
        parts = (
            (arrays, np.asarray(y))
            if sample_weight is None
            else (arrays, np.asarray(y), np.asarray(sample_weight))
        )
        batches = tf.data.Dataset.from_tensor_slices(parts).batch(
            batch_size or BATCH
        )
        return super().evaluate(batches, verbose=verbose, **named)

    def get_config(self) -> dict[str, Any]:
        """Return the configuration, for Keras."""
        raise NotImplementedError(
            "the preprocessing is a part of the run's folder and is not written with the model; save `model.network`, "
            "and read both back by tftrain.load_model"
        )


def _as_in_training(x: Tree, specs: Tree) -> Tree:
    """The features with the names, the shapes and the types of floats that the data of the run has."""
    if not isinstance(specs, Mapping):
        return _check_feature("x", x, specs)
    names = list(x) if isinstance(x, Mapping) else []
    missing = [name for name in specs if name not in names]
    if missing:
        what = f"x has no feature '{missing[0]}'" if names else "x is no dict"
        raise ValueError(
            f"{what}; expected a dict of {', '.join(specs)}, as the data of the run has them"
        )
    return {
        name: _check_feature(f"x['{name}']", x[name], spec)
        for name, spec in specs.items()
    }


def _check_feature(name: str, value: Any, spec: tf.TensorSpec) -> tf.Tensor:
    values = (
        value
        if tf.is_tensor(value)
        else tf.convert_to_tensor(np.asarray(value))
    )
    if values.shape.rank is not None:
        if (
            values.shape.rank
            and values.shape[1:] != spec.shape
            and {1} >= {*values.shape[1:], *spec.shape}
        ):
            values = tf.reshape(
                values, [-1, *spec.shape]
            )  # Keras makes [examples, 1] of single numbers
        if not values.shape.rank or not values.shape[1:].is_compatible_with(
            spec.shape
        ):
            expected = ["examples", *spec.shape]
            expected_shape = ", ".join(
                "any" if size is None else str(size) for size in expected
            )
            raise ValueError(
                f"{name} has the shape {values.shape.as_list()}; expected [{expected_shape}], as in training"
            )
    numbers = (
        values.dtype.is_floating
        or values.dtype.is_integer
        or values.dtype.is_bool
    )
    return (
        tf.cast(values, spec.dtype)
        if spec.dtype.is_floating and numbers
        else values
    )


def _arrays_of(x: Any) -> Tree | None:
    """The features as NumPy arrays; None for what Keras reads in another way, such as a tf.data.Dataset."""
    if isinstance(x, Mapping):
        return {name: np.asarray(leaf) for name, leaf in x.items()}
    return (
        np.asarray(x)
        if hasattr(x, "__array__") or isinstance(x, (list, tuple))
        else None
    )


def _split_arrays(arrays: Tree) -> Iterator[Tree]:
    for start in range(0, len(tf.nest.flatten(arrays)[0]), CHUNK):
        rows = slice(start, start + CHUNK)
        yield tf.nest.map_structure(lambda leaf, rows=rows: leaf[rows], arrays)


def prepared_model(
    network: keras.Model, chain: Chain, example: tuple[Tree, tf.TensorSpec]
) -> keras.Model:
    """Return the model behind its preprocessing; the model itself where there is none.

    Args:
        network: the trained model.
        chain: the preprocessing.
        example: the specs of features and target, before it.
    """
    return (
        PreparedModel(network, chain.fitted, example)
        if chain.steps
        else network
    )


def read_prepared(
    folder: Path, network: keras.Model, steps: Sequence[Preprocess]
) -> keras.Model:
    """Put a run's preprocessing in front of its network.

    Args:
        folder: that of the run.
        network: the trained model.
        steps: of the preprocessing.
    """
    return (
        PreparedModel(
            network, *read_learned(folder / PREPROCESS, folder, steps)
        )
        if steps
        else network
    )
