import numpy as np
import pytest
import tensorflow as tf
from sklearn.model_selection import GroupShuffleSplit, train_test_split

from tftrain.core.types import Batch
from tftrain.data.batches import Split
from tftrain.data.datasets.bundled import digits, iris
from tftrain.data.loader import build_data
from tftrain.data.splits import split
from tftrain.data.survey import DataOptions
from tftrain.runtime.errors import DataError


def whole(x, y, weight=None):
    return {"train": Split(Batch(x, y, weight), len(y))}


@pytest.mark.parametrize(
    "builder, test, seed",
    [(iris, 0.2, 42), (digits, 0.2, 0), (digits, 0.33, 7)],
)
def test_test_share_is_that_of_scikit_learn(builder, test, seed):
    x, y = builder()
    ours = split(whole(x, y), 0.0, test, seed)
    x_train, x_test, y_train, y_test = train_test_split(
        x, y, test_size=test, random_state=seed
    )
    np.testing.assert_array_equal(ours["test"].data.x, x_test)
    np.testing.assert_array_equal(ours["test"].data.y, y_test)
    np.testing.assert_array_equal(ours["train"].data.x, x_train)
    np.testing.assert_array_equal(ours["train"].data.y, y_train)


def test_validation_share_is_of_the_whole_and_nothing_is_lost():
    x = np.arange(100)[:, None]
    parts = split(whole(x, x[:, 0], x[:, 0] * 1.0), 0.1, 0.2, 3)
    assert {name: part.examples for name, part in parts.items()} == {
        "train": 70,
        "validation": 10,
        "test": 20,
    }
    everything = np.concatenate([part.data.y for part in parts.values()])
    assert sorted(everything) == list(range(100))
    for part in parts.values():
        np.testing.assert_array_equal(part.data.x[:, 0], part.data.y)
        np.testing.assert_array_equal(part.data.weight, part.data.y)


def test_validation_is_drawn_from_the_rest_as_scikit_learn_draws():
    x, y = iris()
    parts = split(whole(x, y), 0.1, 0.2, 42)
    rest = train_test_split(x, test_size=0.2, random_state=42)[0]
    np.testing.assert_array_equal(
        parts["validation"].data.x,
        train_test_split(rest, test_size=15, random_state=42)[1],
    )


SEED = (
    0  # with which the last four of fifty examples are all drawn for training
)


class Rows:
    def __init__(self, *parts):
        self.parts = parts

    def __len__(self):
        return len(self.parts[-1])

    def __getitem__(self, number):
        return tf.nest.map_structure(lambda leaf: leaf[number], self.parts)


def arrays(*parts):
    return parts


def stream(*parts):
    return tf.data.Dataset.from_tensor_slices(parts)


def indexed(*parts):
    return Rows(*parts)


FORMS = pytest.mark.parametrize("form", [arrays, stream, indexed])


def numbers_of(form, y, x=None, **options):
    """Which examples are in each split; their numbers are the feature, or its part `number`."""
    x = np.arange(len(y))[:, None] if x is None else x
    data = build_data(
        form(x, y), DataOptions(batch_size=1, shuffle=False, **options), 0
    )
    parts = {
        "train": data.train,
        "validation": data.validation,
        "test": data.test,
    }
    found = {}
    for name, feed in parts.items():
        if feed is None:
            continue
        batches = []
        for step in range(feed.steps_per_epoch):
            batches.append(feed.batch(feed.serve(step, 1), tf.constant(0)).x)
        leaves = [
            batch["number"] if isinstance(batch, dict) else batch
            for batch in batches
        ]
        found[name] = (
            np.concatenate([np.asarray(leaf).ravel() for leaf in leaves])
            .astype(int)
            .tolist()
        )
    assert sorted(number for part in found.values() for number in part) == list(
        range(len(y))
    )
    return found


@FORMS
@pytest.mark.parametrize("seed", [0, 3])
def test_the_shuffled_split_is_that_of_scikit_learn_whatever_the_data(
    form, seed
):
    found = numbers_of(
        form, np.zeros(30), validation=0.2, test=0.1, split_seed=seed
    )
    rest, test = train_test_split(
        np.arange(30), test_size=0.1, random_state=seed
    )
    train, validation = train_test_split(rest, test_size=6, random_state=seed)
    for name, twin in {
        "train": train,
        "validation": validation,
        "test": test,
    }.items():
        assert sorted(found[name]) == sorted(twin)


