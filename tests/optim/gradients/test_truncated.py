import keras
import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.objective import KerasObjective
from tftrain.core.state import TrainState
from tftrain.core.step import StepSpec, make_step
from tftrain.core.types import Batch
from tftrain.optim.gradients.truncated_bptt import truncated_bptt
from tftrain.optim.schedules import constant
from tftrain.optim.transforms import chain


def test_states_go_on_from_step_to_step_but_not_from_one_that_is_not_applied():
    """Windows of three sequences, then two; in the second step there is a NaN, and in the last all start."""
    keras.utils.set_random_seed(0)
    layer = keras.layers.SimpleRNN(2, return_sequences=True)
    model = keras.Sequential(
        [keras.Input((None, 1)), layer, keras.layers.Dense(1)]
    )
    method, carry = truncated_bptt(2, "window", names=(), model=model, rows=3)
    of, transform, rate = (
        KerasObjective(model, keras.losses.MeanSquaredError()),
        chain([]),
        constant(0.0),
    )
    state = TrainState(
        model, keras.optimizers.SGD(), transform, rate, carry=carry
    )
    step = tf.function(
        make_step(state, StepSpec(of, method, transform, rate)),
        reduce_retracing=True,
    )
    x = np.random.default_rng(0).normal(size=(3, 8, 1)).astype("float32")
    whole, seen = layer(x).numpy(), []
    for start, rows, fill, begins in (
        (0, 3, 0, True),
        (2, 3, np.nan, False),
        (2, 3, 0, False),
        (0, 2, 0, True),
    ):
        y = tf.fill([rows, 2, 1], float(fill))
        step(
            Batch(
                tf.constant(x[:rows, start : start + 2]),
                y,
                None,
                tf.fill([rows], begins),
            )
        )
        seen.append(state.carry.states[0][0].numpy())
    np.testing.assert_allclose(seen[0], whole[:, 1], rtol=1e-6)
    np.testing.assert_array_equal(seen[1], seen[0])
    np.testing.assert_allclose(seen[2], whole[:, 3], rtol=1e-6)
    np.testing.assert_allclose(
        seen[3], np.concatenate([whole[:2, 1], whole[2:, 3]]), rtol=1e-6
    )


SEEN = np.array(
    [
        [1] * 8,
        [1, 1, 1, 0, 0, 0, 0, 0],
        [0, 0, 0, 1, 1, 1, 1, 1],
        [1, 0, 0, 0, 0, 1, 1, 0],
        [0] * 8,
    ],
    bool,
)
TIME = SEEN.shape[1]


def written_out(weights, x, y, mask, borders, counts):
    """The reference, in NumPy: the loss of a SimpleRNN and a Dense layer, and its gradient by hand, cut at borders.

    `mask` [batch, time] is what the layer sees, and `counts` what the loss does: sum(counts (outputs - y)^2), where
    y is [batch, time]. A masked step repeats the state, which is the output; where a sequence has ended nothing is cut.
    """
    kernel, recurrent, bias, out, shift = weights
    h = [np.zeros((len(x), len(bias)))]
    for t in range(TIME):
        h.append(
            np.where(
                mask[:, t, None],
                np.tanh(x[:, t] @ kernel + h[t] @ recurrent + bias),
                h[t],
            )
        )
    errors = [(h[t + 1] @ out + shift)[:, 0] - y[:, t] for t in range(TIME)]
    grads, back = [np.zeros_like(one) for one in weights], np.zeros_like(h[0])
    for t in reversed(range(TIME)):
        by_output = (2 * counts[:, t] * errors[t])[:, None]
        back = back + by_output @ out.T
        inner = np.where(mask[:, t, None], back * (1 - h[t + 1] ** 2), 0)
        found = [
            x[:, t].T @ inner,
            h[t].T @ inner,
            inner.sum(0),
            h[t + 1].T @ by_output,
            by_output.sum(0),
        ]
        grads = [total + one for total, one in zip(grads, found, strict=True)]
        back = inner @ recurrent.T + np.where(mask[:, t, None], 0, back)
        if t in borders:
            back = np.where(mask[:, t:].any(1)[:, None], 0, back)
    return sum(
        (counts[:, t] * errors[t] ** 2).sum() for t in range(TIME)
    ), grads


def problem(every_step, masked):
    """The objective of a recurrent network, and x and y [batch, time, ...]; the bias makes a masked step tell."""
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.SimpleRNN(
            3, return_sequences=every_step, bias_initializer="ones"
        ),
        keras.layers.Dense(1),
    ]
    model = keras.Sequential(
        [
            keras.Input((None, 2)),
            *([keras.layers.Masking()] if masked else []),
            *layers,
        ]
    )
    random = np.random.default_rng(0)
    x, y = random.normal(size=(5, TIME, 2)), random.normal(size=(5, TIME, 1))
    if masked:
        x[~SEEN] = 0
    return KerasObjective(model, keras.losses.MeanSquaredError()), x, y


def counts_of(mask, every_step):
    """What each number counts in the mean: Keras takes that of the steps which are not masked, or of the last ones."""
    return (
        mask / mask.sum()
        if every_step
        else (np.arange(TIME) == TIME - 1) / 5 + 0 * mask
    )


def assert_equal(found, expected):
    for mine, theirs in zip(
        tf.nest.flatten(found), tf.nest.flatten(expected), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "every_step, borders", [(True, (3, 6)), (False, (2, 5))]
)
def test_a_window_shorter_than_the_sequences(
    float64, every_step, borders, masked
):
    of, x, y = problem(every_step, masked)
    mask = SEEN if masked else np.ones_like(SEEN)
    weights = [param.numpy() for param in of.params]
    expected = written_out(
        weights, x, y[..., 0], mask, borders, counts_of(mask, every_step)
    )
    method = truncated_bptt(3, names=(), model=of.model, rows=5)
    given = Batch(tf.constant(x), tf.constant(y if every_step else y[:, -1]))
    assert_equal(
        tf.function(lambda: method(of, given, ())[:2], autograph=False)(),
        expected,
    )


@pytest.mark.parametrize("masked", [False, True])
def test_updates_for_each_window_add_up_where_the_weights_stand_still(
    float64, masked
):
    """Each window's loss is the mean of those of its steps that count, and what goes on is cut."""
    of, x, y = problem(True, masked)
    mask = SEEN if masked else np.ones_like(SEEN)
    weights = [param.numpy() for param in of.params]
    method, carry = truncated_bptt(
        2, "window", names=(), model=of.model, rows=5
    )
    for start in range(0, TIME, 2):
        now = slice(start, start + 2)
        given = Batch(
            tf.constant(x[:, now]),
            tf.constant(y[:, now]),
            None,
            tf.fill([5], start == 0),
        )
        found = method(of, given, carry)
        carry, counts = found.carry, np.zeros(mask.shape)
        counts[:, now] = counts_of(mask[:, now], True)
        expected = written_out(weights, x, y[..., 0], mask, (2, 4, 6), counts)
        assert_equal([found.loss, *found.grads], [expected[0], *expected[1]])
