import pytest

from tftrain.core.schedule import (
    NextEvent,
    Schedule,
    doubling_then_every,
    every,
    thinning,
)
from tftrain.core.types import LogData


def points_of(cadence, last):
    steps = [0]
    while steps[-1] < last:
        steps.append(cadence(steps[-1]))
    return steps[1:]


def test_every():
    assert points_of(every(3), 9) == [3, 6, 9]
    assert every(3)(4) == 6


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (1, [1, 2, 3, 4]),
        (8, [1, 2, 4, 8, 16, 24, 32]),
        (10, [1, 2, 4, 8, 16, 20, 30, 40]),
        (3, [1, 2, 4, 6, 9]),
    ],
)
def test_doubling_then_every(steps, expected):
    assert points_of(doubling_then_every(steps), expected[-1]) == expected


def test_the_soonest_is_due_and_the_last_step_for_all_but_checkpoints():
    view, other = (lambda step: LogData()), (lambda step: LogData())
    plan = Schedule(
        10,
        every(4),
        every(6),
        ((every(3), view), (every(100), other)),
        every(4),
    )
    assert plan.due_after(0) == NextEvent(3, False, False, (view,), False)
    assert plan.due_after(3) == NextEvent(4, True, False, (), True)
    assert plan.due_after(4) == NextEvent(6, False, True, (view,), False)
    assert plan.due_after(9) == NextEvent(10, True, True, (view, other), False)
    assert Schedule(10, every(100)).due_after(0) == NextEvent(
        10, True, False, (), False
    )


def test_a_call_ends_at_each_cut():
    plan = Schedule(30, every(10), cuts=(4, 12))
    ends = []
    while not ends or ends[-1] < 30:
        step = ends[-1] if ends else 0
        ends.append(
            step + plan.call_after(step, 7, each_point=False)[-1][0].end
        )
    assert ends == [4, 11, 12, 19, 26, 30]
    assert [
        due.step for _, due in plan.call_after(4, 100, each_point=False)
    ] == [
        10,
        20,
    ]
    assert [
        stretch.end for stretch, _ in plan.call_after(4, 100, each_point=False)
    ] == [6, 8]


def test_thinning_is_spread_over_a_run_wherever_it_ends():
    assert points_of(thinning(2), 20) == [1, 2, 3, 4, 6, 8, 12, 16, 24]
    for steps, most, total in (
        (64, 1000, 10**6),
        (5, 100, 10**6),
        (5, 100, 42),
    ):
        found = points_of(thinning(steps), total)[:-1]
        middle = [step for step in found if step > total / 2]
        assert len(found) <= most and len(middle) >= steps // 2
        assert (
            len(
                {
                    after - before
                    for before, after in zip(
                        middle[:-1], middle[1:], strict=True
                    )
                }
            )
            <= 2
        )
    # A step between two points, such as that of a validation, does not move those after it.
    assert [thinning(2)(step) for step in (8, 9, 10, 11)] == [12] * 4
