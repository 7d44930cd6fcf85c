import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tftrain.config import registry
from tftrain.core.types import Rate
from tftrain.core.variables import assign_values, read_values
from tftrain.optim.schedules import (
    as_rate,
    backoff,
    constant,
    inverse_norm,
    plateau,
    scheduled,
    warmup,
)


class Held:
    """A rate with its state in variables, as a run holds it."""

    def __init__(self, rate):
        self.rate = rate
        self.state = tf.nest.map_structure(tf.Variable, rate.init())
        self._graph = tf.function(self._advance)
        self._step = 0

    def _advance(self, step, norm):
        value, state = self.rate.update(read_values(self.state), step, norm)
        assign_values(self.state, state)
        return value

    def advance(self, norm=1.0):
        value = self._graph(
            tf.constant(self._step, tf.int64), tf.constant(norm, tf.float32)
        )
        assert value.dtype == tf.float32 and value.shape == ()
        self._step += 1
        return float(value)

    def heed(self, **scalars):
        assign_values(
            self.state, self.rate.heed(read_values(self.state), scalars)
        )


def rates_of(rate, steps):
    held = Held(rate)
    return [held.advance() for _ in range(steps)]


def rates_at(rate, norms):
    held = Held(rate)
    return [held.advance(norm) for norm in norms]


def ramp():
    return scheduled(lambda step: 0.25 * tf.cast(step + 1, tf.float32))


# Functions of the step


def test_constant():
    assert rates_of(constant(0.5), 3) == [0.5] * 3


def test_keras_schedule_counts_from_zero():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [1], [0.5, 0.25]
    )
    assert rates_of(scheduled(schedule), 4) == [0.5, 0.5, 0.25, 0.25]


def test_numbers_and_schedules_become_rates():
    assert rates_of(as_rate(0.5), 2) == [0.5, 0.5]
    assert rates_of(
        as_rate(
            keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.5, 0.25])
        ),
        2,
    ) == [0.5, 0.25]
    rate = constant(0.5)
    assert as_rate(rate) is rate


@pytest.mark.parametrize("odd", [None, "fast", [0.1]])
def test_what_is_no_rate_is_refused(odd):
    with pytest.raises(
        ValueError,
        match=r"given as .*; expected a number, a function of the step, a Keras schedule",
    ):
        as_rate(odd)


def test_cosine_against_its_formula():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    expected = [0.05 * (1 + np.cos(np.pi * step / 10)) for step in range(10)]
    np.testing.assert_allclose(
        rates_of(scheduled(schedule), 10), expected, rtol=1e-5
    )  # float32


def test_warmup_climbs_and_hands_over():
    then = scheduled(lambda step: 0.5 * 0.5 ** tf.cast(step, tf.float32))
    assert rates_of(warmup(4, then), 7) == [
        0.125,
        0.25,
        0.375,
        0.5,
        0.5,
        0.25,
        0.125,
    ]


@pytest.mark.parametrize("steps", [0, 1])
def test_shortest_warmups(steps):
    assert rates_of(warmup(steps, constant(0.5)), 3) == [0.5] * 3


def test_warmup_keeps_the_state_of_what_it_wraps():
    counting = Rate(
        lambda: tf.constant(0.0),
        lambda state, step, grad_norm: (state + 1, state + grad_norm),
    )
    assert rates_of(warmup(2, counting), 4) == [0.5, 2, 3, 4]


KERAS = {
    "cosine_decay": "initial_learning_rate: 0.1, decay_steps: 3 epochs, alpha: 0.1",
    "cosine_decay_restarts": "initial_learning_rate: 0.1, first_decay_steps: 1.5 epochs, m_mul: 0.5",
    "exponential_decay": "initial_learning_rate: 0.1, decay_steps: 1 epoch, decay_rate: 0.5",
    "inverse_time_decay": "initial_learning_rate: 0.1, decay_steps: 1 epoch, decay_rate: 2.0, staircase: true",
    "piecewise_constant_decay": "boundaries: [1 epoch, 15, 3 epochs], values: [0.1, 0.2, 0.05, 0.01]",
    "polynomial_decay": "initial_learning_rate: 0.1, decay_steps: 2 epochs, power: 2.0, cycle: true",
    "cosine_decay with its own warmup": (
        "initial_learning_rate: 0.01, decay_steps: 2 epochs, warmup_steps: 1 epoch, warmup_target: 0.1"
    ),
}


