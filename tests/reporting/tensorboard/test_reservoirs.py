import pytest

from tftrain.core.schedule import doubling_then_every, every, thinning
from tftrain.core.types import LogData
from tftrain.reporting.tensorboard.reservoirs import HISTOGRAMS, SCALARS, Reservoirs


def points(total, validate, scalars=None, start=0):
    """The steps of a session, with what there is at each, as the plan of a run has them."""
    histograms, scalars = (
        doubling_then_every(max(1, total // 50)),
        scalars or every(max(1, total // 250)),
    )
    step = start
    while step < total:
        due = {
            "train": scalars(step),
            "measured": histograms(step),
            "val": every(validate)(step),
        }
        due = {kind: min(at, total) for kind, at in due.items()}
        step = min(due.values())
        yield step, {kind for kind, at in due.items() if at == step}


def drawn(reservoirs, session):
    """Steps that are drawn of training, of validation, and with histograms."""
    found = [], [], []
    for step, kinds in session:
        scalars = {"loss": 1.0, "grad_norm_max": 1.0, "nonfinite_steps": 0.0}
        scalars |= {"val_loss": 1.0} if "val" in kinds else {}
        scalars |= {"zero_grad_fraction": 0.0} if "measured" in kinds else {}
        seen = reservoirs.thinned(
            step, LogData(scalars, {"gradients/a": [1]} if "measured" in kinds else {})
        )
        kept = "loss" in seen.scalars, "val_loss" in seen.scalars, seen.histograms
        for steps, there in zip(found, kept, strict=True):
            steps += [step] if there else []
    return found


@pytest.mark.parametrize(
    "total", [1, 2, 49, 99, 100, 149, 499, 501, 1300, 12_345, 100_000]
)
def test_what_is_planned_is_all_drawn(total):
    session = list(points(total, validate=max(total // 60, 1)))
    train, val, measured = drawn(Reservoirs(total), session)
    assert (
        measured == [step for step, kinds in session if "measured" in kinds]
        and len(measured) <= HISTOGRAMS
    )
    assert set(measured) <= set(train)
    for step in (
        step for step, kinds in session if "train" in kinds
    ):  # or one of a validation is as good as there
        assert any(step - total // 500 <= one <= step for one in train)
    assert val == [step for step, kinds in session if "val" in kinds]
    assert len(train) <= SCALARS and train[-1] == val[-1] == measured[-1] == total


@pytest.mark.parametrize("total", [1001, 20_000, 99_999])
def test_a_validation_at_each_step_leaves_room(total):
    train, val, measured = drawn(Reservoirs(total), points(total, validate=1))
    for steps, most in ((train, SCALARS), (val, SCALARS), (measured, HISTOGRAMS)):
        assert most / 4 < len(steps) <= most
        assert steps[:3] == [1, 2, 4] or steps[:3] == [1, 2, 3]
        assert (
            steps[-1] == total
            and {2**power for power in range(10)} <= set(steps)
            or steps is measured
        )


@pytest.mark.parametrize("factor", [1.05, 2, 10])
def test_all_sessions_together_have_no_more_than_are_kept(factor):
    found, start, total, state = ([], [], []), 0, 500, None
    for _ in range(12):
        reservoirs = Reservoirs(total)
        if state:
            reservoirs.restore(state)
        reservoirs.begin(start)
        session = points(total, max(total // 1000, 1), None, start)
        for steps, more in zip(found, drawn(reservoirs, session), strict=True):
            steps += more
        state, start, total = reservoirs.state(), total, int(total * factor)
        if total > 2_000_000:
            break
    for steps, most in zip(found, (SCALARS, SCALARS, HISTOGRAMS), strict=True):
        assert len(steps) <= most + 12 and steps == sorted(
            set(steps)
        )  # at the end of each session there is one


@pytest.mark.parametrize("total", [99, 149, 5000])
def test_a_session_that_goes_on_draws_what_one_would_have(total):
    session = list(points(total, validate=1))
    whole = drawn(Reservoirs(total), session)
    for cut in range(1, len(session), len(session) // 9):
        first = Reservoirs(total)
        before = drawn(first, session[:cut])
        second = Reservoirs(total)
        second.restore(first.state())
        second.begin(session[cut - 1][0])
        after = drawn(second, session[cut:])
        assert [one + other for one, other in zip(before, after, strict=True)] == list(
            whole
        )


def test_no_spike_and_no_lost_step_is_hidden_by_points_that_are_left_out():
    reservoirs, shown = Reservoirs(50_000), []
    for step in range(1, 1001):
        spike, lost = (1e6, 1.0) if step == 777 else (1.0, 0.0)
        seen = reservoirs.thinned(
            step, LogData({"grad_norm_max": spike, "nonfinite_steps": lost})
        )
        shown += [(step, *seen.scalars.values())] if seen.scalars else []
    assert len(shown) < 100 and [(1e6, 1.0)] == [
        point[1:] for point in shown if point[1:] != (1.0, 0.0)
    ]
    assert reservoirs.last() is None or reservoirs.last()[0] == 1000


@pytest.mark.parametrize("total", [500, 5000, 10**6])
def test_a_run_that_may_stop_early_has_points_wherever_it_does(total):
    reservoirs, step, train, measured = Reservoirs(total, open_ended=True), 0, [], []
    while step < total:
        step = min(thinning(64)(step), thinning(5)(step), total)
        here = step in (total, thinning(5)(step - 1))
        seen = reservoirs.thinned(
            step, LogData({"loss": 1.0} | ({"zero_grad_fraction": 0.0} if here else {}))
        )
        train += [step] * ("loss" in seen.scalars)
        measured += [step] * ("zero_grad_fraction" in seen.scalars)
    assert len(train) <= SCALARS and len(measured) <= HISTOGRAMS and train[-1] == total
    assert reservoirs.thinned(total + 1, LogData(images={"a": 1})).images == {"a": 1}, (
        "a picture comes alone"
    )
    for stopped in (40, 100, 400):
        assert sum(step <= stopped for step in train) >= min(stopped, 60)
        assert sum(step <= stopped for step in measured) >= 15


@pytest.mark.parametrize("every_steps", [1, 2, 20])
def test_validations_of_a_run_that_may_stop_early(every_steps):
    total, reservoirs, drawn = 20_000, Reservoirs(20_000, open_ended=True), ([], [])
    for step in range(every_steps, total + 1, every_steps):
        seen = reservoirs.thinned(step, LogData({"loss": 1.0, "val_loss": 1.0}))
        for steps, name in zip(drawn, ("loss", "val_loss"), strict=True):
            steps += [step] * (name in seen.scalars)
    for steps in drawn:
        assert len(steps) <= SCALARS and steps[-1] == total
        assert sum(step <= 280 for step in steps) >= min(280 // every_steps, 60)


@pytest.mark.parametrize("total", [100, 5000, 10**5])
def test_where_each_look_may_be_the_last_not_all_that_is_measured_is_drawn_but_the_end_is(
    total,
):
    reservoirs, drawn, rows = Reservoirs(2 * total, open_ended=True), [], [[0, 1, 2]]
    for step in range(7, total + 1, 7):
        seen = reservoirs.thinned(
            step,
            LogData({"loss": 1.0, "zero_grad_fraction": 0.0}, {"gradients/a": rows}),
        )
        drawn += [step] * bool(seen.histograms)
    left = reservoirs.last()
    if left and left[1].histograms:
        assert left == (step, LogData(left[1].scalars, {"gradients/a": rows}))
        drawn.append(left[0])
    assert (
        len(drawn) <= HISTOGRAMS
        and drawn[-1] == step
        and len(drawn) >= min(total // 10, 20)
    )


def test_a_picture_at_a_point_that_is_left_out_loses_nothing():
    reservoirs = Reservoirs(50_000)
    for step in (1, 2, 3):
        reservoirs.thinned(
            step,
            LogData(
                {
                    "loss": 1.0,
                    "grad_norm_max": 5.0,
                    "nonfinite_steps": 1.0,
                    "val_loss": 2.0,
                }
            ),
        )
    left = reservoirs.last()
    assert left[0] == 3 and reservoirs.thinned(3, LogData(images={"a": 1})).images == {
        "a": 1
    }
    assert reservoirs.last() == left
    assert reservoirs.thinned(
        4, LogData({"grad_norm_max": 1.0, "nonfinite_steps": 0.0})
    ).scalars == {
        "grad_norm_max": 5.0,
        "nonfinite_steps": 1.0,
    }


def test_what_is_wished_is_drawn_at_any_price():
    train, _, measured = drawn(
        Reservoirs(9000, frozenset(["training"])), points(9000, 9000, every(1))
    )
    assert len(train) == 9000 and len(measured) <= HISTOGRAMS
