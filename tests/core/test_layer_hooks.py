import ast
from pathlib import Path

import keras
import pytest
import tensorflow as tf

import tftrain
from tftrain.core.freezing import as_made, freeze_layers
from tftrain.core.layer_calls import recording_enabled
from tftrain.core.layer_hooks import (
    all_layers,
    patched_attribute,
    replace_attribute,
    restore_attribute,
)
from tftrain.core.objective import masks_given
from tftrain.core.recurrent import (
    first_carry,
    recurrent_layers,
    stateful_calls,
    truncated_calls,
    unrolled,
)
from tftrain.core.remat import RematSpec, rematerialized
from tftrain.core.replication import taking_sums
from tftrain.core.update import fused_kernels
from tftrain.diagnostics.layer_trace import record_calls

PACKAGE = Path(tftrain.__file__).parent
HOOKS = PACKAGE / "core" / "layer_hooks.py"

# Variables that hold live Keras objects in the package.
LIVE = {
    "layer",
    "inner",
    "child",
    "member",
    "cell",
    "model",
    "functional",
    "loss",
}
# Attributes that wrappers replace, of whatever variable.
WRAPPED = {
    "call",
    "inner_loop",
    "_trainable",
    "update_step",
    "get_config",
    "_run_through_graph",
}
# What `setattr` may be called with elsewhere: nothing of these is a layer.
NO_LAYERS = {"sys", "self", "optimizer"}


def last_name(node):
    """`layer` of `layer` and of `self.layer`."""
    return getattr(node, "id", getattr(node, "attr", ""))


def is_vars_of_object(node):
    """Whether it is `vars(something)`, apart from the namespace of the command line, or `something.__dict__`."""
    if isinstance(node, ast.Attribute):
        return node.attr == "__dict__"
    is_call = isinstance(node, ast.Call) and last_name(node.func) == "vars"
    return is_call and last_name(node.args[0]) != "namespace"


def replaces_attribute(node):
    """Whether a node of a syntax tree assigns to an attribute of an object that may be a layer."""
    if isinstance(node, ast.Attribute) and isinstance(
        node.ctx, ast.Store | ast.Del
    ):
        holder = last_name(node.value)
        return holder != "self" and (holder in LIVE or node.attr in WRAPPED)
    if isinstance(node, ast.Subscript) and isinstance(
        node.ctx, ast.Store | ast.Del
    ):
        return is_vars_of_object(node.value)
    if not isinstance(node, ast.Call):
        return False
    name = last_name(node.func)
    if name in ("setattr", "delattr", "__setattr__", "__delattr__"):
        return not node.args or last_name(node.args[0]) not in NO_LAYERS
    if name in ("update", "pop", "setdefault", "clear"):
        return isinstance(node.func, ast.Attribute) and is_vars_of_object(
            node.func.value
        )
    return False


def replacements(source):
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if replaces_attribute(node)
    ]


def test_layers_are_patched_in_one_module():
    places = [
        f"{file.relative_to(PACKAGE)}:{line}"
        for file in sorted(PACKAGE.rglob("*.py"))
        if file != HOOKS
        for line in replacements(file.read_text(encoding="utf-8"))
    ]
    assert places == []
    assert replacements(HOOKS.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "source",
    [
        "layer.call = f",
        "thing.call = f",
        "self.model.trainable = False",
        "a, model.x = 1, 2",
        "setattr(layer, name, f)",
        "object.__setattr__(layer, 'call', f)",
        "vars(layer)['call'] = f",
        "vars(layer).update(call=f)",
        "layer.__dict__['call'] = f",
        "del layer.call",
    ],
)
def test_a_replaced_attribute_is_seen(source):
    assert replacements(source) == [1]


@pytest.mark.parametrize(
    "source",
    [
        "self.call = f",
        "self.layer = layer",
        "layer.call(x)",
        "vars(layer).get('call')",
    ],
)
def test_other_statements_pass(source):
    assert replacements(source) == []


class Answer:
    def call(self):
        return 1


def test_an_attribute_is_the_class_s_again_after_the_block():
    first, second = Answer(), Answer()
    second.call = None
    with patched_attribute([first, second], lambda _: lambda: 2):
        assert first.call() == second.call() == 2
        with patched_attribute(
            [first], lambda item: lambda: item.call_below() + 1
        ):
            assert "call" in vars(first)
        assert first.call() == 2
    assert vars(first) == {}
    assert vars(second) == {"call": None}


