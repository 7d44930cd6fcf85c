from tftrain.core.loop import StepsPerCall


def lengths(pace, seconds_per_step, calls):
    seen = []
    for _ in range(calls):
        seen.append(pace.steps)
        pace.adapt(pace.steps, seconds_per_step * pace.steps)
    return seen


def test_calls_grow_while_quick_and_shrink_when_slow():
    assert lengths(StepsPerCall("auto"), 0.01, 8) == [
        1,
        2,
        4,
        8,
        16,
        32,
        32,
        32,
    ]
    pace = StepsPerCall("auto")
    pace.steps = 64
    assert lengths(pace, 0.01, 3) == [64, 32, 32]


def test_a_call_that_was_cut_short_says_nothing_of_longer_ones():
    pace = StepsPerCall("auto")
    pace.adapt(1, 0.01)
    pace.adapt(1, 0.01)  # two were allowed
    assert pace.steps == 2


def test_a_given_length_stays_after_the_call_that_sets_up_the_graph():
    assert lengths(StepsPerCall(7), 0.001, 5) == [1, 7, 7, 7, 7]
