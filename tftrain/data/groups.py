"""The feature that says which examples belong together, such as those of one patient."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from tftrain.data.records import RandomAccessRecords, as_dataset
from tftrain.data.source import by_split, is_indexed
from tftrain.runtime.errors import DataError


def take_groups(source: Any, feature: str | int) -> tuple[Any, np.ndarray]:
    """Take the feature that names the groups out of a source.

    Args:
        source: what a data builder returned.
        feature: the key of a dict x, the name of a column, or the number of one.

    Returns:
        The source without the feature, which is none to learn from, and the group of each training example.

    Raises:
        DataError: there is no such feature.
    """
    splits = by_split(source)
    if not isinstance(splits, Mapping):
        groups = _groups_of(splits, feature)
        return _without_feature(splits, feature), groups
    groups = _groups_of(splits.get("train"), feature)
    without = {}
    for name, data in splits.items():
        without[name] = (
            None if data is None else _without_feature(data, feature)
        )
    return without, groups


def _groups_of(data: Any, feature: str | int) -> np.ndarray:
    """Return the group of each example, [examples]."""
    if isinstance(data, tuple):
        groups = np.asarray(_feature_values(data[0], feature, axis=1))
    elif isinstance(data, (tf.data.Dataset, RandomAccessRecords)):
        chosen = as_dataset(data).map(
            lambda *example: _feature_values(example[0], feature, axis=0)
        )
        groups = np.array(list(chosen.as_numpy_iterator()))
    elif not is_indexed(data):
        raise DataError(
            f"groups: {feature!r} cannot be looked up in a value of type {type(data).__name__}"
        )
    else:
        features = (data[number][0] for number in range(len(data)))
        values = [_feature_values(x, feature, axis=0) for x in features]
        groups = np.array([np.asarray(value) for value in values])
    groups = groups.reshape(len(groups), -1)
    if groups.shape[1] != 1:
        raise DataError(
            f"groups: feature {feature!r} has {groups.shape[1]} numbers for each example; expected one"
        )
    return groups[:, 0]


def _without_feature(data: Any, feature: str | int) -> Any:
    if isinstance(data, tuple):
        return (_remaining_features(data[0], feature, axis=1), *data[1:])
    if isinstance(data, tf.data.Dataset):

        def remove_feature(x: Any, *rest: Any) -> tuple:
            return (_remaining_features(x, feature, axis=0), *rest)

        return data.map(remove_feature)
    if isinstance(data, RandomAccessRecords):
        remaining = _without_feature(data.dataset(), feature)

        def decode(raw: tf.Tensor) -> tuple:
            x, *targets = data.decode(raw)
            return (_remaining_features(x, feature, axis=0), *targets)

        return replace(data, decode=decode, element_spec=remaining.element_spec)
    return _Ungrouped(data, feature)


class _Ungrouped:
    """Examples by number, without the feature."""

    def __init__(self, examples: Any, feature: str | int):
        self._examples = examples
        self._feature = feature

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, number: int) -> tuple:
        x, *targets = self._examples[number]
        return (_remaining_features(x, self._feature, axis=0), *targets)


def _feature_values(x: Any, feature: str | int, axis: int) -> Any:
    if isinstance(x, Mapping):
        _check_known(feature, list(x))
        return x[feature]
    if hasattr(x, "columns"):
        _check_known(feature, list(x.columns))
        return x[feature]
    if not hasattr(x, "shape"):
        x = np.asarray(x)
    _check_column(x, feature, axis)
    if axis == 0:
        return x[feature]
    return x[:, feature]


def _remaining_features(x: Any, feature: str | int, axis: int) -> Any:
    if isinstance(x, Mapping):
        return {name: leaf for name, leaf in x.items() if name != feature}
    if hasattr(x, "columns"):
        return x.drop(columns=[feature])
    if tf.is_tensor(x) and axis == 0:  # in the graph of a tf.data.Dataset
        return tf.concat([x[:feature], x[feature + 1 :]], 0)
    return np.delete(np.asarray(x), feature, axis)


def _check_known(feature: str | int, names: list) -> None:
    if feature in names:
        return
    known = list(map(str, names))
    close = difflib.get_close_matches(str(feature), known, 1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise DataError(
        f"groups: x has no feature {feature!r}; expected one of {', '.join(known)}{hint}"
    )


def _check_column(x: Any, feature: str | int, axis: int) -> None:
    shape = tuple(x.shape) if hasattr(x, "shape") else np.shape(x)
    example_shape = list(shape[axis:])
    is_column = len(example_shape) == 1 and isinstance(feature, int)
    if not is_column or not 0 <= feature < example_shape[0]:
        raise DataError(
            f"groups: {feature!r} is no column of x, an example of which has the shape {example_shape}"
        )