def twin_in_keras(name):
    """The same schedule at 10 steps per epoch, made without a config."""
    made = keras.optimizers.schedules
    return {
        "cosine_decay": lambda: made.CosineDecay(0.1, 30, alpha=0.1),
        "cosine_decay_restarts": lambda: made.CosineDecayRestarts(
            0.1, 15, m_mul=0.5
        ),
        "exponential_decay": lambda: made.ExponentialDecay(0.1, 10, 0.5),
        "inverse_time_decay": lambda: made.InverseTimeDecay(
            0.1, 10, 2.0, staircase=True
        ),
        "piecewise_constant_decay": lambda: made.PiecewiseConstantDecay(
            [10, 15, 30], [0.1, 0.2, 0.05, 0.01]
        ),
        "polynomial_decay": lambda: made.PolynomialDecay(
            0.1, 20, power=2.0, cycle=True
        ),
        "cosine_decay with its own warmup": lambda: made.CosineDecay(
            0.01, 20, warmup_steps=10, warmup_target=0.1
        ),
    }[name]()


def rate_of(desk, text):
    """The rate that a config names, at 10 steps per epoch."""
    optimizer = desk.load(
        desk.good, f"optimizer={{name: sgd, learning_rate: {text}}}"
    ).optimizer
    return as_rate(optimizer.with_steps(10).call_arguments()["learning_rate"])


def test_every_schedule_of_keras_is_compared():
    listed = {
        name
        for name, target in registry.names_of_kind("schedule").items()
        if target.startswith("keras.")
    }
    assert {name.partition(" ")[0] for name in KERAS} == listed


@pytest.mark.parametrize("name", KERAS)
def test_schedules_of_keras_from_a_config_with_warmup(desk, name):
    written = f"{{name: {name.partition(' ')[0]}, {KERAS[name]}}}"
    rate = rate_of(
        desk, f"{{name: warmup, steps: 0.5 epochs, then: {written}}}"
    )
    schedule, held = twin_in_keras(name), Held(rate)
    for step in range(45):
        expected = float(schedule(max(step - 5, 0))) * min((step + 1) / 5, 1)
        # Keras computes in float32 too, eagerly; a graph may fold constants in another order.
        assert held.advance() == pytest.approx(expected, rel=1e-5, abs=1e-8), (
            step
        )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", [0, 0]),
        ("{name: warmup, steps: 3, then: 0}", [0, 0, 0, 0]),
        ("{name: plateau, then: 0.0, least: 0.1}", [0, 0]),
        (
            "{name: inverse_norm, then: {name: backoff, steps: 3, then: 0}}",
            [0, 0],
        ),
        (
            "{name: exponential_decay, initial_learning_rate: 0, decay_steps: 5, decay_rate: 0.5}",
            [0, 0],
        ),
        (
            "{name: polynomial_decay, initial_learning_rate: 0.5, decay_steps: 2, end_learning_rate: 0}",
            [0.5, 0.25, 0, 0],
        ),
        (
            "{name: piecewise_constant_decay, boundaries: [1], values: [0, 0.5]}",
            [0, 0, 0.5],
        ),
        (
            "{name: cosine_decay, initial_learning_rate: 0, decay_steps: 9, warmup_steps: 2, warmup_target: 0.5}",
            [0, 0.25, 0.5],
        ),
        (
            "{name: cosine_decay, initial_learning_rate: 0.5, decay_steps: 9, warmup_steps: 2, warmup_target: 0}",
            [0.5, 0.25, 0, 0],
        ),
    ],
)
def test_a_rate_may_be_zero(desk, text, expected):
    held = Held(rate_of(desk, text))
    assert [held.advance() for _ in expected] == expected


