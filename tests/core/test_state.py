import keras
import pytest
import tensorflow as tf

from tftrain.core.state import TrainState
from tftrain.core.types import Transform
from tftrain.core.variables import assign_values, read_values
from tftrain.optim.schedules import constant
from tftrain.optim.transforms import chain


def test_every_variable_once_under_a_stable_name(house):
    first, second = house.small_run(), house.small_run()
    named = first.state.variables_by_name()
    assert list(named) == list(
        second.state.variables_by_name()
    )  # though Keras calls the layers dense_2 by then
    assert len({id(variable) for variable in named.values()}) == len(named)
    expected = [
        *first.model.variables,
        *first.state.optimizer.variables,
        *first.metrics[0].variables,
    ]
    assert {id(variable.value) for variable in expected} <= {
        id(variable) for variable in named.values()
    }
    assert "model/006_seed_generator_state" in named
    assert list(named)[-1] == "step"


def test_transform_state_is_held_as_variables():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    counting = Transform(
        lambda params: {
            "seen": tf.constant(0),
            "sizes": [tf.zeros(param.shape) for param in params],
        },
        lambda grads, state, params: (grads, state, {}),
    )
    state = TrainState(
        model,
        keras.optimizers.SGD(),
        chain([("counting", counting)]),
        constant(0.1),
        carry=tf.ones(3),
    )
    assert {
        "transform/000",
        "transform/001",
        "transform/002",
        "carry/000",
    } <= set(state.variables_by_name())
    (values,) = read_values(state.transform)
    assign_values(
        state.transform,
        ({"seen": values["seen"] + 2, "sizes": values["sizes"]},),
    )
    assert state.transform[0]["seen"].numpy() == 2


def test_nothing_to_train():
    model = keras.Sequential([keras.layers.Dense(1)], name="unbuilt")
    with pytest.raises(
        ValueError,
        match="the model 'unbuilt' has no trainable variables: is it built",
    ):
        TrainState(model, keras.optimizers.SGD(), chain([]), constant(0.1))