def test_an_object_named_twice_is_wrapped_once():
    answer, calls = Answer(), []

    def wrap(item):
        calls.append(item)
        return lambda: 2

    with patched_attribute([answer, answer], wrap):
        assert calls == [answer]
    assert vars(answer) == {}


def test_nothing_stays_where_a_wrapper_cannot_be_made():
    first, second = Answer(), Answer()

    def wrap(item):
        return {first: print}[item]

    with pytest.raises(KeyError), patched_attribute([first, second], wrap):
        pass
    assert vars(first) == vars(second) == {}


def test_restoring_twice_does_nothing():
    answer = Answer()
    replace_attribute(answer, "call", lambda: 2)
    restore_attribute(answer, "call")
    restore_attribute(answer, "call")
    assert answer.call() == 1


def attributes(objects):
    """The attributes that wrappers replace, of the objects themselves: those of their classes are not among them."""
    names = [
        *WRAPPED - {"_trainable"},
        "activation",
        "_all_reduce_sum_gradients",
    ]
    return [{name: vars(item).get(name) for name in names} for item in objects]


def contexts():
    """Each context manager of the core and of the diagnostics that puts wrappers on."""
    return {
        "recorded": lambda model, optimizer, loss: recording_enabled(model),
        "layers again": lambda model, optimizer, loss: rematerialized(
            RematSpec(model.layers)
        ),
        "unrolled": lambda model, optimizer, loss: unrolled(model),
        "truncated": lambda model, optimizer, loss: truncated_calls(
            recurrent_layers(model), 2
        ),
        "masks": lambda model, optimizer, loss: masks_given(loss),
        "calls recorded": lambda model, optimizer, loss: record_calls(model),
        "fused": lambda model, optimizer, loss: fused_kernels(optimizer, 0.1),
        "sums": lambda model, optimizer, loss: taking_sums(optimizer),
        "as made": lambda model, optimizer, loss: as_made(model),
    }


@pytest.fixture(scope="module")
def live():
    model = keras.Sequential(
        [
            keras.Input((4, 3)),
            keras.layers.LSTM(2),
            keras.layers.Dense(2, "relu"),
            keras.layers.Dense(1),
        ]
    )
    for variable in model.layers[1].variables:
        variable.trainable = False
    freeze_layers(model)
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)
    return model, optimizer, keras.losses.MeanSquaredError()


@pytest.mark.parametrize("name", contexts())
@pytest.mark.parametrize("raising", [False, True])
def test_each_context_takes_its_wrappers_off(name, raising, live):
    model, optimizer, loss = live
    objects = [*all_layers(model), optimizer, loss]
    before = (
        attributes(objects),
        [layer.trainable for layer in all_layers(model)],
    )
    changed = False
    try:
        with contexts()[name](model, optimizer, loss):
            now = (
                attributes(objects),
                [layer.trainable for layer in all_layers(model)],
            )
            changed = now != before
            if raising:
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert changed
    after = (
        attributes(objects),
        [layer.trainable for layer in all_layers(model)],
    )
    assert after == before


def test_states_that_go_on_take_their_wrappers_off(live):
    model = live[0]
    layers = recurrent_layers(model)
    before = attributes(layers)
    states = first_carry(layers, 2).states
    with stateful_calls(layers, states, tf.constant([True, False])):
        assert attributes(layers) != before
        model(tf.zeros([2, 4, 3]))
    assert attributes(layers) == before


RUN = """
model: {name: mlp, hidden: [16, 8], dropout: 0.2, batch_norm: true}
data: {name: wine, validation: 0.2, preprocess: standardize}
optimizer: adamw
training: {epochs: 1, seed: 3}
log: {histograms_every: 2, histograms: [gradients, activations]}
"""


def test_after_a_run_the_layers_have_their_own_methods(tmp_path):
    (tmp_path / "small.yaml").write_text(RUN)
    finished = tftrain.train(
        tftrain.load(tmp_path / "small.yaml"), tmp_path / "run"
    )
    for layer in all_layers(finished.model):
        assert "_trainable" in vars(layer)
        assert not (WRAPPED - {"_trainable", "get_config"}) & set(vars(layer))
