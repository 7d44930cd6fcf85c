import numpy as np
import pytest
import tensorflow as tf

from tftrain.config.component import Component
from tftrain.config.keras_objects import with_autograph
from tftrain.core.types import Rate, Transform


def halved_while_long(grads, state, params):
    [grad] = grads
    while tf.norm(grad) > 1.0:  # plain Python on a tensor
        grad = grad / 2
    if state > 0:
        state = state - 1
    return [grad], state, {}


@pytest.mark.parametrize("autograph", [False, True])
def test_conditions_and_loops_on_tensors_are_followed_in_a_graph(autograph):
    clip = with_autograph(
        Transform(lambda params: tf.constant(1), halved_while_long)
    )

    @tf.function(autograph=autograph)
    def run(grad, state):
        return clip.update([grad], state, [])

    [grad], state, _ = run(tf.constant([3.0, 4.0]), tf.constant(1))
    np.testing.assert_array_equal(grad, [0.375, 0.5])
    assert int(state) == 0 and int(clip.init([])) == 1


def test_outside_of_a_graph_a_function_runs_as_it_is():
    assert with_autograph(lambda step: 2.0 if step > 1 else 3.0)(5) == 2.0
    frames = []

    def raising(step):
        raise KeyError("mine")

    with pytest.raises(KeyError) as caught:
        with_autograph(raising)(1)
    frames = [entry.path.name for entry in caught.traceback]
    assert not any("autograph" in name for name in frames)


def test_what_is_no_function_stays_as_it_is():
    rate = Rate(
        lambda: (),
        lambda state, step, norm: (norm, state),
        heed=halved_while_long,
    )
    assert (
        with_autograph(rate).heed is halved_while_long
        and with_autograph(rate).init is rate.init
    )
    assert (
        with_autograph(None) is None
        and with_autograph(0.5) == 0.5
        and with_autograph(("a", "b")) == ("a", "b")
    )


@pytest.mark.parametrize(
    "kind, name", [("schedule", "speeds:sawtooth"), ("clip", "clips:choosy")]
)
def test_users_parts_that_run_in_the_graph_are_followed(own_parts, kind, name):
    made = Component(kind, name, name).build(names=[])
    assert (
        made.update if kind == "clip" else made
    ).__module__ == "tftrain.config.keras_objects"


def test_our_own_parts_are_not():
    made = Component(
        "clip", "value", "tftrain.optim.clipping:clip_value", {"limit": 1.0}
    ).build()
    assert made.update.__module__ == "tftrain.optim.clipping"
