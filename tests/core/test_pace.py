from tftrain.core.executor import DEFAULT, SERIAL
from tftrain.core.pace import LOOKS, Pace


def run(pace, seconds, calls, left=10**6):
    """The executors and lengths of some calls; `seconds(executor, steps)` of each."""
    seen = []
    for _ in range(calls):
        seen.append((pace.executor, pace.steps))
        pace.adapt(pace.steps, seconds(pace.executor, pace.steps), left)
    return seen


def test_calls_grow_while_quick_and_shrink_when_slow():
    assert [steps for _, steps in run(Pace("auto"), lambda _, steps: 0.01 * steps, 8)] == [1, 2, 4, 8, 16, 32, 32, 32]
    pace = Pace("auto")
    pace.steps = 64
    assert [steps for _, steps in run(pace, lambda _, steps: 0.01 * steps, 3)] == [64, 32, 32]


def test_a_given_length_stays():
    assert {steps for _, steps in run(Pace(7), lambda _, steps: 0.001, 5)} == {7}


def test_the_faster_executor_is_found_whatever_its_first_call_costs():
    def seconds(faster):
        first = {DEFAULT: 0.5, SERIAL: 3.0}  # that sets it up
        return lambda executor, steps: first.pop(executor, 0) + steps * (0.001 if executor == faster else 0.002)

    for faster in (DEFAULT, SERIAL):
        pace = Pace("auto", may_choose=True)
        seen = [executor for executor, _ in run(pace, seconds(faster), 60)]
        assert seen[0] == DEFAULT and seen.count(SERIAL) >= LOOKS + 1
        assert set(seen[40:]) == {faster}


def test_a_short_run_tries_nothing():
    pace = Pace("auto", may_choose=True)
    first = iter([1.0])
    assert {executor for executor, _ in run(pace, lambda _, steps: next(first, 0.001 * steps), 30, left=100)} == {
        DEFAULT
    }


def test_where_there_is_no_choice_none_is_made():
    assert {executor for executor, _ in run(Pace("auto"), lambda _, steps: 0.01 * steps, 60)} == {DEFAULT}
