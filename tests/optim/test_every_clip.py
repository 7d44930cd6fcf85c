"""Each clip of the catalogue, with each property that all of them have."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tftrain.config import registry
from tftrain.core.checkpoint import CheckpointManager
from tftrain.core.compiled_steps import CompiledSteps
from tftrain.core.objective import KerasObjective
from tftrain.core.schedule import Segment
from tftrain.core.state import TrainState
from tftrain.core.step import StepSpec
from tftrain.core.types import Batch
from tftrain.core.variables import parameter_names
from tftrain.optim.clipping import (
    clip_adaptive,
    clip_global_norm,
    clip_layer_norm,
    clip_norm,
    clip_percentile,
    clip_value,
)
from tftrain.optim.gradients.backprop import backprop
from tftrain.optim.schedules import constant
from tftrain.optim.transforms import chain

LIMIT, RATIO, EPSILON, PERCENT, WINDOW = 0.3, 0.05, 1e-3, 40.0, 3
SHAPES = {
    "000.conv/kernel": (3, 2, 4),
    "000.conv/bias": (4,),
    "001.dense/kernel": (4, 5),
    "001.dense/scale": (),
    "002.none/kernel": (0, 2),
    "002.none/bias": (0,),
    "003.last/kernel": (1, 5),
}
CLIPS = {
    "value": lambda names: clip_value(LIMIT),
    "norm": lambda names: clip_norm(LIMIT),
    "global_norm": lambda names: clip_global_norm(LIMIT),
    "layer_norm": lambda names: clip_layer_norm(LIMIT, names=names),
    "adaptive": lambda names: clip_adaptive(RATIO, EPSILON),
    "percentile": lambda names: clip_percentile(PERCENT, WINDOW),
}
every_clip = pytest.mark.parametrize("name", CLIPS)


def test_the_table_is_the_catalogue():
    assert set(CLIPS) == set(registry.names_of_kind("clip"))


# The definitions once more, in NumPy and float64. All gradients lie in one vector; a clip scales pieces of it down,
# each to its limit, and a piece is a list of positions. The clip by value has pieces of one number.

SIZES = [int(np.prod(shape)) for shape in SHAPES.values()]
POSITIONS = [
    np.reshape(found, shape)
    for found, shape in zip(
        np.split(np.arange(sum(SIZES)), np.cumsum(SIZES)[:-1]),
        SHAPES.values(),
        strict=True,
    )
]


def flat(arrays):
    return np.concatenate(
        [np.asarray(array, np.float64).reshape(-1) for array in arrays]
    )


def units(positions):
    """One for each index of the last axis; what has only one axis longer than 1 is a single unit."""
    if np.squeeze(positions).ndim < 2:
        return [positions.reshape(-1)]
    return [
        positions[..., index].reshape(-1)
        for index in range(positions.shape[-1])
    ]


def layers():
    names = [name.partition("/")[0] for name in SHAPES]
    together = {
        layer: [
            one
            for one, name in zip(POSITIONS, names, strict=True)
            if name == layer
        ]
        for layer in names
    }
    return [
        np.concatenate([one.reshape(-1) for one in found])
        for found in together.values()
    ]


PIECES = {
    "value": [np.array([position]) for position in range(sum(SIZES))],
    "norm": [positions.reshape(-1) for positions in POSITIONS],
    "global_norm": [np.arange(sum(SIZES))],
    "layer_norm": layers(),
    "adaptive": [unit for positions in POSITIONS for unit in units(positions)],
    "percentile": [np.arange(sum(SIZES))],
}


def limits(name, grads, params, past=()):
    """The limit of each piece; `past` are the norms of the steps before."""
    if name == "adaptive":
        return [
            RATIO * max(np.linalg.norm(params[piece]), EPSILON)
            for piece in PIECES[name]
        ]
    if name == "percentile":
        return [
            np.percentile([*past, np.linalg.norm(grads)][-WINDOW:], PERCENT)
        ]
    return [LIMIT] * len(PIECES[name])


def sizes(name, grads):
    return [np.linalg.norm(grads[piece]) for piece in PIECES[name]]


def twin(name, grads, most):
    grads = grads.copy()
    for piece, size, limit in zip(
        PIECES[name], sizes(name, grads), most, strict=True
    ):
        grads[piece] *= limit / size if size > limit else 1.0
    return grads


def drawn(seed, scale=1.0):
    """Gradients and parameters, float32."""
    random = np.random.default_rng(seed)
    grads = [
        np.asarray(scale * random.normal(size=shape), np.float32)
        for shape in SHAPES.values()
    ]
    return grads, [
        np.asarray(random.normal(size=shape), np.float32)
        for shape in SHAPES.values()
    ]


def clipped_once(name, grads, params):
    transform = CLIPS[name](list(SHAPES))
    grads = [
        grad if isinstance(grad, tf.IndexedSlices) else tf.constant(grad)
        for grad in grads
    ]
    variables = [tf.Variable(param) for param in params]
    after, _, told = transform.update(
        grads, transform.init(variables), variables
    )
    return after, told


@every_clip
def test_equal_to_its_twin_over_several_steps(name):
    transform, past, bit = CLIPS[name](list(SHAPES)), [], []
    _, params = drawn(0)
    variables = [tf.Variable(param) for param in params]
    state = transform.init(variables)
    update = tf.function(transform.update)
    for step, scale in enumerate([1.0, 0.1, 3.0, 0.01, 2.0, 1e-6]):
        grads, _ = drawn(step, scale)
        most = limits(name, flat(grads), flat(params), past)
        found, state, told = update(
            [tf.constant(grad) for grad in grads], state, variables
        )
        # Norms, factors and products are in float32 here, in float64 there.
        np.testing.assert_allclose(
            flat(found), twin(name, flat(grads), most), rtol=1e-6
        )
        bit.append(
            any(
                size > limit
                for size, limit in zip(
                    sizes(name, flat(grads)), most, strict=True
                )
            )
        )
        assert bool(told["clipped"]) == bit[-1]
        if name != "adaptive":
            np.testing.assert_allclose(told["limit"], most[0], rtol=1e-6)
        past.append(np.linalg.norm(flat(grads)))
    assert set(bit) == {True, False}


@every_clip
@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1.0, 1e5, 1e15])
def test_never_above_the_limit(name, scale):
    grads, params = drawn(1, scale)
    found, _ = clipped_once(name, grads, params)
    most = limits(name, flat(grads), flat(params))
    assert np.all(
        np.array(sizes(name, flat(found))) <= np.array(most) * (1 + 1e-5)
    )


@pytest.mark.parametrize("name", ["norm", "global_norm", "layer_norm"])
def test_a_million_numbers_are_not_above_the_limit_either(name):
    grad = np.random.default_rng(0).normal(size=(1000, 1000)).astype(np.float32)
    (found,), _, _ = CLIPS[name](["000.wide/kernel"]).update(
        [tf.constant(grad)], (), []
    )
    assert np.linalg.norm(flat([found])) == pytest.approx(
        LIMIT, rel=1e-5
    )  # the sum of squares is in float32


@every_clip
def test_what_is_within_the_limit_stays_the_same_to_the_bit(name):
    grads, params = drawn(2, 1e-6)
    found, told = clipped_once(name, grads, params)
    assert not told["clipped"]
    for mine, grad in zip(found, grads, strict=True):
        assert mine.numpy().tobytes() == grad.tobytes()


@every_clip
def test_zero_stays_zero(name):
    zeros = [np.zeros(shape, np.float32) for shape in SHAPES.values()]
    for params in (zeros, drawn(0)[1]):
        found, told = clipped_once(name, zeros, params)
        assert not told["clipped"]
        assert not np.any(flat(found))


@pytest.mark.parametrize("name", [name for name in CLIPS if name != "value"])
def test_the_direction_is_kept(name):
    grads, params = drawn(3)
    found, _ = clipped_once(name, grads, params)
    for piece in PIECES[name]:
        mine, given = flat(found)[piece], flat(grads)[piece]
        if piece.size:
            cosine = (
                mine @ given / (np.linalg.norm(mine) * np.linalg.norm(given))
            )
            assert cosine == pytest.approx(
                1, abs=1e-12
            )  # a number is off by 6e-8 of itself, which enters squared


@every_clip
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite(name, poison):
    """What shares a norm with it becomes NaN; `value` bounds an Inf and leaves a NaN; the rest is clipped as ever."""
    grads, params = drawn(4)
    clean, _ = clipped_once(name, grads, params)
    grads[2][1, 3] = poison  # of 001.dense/kernel
    found, _ = clipped_once(name, grads, params)
    position = POSITIONS[2][1, 3]
    if name == "value" and np.isinf(poison):
        assert flat(found)[position] == np.sign(poison) * np.float32(LIMIT)
        return
    (spoiled,) = (piece for piece in PIECES[name] if position in piece)
    others = np.setdiff1d(np.arange(sum(SIZES)), spoiled)
    assert np.all(np.isnan(flat(found)[spoiled]))
    np.testing.assert_array_equal(flat(found)[others], flat(clean)[others])


@every_clip
def test_sparse_rows_are_clipped_like_the_dense_gradient(name):
    dense, params = drawn(5)
    dense[2][[0, 2]] = 0
    rows = tf.IndexedSlices(
        tf.constant(dense[2][[3, 1]]), tf.constant([3, 1]), tf.constant([4, 5])
    )
    expected, _ = clipped_once(name, dense, params)
    found, _ = clipped_once(name, [*dense[:2], rows, *dense[3:]], params)
    assert isinstance(found[2], tf.IndexedSlices)
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(
            tf.convert_to_tensor(mine), theirs, rtol=1e-6
        )  # the sums run in another order


@every_clip
def test_compiles_under_xla(name):
    transform = CLIPS[name](list(SHAPES))
    grads, params = drawn(6)
    given = (
        [tf.constant(grad) for grad in grads],
        transform.init(params),
        params,
    )
    plain, compiled = (
        transform.update(*given),
        tf.function(transform.update, jit_compile=True)(*given),
    )
    for mine, theirs in zip(
        tf.nest.flatten(compiled), tf.nest.flatten(plain), strict=True
    ):
        np.testing.assert_allclose(
            tf.cast(mine, tf.float32), tf.cast(theirs, tf.float32), rtol=1e-6
        )


# In whole steps


class Feed:
    """Seven batches over and over."""

    signature, steps_per_epoch, examples = tf.TensorSpec([], tf.int64), 7, 28
    prepared = True

    def __init__(self):
        x, y = (
            np.random.default_rng(0)
            .normal(size=(2, 7, 4, 3))
            .astype(np.float32)
        )
        x[5, 2, 1] = np.nan  # batch 5 is skipped
        self._x, self._y = tf.constant(x), tf.constant(y[..., :2])

    def run_length(self, step):
        return 1000

    def serve(self, step, count):
        return tf.constant(step, tf.int64)

    def batch(self, handle, index):
        at = (handle + tf.cast(index, tf.int64)) % 7
        return Batch(self._x[at], self._y[at])


class Run:
    """A small network with a clip, at its start."""

    def __init__(self, name):
        keras.utils.set_random_seed(3)
        model = keras.Sequential(
            [
                keras.Input((3,)),
                keras.layers.Dense(4, "tanh"),
                keras.layers.Dense(2),
            ]
        )
        transform, rate = (
            chain([(name, CLIPS[name](parameter_names(model)))]),
            constant(0.1),
        )
        self.state = TrainState(
            model, keras.optimizers.SGD(momentum=0.9), transform, rate
        )
        step_spec = StepSpec(
            KerasObjective(model, keras.losses.MeanSquaredError()),
            backprop(),
            transform,
            rate,
        )
        self.feed = Feed()
        self.compiled_steps = CompiledSteps(self.state, step_spec, self.feed)

    def everything(self):
        return {
            name: variable.numpy()
            for name, variable in self.state.variables_by_name().items()
        }

    def go_back_to(self, values):
        for name, variable in self.state.variables_by_name().items():
            variable.assign(values[name])

    def go(self, step, pieces):
        """Run on from a step in calls of so many steps; the rows of all of them."""
        rows = []
        for end in step + np.cumsum(pieces):
            while step < end:  # a step that is not finite ends its call
                rows.append(
                    self.compiled_steps.run(
                        self.feed.serve(step, end - step), [Segment(end - step)]
                    ).rows
                )
                step += len(rows[-1]["loss"])
        return {
            name: np.concatenate([row[name] for row in rows])
            for name in rows[0]
        }


def assert_same(left, right):
    assert left.keys() == right.keys()
    assert not [
        name
        for name in left
        if np.asarray(left[name]).tobytes() != np.asarray(right[name]).tobytes()
    ]


@every_clip
def test_any_number_of_steps_in_a_call_gives_the_same_bits_and_so_does_a_checkpoint(
    name, tmp_path
):
    run = Run(name)
    start = run.everything()
    rows = run.go(0, [1] * 14)
    end = run.everything()
    assert rows["finite"].sum() == 12 and np.isnan(rows["loss"][[5, 12]]).all()
    assert 0 < rows[f"clip/{name}/clipped"].sum() <= 14
    for pieces in ([2] * 7, [5, 5, 4], [7, 7], [3, 1, 7, 2, 1]):
        run.go_back_to(start)
        assert_same(run.go(0, pieces), rows)
        assert_same(run.everything(), end)
    run.go_back_to(start)
    run.go(0, [6])
    CheckpointManager(tmp_path, run.state).save(6)
    run.go_back_to(start)
    assert CheckpointManager(tmp_path, run.state).restore_latest() == 6
    run.go(6, [8])
    assert_same(run.everything(), end)


def test_a_skipped_step_leaves_the_state_alone():
    run = Run("percentile")
    run.go(0, [5])
    before = {
        name: value
        for name, value in run.everything().items()
        if name.startswith("transform/")
    }
    assert len(before) == 2
    rows = run.go(5, [1])
    after = run.everything()
    assert rows["finite"] == 0
    assert_same(before, {name: after[name] for name in before})