@FORMS
def test_the_tail_is_held_out_of_a_series(form):
    found = numbers_of(
        form, np.zeros(10), validation=0.2, test=0.3, split="tail"
    )
    assert found == {
        "train": [0, 1, 2, 3, 4],
        "validation": [5, 6],
        "test": [7, 8, 9],
    }


@FORMS
def test_stratified_parts_have_the_share_of_each_class(form):
    y = np.repeat([0, 1, 2], [30, 20, 10])
    found = numbers_of(form, y, validation=0.2, test=0.1, split="stratified")
    counts = {
        name: np.bincount(y[part]).tolist() for name, part in found.items()
    }
    assert counts == {
        "train": [21, 14, 7],
        "validation": [6, 4, 2],
        "test": [3, 2, 1],
    }
    twin = train_test_split(
        np.arange(60), test_size=6, stratify=y, random_state=0
    )[1]
    assert sorted(found["test"]) == sorted(twin)


@FORMS
def test_a_class_at_the_end_is_in_every_part(form):
    y = np.repeat([0, 1], [46, 4])
    plain = train_test_split(np.arange(50), test_size=0.2, random_state=SEED)[1]
    assert not np.any(y[plain] == 1)
    found = numbers_of(form, y, validation=0.2, split_seed=SEED)
    assert all(1 in y[part] for part in found.values())
    shuffled = numbers_of(
        form, y, validation=0.2, split_seed=SEED, split="shuffled"
    )
    assert sorted(shuffled["validation"]) == sorted(plain)


def test_one_hot_targets_are_classes_too():
    y = np.repeat([0, 1], [46, 4])
    found = numbers_of(arrays, np.eye(2)[y], validation=0.2, split_seed=SEED)
    assert all(1 in y[part] for part in found.values())


def test_a_class_of_one_example_is_trained_on():
    y = np.repeat([0, 1, 2], [20, 20, 1])
    assert (
        40 in numbers_of(arrays, y, validation=0.2, split="stratified")["train"]
    )


def test_classes_that_cannot_be_stratified_are_told():
    with pytest.raises(
        DataError,
        match="split: stratified needs a class for each example; the targets are none",
    ):
        numbers_of(arrays, np.zeros(10), validation=0.2, split="stratified")
    with pytest.raises(
        DataError,
        match="validation: 1 examples cannot have the same share of each of 2 classes",
    ):
        numbers_of(
            arrays, np.arange(10) % 2, validation=0.1, split="stratified"
        )


@FORMS
@pytest.mark.parametrize("kind", [int, str])
def test_no_group_is_in_two_parts(form, kind):
    patients = np.arange(40) % 10
    x = {"number": np.arange(40)[:, None], "patient": patients.astype(kind)}
    found = numbers_of(
        form, np.zeros(40), x, validation=0.2, test=0.1, groups="patient"
    )
    groups = {name: set(patients[part]) for name, part in found.items()}
    assert [len(groups[name]) for name in ("train", "validation", "test")] == [
        7,
        2,
        1,
    ]
    draw = GroupShuffleSplit(n_splits=1, test_size=0.1, random_state=0)
    assert (
        sorted(found["test"])
        == next(draw.split(patients, groups=patients))[1].tolist()
    )


