"""The types of numbers on their way from the data to the model, against NumPy in float64."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

import tftrain
from tftrain.data.loader import build_data
from tftrain.data.number_types import INTEGERS, rounds, whole_numbers
from tftrain.data.preprocessing import Preprocess
from tftrain.data.preprocessors import one_hot, scale, standardize
from tftrain.data.survey import DataOptions
from tftrain.runtime.errors import DataError
from tftrain.trainer.build import open_objective

NOISE = np.random.default_rng(0)
LABELS = np.arange(40) % 2
IDS = 2**24 + np.arange(40)[:, None]
SECONDS = 1_700_000_000.0 + NOISE.uniform(
    0, 30, (40, 1)
)  # float32 knows every 128th second here


class Rows:
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.y)

    def __getitem__(self, number):
        return tf.nest.map_structure(lambda leaf: leaf[number], self.x), self.y[
            number
        ]


def arrays(x, y):
    return x, y


def stream(x, y):
    return tf.data.Dataset.from_tensor_slices((x, y))


FORMS = pytest.mark.parametrize("form", [arrays, stream, Rows])


def opened(form, x, y=LABELS, steps=(), **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return build_data(
            form(x, y),
            DataOptions(
                batch_size="full", shuffle=False, preprocess=steps, **options
            ),
            0,
        )


def served(data):
    return data.train.batch(data.train.serve(0, 1), tf.constant(0))


@pytest.mark.parametrize(
    "number", [0, 1, 2**24, 2**24 + 2, 3 * 2**40, -(2**24) - 2, 2**62]
)
def test_whole_numbers_that_float32_holds(number):
    assert (
        not rounds(tf.constant([number], tf.int64)).numpy()[0]
        and int(np.float32(number)) == number
    )


@pytest.mark.parametrize(
    "number", [2**24 + 1, -(2**24) - 1, 2**31 - 1, 2**53 + 1, 2**62 + 1]
)
def test_whole_numbers_that_float32_rounds(number):
    assert rounds(tf.constant([number], tf.int64)).numpy()[0]
    assert whole_numbers(np.array([0, number])).is_rounded


@FORMS
@pytest.mark.parametrize("dtype", ["int64", "uint32", "int32"])
def test_identifiers_keep_apart(form, dtype):
    x = served(opened(form, IDS.astype(dtype))).x
    assert x.dtype.is_integer
    np.testing.assert_array_equal(x, IDS)


@FORMS
@pytest.mark.parametrize(
    "dtype", ["uint8", "int64", "bool", "float16", "float64"]
)
def test_what_float32_holds_is_float32(form, dtype):
    x = NOISE.integers(0, 2, (40, 3)).astype(dtype)
    found = served(opened(form, {"a": x, "b": SECONDS.astype("float32")}))
    assert found.x["a"].dtype == tf.float32 and found.y.dtype == tf.int64
    np.testing.assert_array_equal(found.x["a"], x.astype("float32"))


@FORMS
def test_integers_come_as_such_where_they_are_asked_for(form):
    x = served(
        opened(form, NOISE.integers(0, 255, (40, 3)).astype("uint8")).cast_for(
            INTEGERS
        )
    ).x
    assert (
        x.dtype == tf.int32
    )  # in which a model's arithmetic does not overflow


@FORMS
@pytest.mark.parametrize(
    "x",
    [
        SECONDS,
        (SECONDS * 1e6).astype("int64"),
        (SECONDS - 1.7e9 + 1e6).astype("float32"),
    ],
)
def test_statistics_are_those_of_float64(form, x):
    wide = x.astype("float64")
    found = served(opened(form, x, steps=(standardize(),))).x
    assert found.dtype == tf.float32
    np.testing.assert_allclose(
        found, (wide - wide.mean()) / wide.std(), atol=1e-6
    )  # a few roundings of float32


@FORMS
def test_targets_are_rounded_after_preprocessing(form):
    def shift(x, y, state, seed, training):
        return x, y - state

    def fit(batches, facts):
        return float(np.mean(np.concatenate([batch.y for batch in batches])))

    found = served(
        opened(form, np.ones((40, 1)), SECONDS[:, 0], (Preprocess(shift, fit),))
    )
    assert found.y.dtype == tf.float32
    np.testing.assert_allclose(
        found.y, SECONDS[:, 0] - SECONDS.mean(), atol=1e-5
    )


def own(function, random=False):
    return Preprocess(
        lambda x, y, state, seed, training: (function(x, seed, training), y),
        random=random,
    )


@FORMS
def test_own_steps_are_given_the_numbers_they_compute_with(form):
    digits = NOISE.integers(0, 5, 40)
    found = served(
        opened(form, digits, steps=(own(lambda x, *_: tf.one_hot(x, 5)),))
    ).x
    np.testing.assert_array_equal(found, np.eye(5)[digits])
    images = NOISE.integers(0, 255, (40, 4, 4, 1)).astype("uint8")
    found = served(
        opened(
            form,
            images,
            steps=(own(lambda x, *_: x * tf.constant(0.5) - 1), scale(2.0)),
        )
    ).x
    np.testing.assert_array_equal(found, images - 2.0)
    noisy = own(
        lambda x, seed, training: (
            x + tf.random.stateless_normal(tf.shape(x), seed) if training else x
        ),
        True,
    )
    found = served(
        opened(form, NOISE.normal(size=(40, 2)), steps=(noisy,))
    ).x  # float64 and float32 do not add up
    assert found.dtype == tf.float32


def test_an_own_step_that_fails_with_all_types_tells_of_the_first():
    def fail(x, *_):
        raise LookupError(f"with {x.dtype.name}")

    with pytest.raises(LookupError, match="with float64"):
        opened(arrays, SECONDS, steps=(own(fail),))


@FORMS
def test_steps_for_labels_leave_identifiers_alone(form):
    np.testing.assert_array_equal(
        served(opened(form, IDS, steps=(one_hot(),))).x, IDS
    )


@pytest.mark.parametrize("form", [arrays, stream])
@pytest.mark.parametrize(
    "x, told",
    [
        (
            SECONDS,
            r"x holds values such as 17\d+\.\d+, which float32 rounds to .*, although they differ by",
        ),
        (
            np.hstack([LABELS[:, None], IDS]).astype(float),
            "x column 1 holds values such as 16777.*identifiers",
        ),
    ],
)
def test_rounding_that_matters_is_told(form, x, told):
    with pytest.warns(UserWarning, match=told):
        build_data(form(x, LABELS), DataOptions(), 0)


def test_what_no_integer_type_holds_is_refused():
    with pytest.raises(
        DataError,
        match="x holds the whole number 18446744073709551615; expected one of at most",
    ):
        opened(arrays, np.full((40, 1), 2**64 - 1, np.uint64))


LOOKUP = """
model: "lookups:{name}"
data: {{name: "lookups:data", base: {base}, batch_size: full, shuffle: false}}
loss: binary_crossentropy
optimizer: {{name: sgd, learning_rate: 10}}
training: {{steps: 20}}
log: {{graph: false, histograms_every: never}}
checkpoint: {{every: never, best: null}}
"""


def lookup(desk, folder, name, base=2**24):
    return tftrain.train(desk.load(LOOKUP.format(name=name, base=base)), folder)


@pytest.mark.parametrize(
    "name",
    [
        "untyped",
        "typed",
        "flattened",
        "nested",
        "sequential",
        "subclassed",
        "hashed",
    ],
)
def test_models_that_count_by_whole_numbers_are_given_them(desk, name):
    data, objective = open_objective(
        desk.load(LOOKUP.format(name=name, base=2**24))
    )
    table = objective.params[0]
    table.assign(
        np.arange(table.shape[0])[:, None] % 97
    )  # neighbors in the table differ
    found = objective(served(data))[1].numpy().ravel()
    if name == "hashed":
        assert len(set(found)) == 4
    else:
        np.testing.assert_array_equal(found, (2**24 + np.arange(8) % 4) % 97)


def test_a_model_that_cannot_take_floats_is_given_integers(desk, tmp_path):
    result = lookup(desk, tmp_path / "run", "counted", 0)
    assert result.results["train"]["accuracy"] == 1.0


def test_whole_numbers_that_a_model_rounds_are_told(desk, tmp_path):
    with pytest.warns(
        UserWarning,
        match="x holds whole numbers above 16777216 that float32 rounds, and the model's",
    ):
        lookup(desk, tmp_path / "run", "dense")
    with pytest.raises(
        tftrain.runtime.errors.InputError,
        match="x goes from 2147483648 to 2147483651, and the model's Input '.*' is int32",
    ):
        lookup(desk, tmp_path / "narrow", "narrow", 2**31)