def test_no_rate_is_below_zero(desk):
    text = (
        "{name: piecewise_constant_decay, boundaries: [1], values: [0.5, -0.5]}"
    )
    (problem,) = desk.problems(
        f"optimizer: {{name: sgd, learning_rate: {text}}}\nmodel: mlp\ndata: iris\n"
    )
    assert (
        "optimizer.learning_rate.values.1: given -0.5; expected a number of at least 0"
        in problem
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "{name: 'speeds:sawtooth', period: 5}",
            [0.5, 0.5, 0.6, 0.8, 1.0, 0.2, 0.4],
        ),
        ("'speeds:sawtooth'", [0.5, 0.5, 0.75, 1, 0.25]),
        ("{name: 'speeds:halving', every: 2}", [1, 1, 0.5, 0.5, 0.25]),
        ("{name: 'speeds:inverse', scale: 0.5}", [0.5, 0.25, 0.5 / 3]),
        ("{name: 'speeds:Line', slope: 0.25}", [0.25, 0.5, 0.75]),
        ("{name: 'speeds:by_norm', share: 0.25}", [0.25, 0.25]),
        ("'speeds:half'", [0.5, 0.5]),
        ("'speeds:fixed'", [0.5, 0.5, 0.25]),
        (
            "{name: warmup, steps: 2, then: {name: 'speeds:sawtooth', top: 0.5}}",
            [0.125, 0.25, 0.25, 0.25, 0.375],
        ),
    ],
)
def test_a_user_s_own(desk, text, expected):
    np.testing.assert_allclose(
        rates_of(rate_of(desk, text), len(expected)), expected, rtol=1e-6
    )  # float32


def test_the_arguments_of_a_user_s_own_are_checked(desk):
    given = "optimizer: {name: sgd, learning_rate: {name: 'speeds:sawtooth', perod: 5}}\nmodel: mlp\ndata: iris\n"
    (problem,) = desk.problems(given)
    assert (
        "perod: unknown argument of speeds:sawtooth; expected one of period, top; did you mean 'period'?"
        in problem
    )
    with pytest.raises(
        ValueError, match="a learning rate is given as None; expected a number"
    ):
        rate_of(desk, "'speeds:nothing'")


# Rates that go by the gradient


def test_inverse_norm_by_hand():
    # Means with decay 1/2: 2, (2/4 + 4/2) / (3/4) = 10/3, (2/8 + 4/4 + 1/2) / (7/8) = 2, and of four 22/15.
    rates = rates_at(inverse_norm(3.0, decay=0.5), [2, 4, 1, 1])
    np.testing.assert_allclose(
        rates, [1.5, 0.9, 1.5, 45 / 22], rtol=1e-6
    )  # float32


def test_inverse_norm_stays_in_its_bounds():
    rates = rates_at(
        inverse_norm(1.0, least=0.4, most=0.6, decay=0.5), [2, 4, 1, 1]
    )
    np.testing.assert_allclose(rates, [0.5, 0.4, 0.5, 0.6], rtol=1e-6)
    np.testing.assert_allclose(rates_at(inverse_norm(1.0), [0, 0]), [10, 10])
    np.testing.assert_allclose(
        rates_at(inverse_norm(1.0), [1e30, 1e30]), [0.1, 0.1]
    )
    with pytest.raises(ValueError, match="least 2.0 is above most 1.0"):
        inverse_norm(1.0, 2.0, 1.0)


def test_inverse_norm_follows_a_schedule():
    np.testing.assert_allclose(
        rates_at(inverse_norm(ramp()), [2, 2, 2]),
        [0.125, 0.25, 0.375],
        rtol=1e-6,
    )


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_the_rate_of_a_step_that_is_not_finite_is_finite(odd):
    assert np.all(np.isfinite(rates_at(inverse_norm(1.0), [2, odd])))
    assert np.all(np.isfinite(rates_at(backoff(4, 1.0), [2, odd])))


