import keras
import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.objective import KerasObjective
from tftrain.core.types import Batch
from tftrain.optim.gradients.backprop import backprop
from tftrain.optim.gradients.rtrl import rtrl

LAYERS = keras.layers


def objective(make, every_step=True, dtype="float64", **how):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, 2), dtype=dtype)
    x = make(
        3,
        return_sequences=every_step,
        dtype=dtype,
        kernel_regularizer="l2",
        name="inner",
        **how,
    )(inputs)
    model = keras.Model(inputs, LAYERS.Dense(1, dtype=dtype)(x))
    return KerasObjective(model, keras.losses.MeanSquaredError(dtype=dtype))


def batch(every_step=True, time=6, dtype=tf.float64):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(4, time, 2)), random.normal(size=(4, time, 1))
    return Batch(
        tf.constant(x, dtype), tf.constant(y if every_step else y[:, -1], dtype)
    )


def method(of, **how):
    return rtrl(
        names=[variable.path for variable in of.model.trainable_variables],
        model=of.model,
        rows=4,
        **how,
    )


@pytest.mark.parametrize("make", [LAYERS.SimpleRNN, LAYERS.GRU, LAYERS.LSTM])
def test_equal_to_backprop_through_all_time(float64, make):
    of, given = objective(make), batch()
    whole = backprop()(of, given, ())
    found = tf.function(lambda: method(of)(of, given, ()), autograph=False)()
    np.testing.assert_allclose(found.loss, whole.loss, rtol=1e-14)
    for mine, theirs in zip(found.grads, whole.grads, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-14)


def test_updates_at_each_step_add_up_where_the_weights_stand_still(float64):
    """The loss of the whole is the mean of those of its time steps, and so is the gradient."""
    of, given = objective(LAYERS.GRU), batch()
    evaluate, carry = method(of, update="step")
    sums, whole = 0, backprop()(of, given, ())
    grads = [tf.zeros_like(grad) for grad in whole.grads]
    step = tf.function(
        lambda given, carry: evaluate(of, given, carry), autograph=False
    )
    for time in range(6):
        now = slice(time, time + 1)
        found = step(
            Batch(
                given.x[:, now], given.y[:, now], None, tf.fill([4], time == 0)
            ),
            carry,
        )
        carry, sums = found.carry, sums + found.loss / 6
        grads = [
            total + grad / 6
            for total, grad in zip(grads, found.grads, strict=True)
        ]
    np.testing.assert_allclose(sums, whole.loss, rtol=1e-12)
    for mine, theirs in zip(grads, whole.grads, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-14)


def test_what_starts_anew_knows_nothing_of_the_sequence_before(float64):
    """Where the weights stand still, a step's gradient is that of backprop through the steps since the start."""
    of, given = objective(LAYERS.GRU), batch()
    evaluate, carry = method(of, update="step")
    begins = np.array(
        [[0, 0, 0, 0], [0, 3, 0, 4]]
    )  # by the row; in two of them another sequence begins later
    for time in range(6):
        now, starts = slice(time, time + 1), (begins == time).any(0)
        found = evaluate(
            of,
            Batch(given.x[:, now], given.y[:, now], None, tf.constant(starts)),
            carry,
        )
        carry, since = (
            found.carry,
            [begins[begins[:, row] <= time, row].max() for row in range(4)],
        )
        with tf.GradientTape() as tape:
            last = [
                of.model(given.x[row : row + 1, begin : time + 1])[:, -1]
                for row, begin in enumerate(since)
            ]
            loss = tf.reduce_mean(
                (tf.concat(last, 0) - given.y[:, time]) ** 2
            ) + sum(of.model.losses)
        np.testing.assert_allclose(found.loss, loss, rtol=1e-12)
        for mine, theirs in zip(
            found.grads, tape.gradient(loss, of.params), strict=True
        ):
            np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(
    ("layers", "how", "said"),
    [
        (
            [
                LAYERS.GRU(2, return_sequences=True, name="a"),
                LAYERS.GRU(2, name="b"),
            ],
            {},
            r"the model has 2 \(a, b\)",
        ),
        (
            [LAYERS.GRU(2, dropout=0.1, name="a")],
            {},
            "no dropout within a recurrent layer; a has some",
        ),
        (
            [LAYERS.GRU(2, return_state=True, name="a")],
            {},
            "gives at each time step; a gives its states too",
        ),
        (
            [LAYERS.SimpleRNN(64, name="a")],
            {"rows": 100, "memory_limit_mib": 100},
            "100 examples x 64 states x 4288 parameters x 4 bytes = 105 MiB, more than memory_limit_mib: 100",
        ),
    ],
)
def test_what_it_cannot_do(layers, how, said):
    model = keras.Sequential([keras.Input((5, 2)), *layers])
    with pytest.raises(ValueError, match=said):
        rtrl(names=(), model=model, **{"rows": 4, **how})


def test_first_states_that_are_trained():
    inputs = keras.Input((5, 2))
    first = LAYERS.Dense(3, name="first")(inputs[:, 0])
    outputs = LAYERS.Dense(1)(LAYERS.GRU(3)(inputs, initial_state=first))
    of = KerasObjective(
        keras.Model(inputs, outputs), keras.losses.MeanSquaredError()
    )
    with pytest.raises(
        ValueError,
        match="nothing before the recurrent layer; .*first/kernel, .*first/bias",
    ):
        method(of)(of, Batch(tf.ones([4, 5, 2]), tf.ones([4, 1])), ())


@pytest.mark.parametrize("make", [LAYERS.SimpleRNN, LAYERS.GRU, LAYERS.LSTM])
def test_a_batch_that_turns_out_to_be_one_example(float64, make):
    of, given = objective(make), batch()
    signature = [
        tf.TensorSpec([None, *part.shape[1:]], part.dtype) for part in given[:2]
    ]
    grads = tf.function(
        lambda x, y: method(of)(of, Batch(x, y), ()).grads,
        signature,
        autograph=False,
    )
    for rows in (1, 3):
        some = Batch(given.x[:rows], given.y[:rows])
        for mine, theirs in zip(
            grads(*some[:2]), backprop()(of, some, ()).grads, strict=True
        ):
            np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-14)


def test_masks_are_told_in_one_line():
    model = keras.Sequential(
        [
            keras.Input((5, 2)),
            LAYERS.Masking(),
            LAYERS.GRU(2, name="a"),
            LAYERS.Dense(1),
        ]
    )
    of = KerasObjective(model, keras.losses.MeanSquaredError())
    with pytest.raises(
        ValueError, match="^rtrl knows no masks, and a gets one$"
    ):
        method(of)(of, Batch(tf.ones([4, 5, 2]), tf.ones([4, 1])), ())


def test_parameters_before_the_layer():
    model = keras.Sequential(
        [keras.Input((5, 2)), LAYERS.Dense(2, name="below"), LAYERS.GRU(2)]
    )
    of = KerasObjective(model, keras.losses.MeanSquaredError())
    with pytest.raises(
        ValueError,
        match="nothing before the recurrent layer; .*below/kernel, .*below/bias",
    ):
        method(of)(of, Batch(tf.ones([4, 5, 2]), tf.ones([4, 2])), ())
