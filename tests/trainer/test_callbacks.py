import json
import math

import pytest

from tftrain.core.types import LogData, Stop
from tftrain.trainer.callbacks import (
    BestCheckpointSaver,
    BestTracker,
    EarlyStopping,
)


def saved_steps(values, best):
    """Returns the steps at which the best was saved when the values come at steps 1, 2, ..."""
    saved = []
    keeper = BestCheckpointSaver(saved.append, best)
    for step, value in enumerate(values, 1):
        keeper.on_log(
            step, LogData({} if value is None else {"val_loss": value})
        )
    return saved


def test_keeper_saves_each_new_best_and_never_nan():
    values = [math.nan, 3.0, 3.0, None, 2.0, math.nan, -math.inf, 2.5, 1.0]
    assert saved_steps(values, BestTracker("val_loss", "auto")) == [2, 5, 9]
    assert saved_steps([1.0, 0.5, 2.0], BestTracker("val_loss", "max")) == [
        1,
        3,
    ]


def test_the_best_goes_on_from_its_state():
    first = BestTracker("val_loss", "auto")
    saved_steps([3.0, 2.0, 4.0], first)
    second = BestTracker("val_loss", "auto")
    second.restore(json.loads(json.dumps(first.state())))
    assert (second.value, second.step) == (2.0, 2)
    assert saved_steps([2.5, 1.5], second) == [2]


def test_the_best_counts_this_step_while_it_is_saved():
    best, states = BestTracker("loss", "auto"), []
    BestCheckpointSaver(lambda step: states.append(best.state()), best).on_log(
        5, LogData({"loss": 2.0})
    )
    assert states == [{"best": 2.0, "best_step": 5}]


def stopped_at(stopping, values):
    """Returns (step, reason), with one value each 100 steps; None is a step at which nothing was logged."""
    for step, value in enumerate(values, 1):
        try:
            stopping.on_log(
                100 * step,
                LogData({} if value is None else {"val_loss": value}),
            )
        except Stop as stop:
            return 100 * step, str(stop)
    return None


def test_early_stopping_counts_looks_and_says_why():
    found = stopped_at(
        EarlyStopping("val_loss", patience=3),
        [0.5, 0.123, None, 0.2, None, 0.123, math.nan, 0.0],
    )
    assert found == (
        700,
        "val_loss has not improved on 0.123 for 3 evaluations since step 200",
    )


def test_early_stopping_wants_more_than_min_delta():
    values = [1.0, 0.95, 0.92, 0.85, 0.8]
    assert stopped_at(EarlyStopping("val_loss", patience=2), values) is None
    assert (
        stopped_at(
            EarlyStopping("val_loss", patience=2, min_delta=0.1), values
        )[0]
        == 300
    )


def test_early_stopping_upwards_and_without_a_finite_value():
    assert (
        stopped_at(
            EarlyStopping("val_loss", patience=1, mode="max"), [1.0, 2.0, 1.5]
        )[0]
        == 300
    )
    found = stopped_at(
        EarlyStopping("val_loss", patience=2), [math.nan, math.nan]
    )
    assert found == (200, "val_loss has not been finite for 2 evaluations")


def test_early_stopping_goes_on_from_its_state():
    first = EarlyStopping("val_loss", patience=3)
    assert stopped_at(first, [0.5, 0.6, 0.7]) is None
    second = EarlyStopping("val_loss", patience=3)
    second.restore(json.loads(json.dumps(first.state())))
    with pytest.raises(Stop, match="0.5 for 3 evaluations since step 100"):
        second.on_log(400, LogData({"val_loss": 0.55}))