def test_backoff_by_hand():
    # The mean is 1 before the spike of 8, which counts as 2, and a little above 1 before the last norm.
    rate = backoff(4, 1.0, threshold=2.0, factor=0.2, decay=0.5)
    assert rates_at(rate, [1, 1, 8, 1, 1, 1, 1, 2.0]) == pytest.approx(
        [1, 1, 0.2, 0.4, 0.6, 0.8, 1, 1], rel=1e-6
    )


def test_another_spike_starts_the_climb_again():
    rate = backoff(4, 1.0, threshold=2.0, factor=0.2, decay=0.5)
    # The mean is 11/8 / (7/8) = 11/7 after the first spike and 19/15 a step later: 2.5 is below twice that, 6 is not.
    assert rates_at(rate, [1, 1, 8, 1, 2.5, 1, 1]) == pytest.approx(
        [1, 1, 0.2, 0.4, 0.6, 0.8, 1], rel=1e-6
    )
    assert rates_at(rate, [1, 1, 8, 1, 6, 1, 1]) == pytest.approx(
        [1, 1, 0.2, 0.4, 0.2, 0.4, 0.6], rel=1e-6
    )


def test_backoff_adapts_to_a_norm_that_stays_high():
    rates = rates_at(
        backoff(2, 1.0, threshold=2.0, factor=0.5, decay=0.5),
        [1] * 6 + [8] * 10,
    )
    # Each counts as twice the mean, which so grows by half at each step: 1, 1.5, 2.25, 3.4, 5.1.
    np.testing.assert_allclose(
        rates, [1] * 6 + [0.5] * 4 + [0.75] + [1] * 5, rtol=1e-6
    )


def test_no_backoff_without_a_usual_size():
    assert rates_at(backoff(4, 1.0), [100, 100]) == [1, 1]
    assert rates_at(backoff(4, 1.0), [0, 0, 5, 5]) == [1] * 4


# Reducing on a plateau


def looks_of(rate, values, monitor="val_loss"):
    """The rate after each look."""
    held, found = Held(rate), []
    for value in values:
        held.advance()
        held.heed(**({monitor: value} if value is not None else {"other": 0.0}))
        found.append(held.advance())
    return found


def test_plateau_by_hand():
    values = [3, 2, 2, None, 2.5, 1, 1, 1, 1, 1]
    rates = looks_of(plateau(1.0, factor=0.5, patience=2), values)
    assert rates == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]


def test_plateau_counts_nothing_while_it_cools_down():
    rates = looks_of(plateau(1.0, factor=0.5, patience=1, cooldown=2), [1] * 8)
    assert rates == [1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.0625]


def test_plateau_cuts_no_deeper_than_least_and_lifts_nothing():
    np.testing.assert_allclose(
        looks_of(plateau(1.0, patience=1, least=0.03), [1] * 4),
        [1, 0.1, 0.03, 0.03],
        rtol=1e-6,
    )
    assert looks_of(plateau(0.5, patience=1, least=0.75), [1] * 3) == [0.5] * 3


def test_what_is_not_finite_is_never_better():
    assert looks_of(
        plateau(1.0, factor=0.5, patience=3), [math.nan, -math.inf, math.nan, 5]
    ) == [1, 1, 0.5, 0.5]


def test_a_value_is_not_better_than_itself():
    assert looks_of(plateau(1.0, factor=0.5, patience=1), [0.1, 0.1]) == [
        1,
        0.5,
    ]  # 0.1 as float32 is above 0.1


@pytest.mark.parametrize(
    ("monitor", "better"), [("val_accuracy", 0.9), ("val_loss", 0.1)]
)
def test_plateau_knows_which_way_is_better(monitor, better):
    worse = 1 - better
    assert looks_of(
        plateau(1.0, monitor, 0.5, patience=1), [0.5, better], monitor
    ) == [
        1,
        1,
    ]
    assert looks_of(
        plateau(1.0, monitor, 0.5, patience=1), [0.5, worse], monitor
    ) == [
        1,
        0.5,
    ]