@FORMS
def test_groups_in_a_column_are_no_feature(form):
    x = np.stack([np.arange(12), np.arange(12) // 3], 1).astype("float32")
    found = numbers_of(form, np.zeros(12), x, validation=0.25, groups=1)
    assert {number // 3 for number in found["validation"]}.isdisjoint(
        number // 3 for number in found["train"]
    )


@pytest.mark.parametrize("kind", [np.ndarray.tolist, tf.constant])
def test_groups_in_a_column_of_lists_and_tensors(kind):
    x = np.stack([np.arange(12), np.arange(12) // 3], 1).astype("float32")
    twin = numbers_of(arrays, np.zeros(12), x, validation=0.25, groups=1)
    assert (
        numbers_of(
            lambda x, y: (kind(x), kind(y)),
            np.zeros(12),
            x,
            validation=0.25,
            groups=1,
        )
        == twin
    )


@pytest.mark.parametrize(
    "x, groups, message",
    [
        (
            {"number": np.arange(4), "patient": np.arange(4)},
            "patent",
            "no feature 'patent'; .*did you mean 'patient'?",
        ),
        (
            np.zeros((4, 2)),
            2,
            r"groups: 2 is no column of x, an example of which has the shape \[2\]",
        ),
        (np.zeros((4, 2)), "patient", "groups: 'patient' is no column of x"),
        (
            {"number": np.arange(4), "pair": np.zeros((4, 2))},
            "pair",
            "'pair' has 2 numbers for each example",
        ),
        (
            {"number": np.arange(4), "same": np.zeros(4)},
            "same",
            "0.5 for validation of 1 groups leaves none",
        ),
    ],
)
def test_groups_that_are_none(x, groups, message):
    with pytest.raises(DataError, match=message):
        numbers_of(arrays, np.zeros(4), x, validation=0.5, groups=groups)


def _drawn_anew():
    def rows():
        order = np.random.permutation(80)
        yield from (
            (np.full(1, number, np.float32), number % 7) for number in order
        )

    return tf.data.Dataset.from_generator(
        rows, output_signature=(tf.TensorSpec([1]), tf.TensorSpec([], tf.int64))
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: stream(np.zeros((80, 1)), np.arange(80) % 7).shuffle(80),
        _drawn_anew,
    ],
)
def test_shares_of_what_shuffles_itself_are_refused(make):
    with pytest.raises(
        DataError,
        match="order each time it is read, so that shares held out of it overlap",
    ):
        build_data(make(), DataOptions(batch_size=4, validation=0.2), 0)
    build_data(
        make(), DataOptions(batch_size=4, validation=0.2, cache=True), 0
    )  # in memory the order stays


def test_what_is_drawn_anew_within_examples_may_be_divided():
    source = stream(np.zeros((80, 1), np.float32), np.arange(80) % 7)
    noisy = source.map(lambda x, y: (x + tf.random.uniform([1]), y))
    assert (
        build_data(
            noisy, DataOptions(batch_size=4, validation=0.2), 0
        ).validation.examples
        == 16
    )


def test_splits_of_the_source_are_kept():
    x, y = iris()
    own = {**whole(x, y), "test": Split(Batch(x[:3], y[:3]), 3)}
    parts = split(own, 0.1, 0.0, 0)
    assert (
        list(parts) == ["train", "validation", "test"]
        and parts["test"] is own["test"]
    )
    with pytest.raises(
        DataError,
        match="test: 0.2 of the examples is asked for, but the data has its own test split",
    ):
        split(own, 0.0, 0.2, 0)


def test_shares_must_leave_training_examples():
    with pytest.raises(
        DataError,
        match="0.5 for test and 0.5 for validation of 4 examples leaves none for training",
    ):
        split(whole(np.zeros((4, 1)), np.zeros(4)), 0.5, 0.5, 0)


@FORMS
@pytest.mark.parametrize(
    "encode",
    [np.float32, lambda y: y[:, None].astype(float), lambda y: np.eye(2)[y]],
)
def test_floats_of_0_and_1_and_one_hot_rows_are_classes_in_every_form(
    form, encode
):
    y = np.repeat([0, 1], [46, 4])
    for how in ("auto", "stratified"):
        found = numbers_of(
            form, encode(y), validation=0.2, split_seed=SEED, split=how
        )
        assert all(1 in y[part] for part in found.values())
    twin = train_test_split(
        np.arange(50), test_size=0.2, stratify=y, random_state=SEED
    )[1]
    assert sorted(found["validation"]) == sorted(twin)


@FORMS
@pytest.mark.parametrize(
    "y",
    [
        np.arange(40.0),
        np.repeat([0.0, 0.5], 20),
        np.tile([[1.0, 1.0], [0.0, 1.0]], (20, 1)),
    ],
)
def test_other_numbers_are_no_classes(form, y):
    with pytest.raises(
        DataError,
        match="split: stratified needs a class for each example; the targets are none",
    ):
        numbers_of(form, y, validation=0.2, split="stratified")


@pytest.mark.parametrize("seed", range(10))
def test_a_class_that_a_test_leaves_too_few_of_is_trained_on(seed):
    y = np.repeat([0, 1, 2], [40, 3, 4])
    found = numbers_of(
        arrays, y, validation=0.2, test=0.6, split="stratified", split_seed=seed
    )
    assert all(1 in y[found[part]] for part in ("train", "test"))