PLATEAUS = [
    {},
    {"patience": 1},
    {"patience": 3, "cooldown": 2},
    {"patience": 2, "cooldown": 1, "min_delta": 0.2},
    {"patience": 1, "mode": "max", "factor": 0.7},
    {"patience": 2, "mode": "max", "min_delta": 0.1, "least": 0.01},
]


@pytest.mark.parametrize("options", PLATEAUS)
def test_plateau_is_that_of_keras(options):
    options = {
        "mode": "min",
        "factor": 0.5,
        "patience": 4,
        "min_delta": 0.0,
        "least": 0.0,
        "cooldown": 0,
    } | options
    random = np.random.default_rng(len(options["mode"]) + options["patience"])
    values = [
        float(round(value, 1)) for value in np.cumsum(random.normal(0, 0.3, 60))
    ]  # with many ties
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.8), "mse")
    theirs = {name: value for name, value in options.items() if name != "least"}
    callback = keras.callbacks.ReduceLROnPlateau(
        "val_loss", **theirs, min_lr=options["least"]
    )
    callback.set_model(model)
    callback.on_train_begin()
    expected = []
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {"val_loss": value})
        expected.append(float(model.optimizer.learning_rate))
    assert len(set(expected)) > 3
    # Keras rounds the rate at each cut, we round the product of the factors.
    np.testing.assert_allclose(
        looks_of(plateau(0.8, **options), values), expected, rtol=1e-6
    )


# Rates within rates


class Twin:
    """A rate in plain Python, of float64, with the rate that it changes."""

    def __init__(self, kind, then):
        self.kind, self.then = kind, then
        self.total = self.weight = self.left = self.waited = 0
        self.scale, self.best = 1.0, math.inf

    def advance(self, step, norm):
        if self.kind == "warmup":
            return self.then.advance(max(step - 3, 0), norm) * min(
                (step + 1) / 3, 1
            )
        rate = self.then.advance(step, norm)
        if self.kind == "plateau":
            return rate * self.scale
        mean = self.total / self.weight if self.weight else 0
        if self.kind == "backoff":
            limit = 1.5 * mean or math.inf
            self.left = 4 if norm > limit else max(self.left - 1, 0)
            norm = min(norm, limit)
        self.total, self.weight = (
            0.5 * self.total + 0.5 * norm,
            0.5 * self.weight + 0.5,
        )
        if self.kind == "backoff":
            return rate * (1 - 0.8 * self.left / 4)
        return rate * min(max(self.weight / self.total, 0.2), 5)

    def heed(self, value):
        self.waited = 0 if value < self.best else self.waited + 1
        self.best = min(self.best, value)
        if self.waited == 2:
            self.scale, self.waited = self.scale * 0.5, 0
        self.then.heed(value)


class Ramp:
    def advance(self, step, norm):
        return 0.25 * (step + 1)

    def heed(self, value):
        pass


OURS = {
    "warmup": lambda then: warmup(3, then),
    "plateau": lambda then: plateau(then, "loss", 0.5, 2),
    "inverse_norm": lambda then: inverse_norm(then, 0.2, 5.0, 0.5),
    "backoff": lambda then: backoff(4, then, 1.5, 0.2, 0.5),
}
ORDERS = [
    *itertools.permutations(OURS),
    ("plateau", "warmup", "plateau"),
    ("backoff", "inverse_norm", "backoff"),
]


@pytest.mark.parametrize("order", ORDERS, ids=">".join)
def test_any_rate_within_any_other(order):
    rate, twin = ramp(), Ramp()
    for kind in reversed(order):
        rate, twin = OURS[kind](rate), Twin(kind, twin)
    random, held, found, expected = np.random.default_rng(7), Held(rate), [], []
    for step in range(25):
        norm, loss = (
            float(np.float32(random.lognormal(0, 1))),
            float(random.integers(0, 4)),
        )
        found.append(held.advance(norm))
        expected.append(twin.advance(step, norm))
        if rate.heed:
            held.heed(loss=loss)
        twin.heed(loss)
    np.testing.assert_allclose(
        found, expected, rtol=1e-5
    )  # float32 against float64
    assert bool(rate.heed) is ("plateau" in order)
