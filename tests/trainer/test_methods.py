"""Losses whose pieces cannot be put together, and what the gradient method calls the parameters."""

from __future__ import annotations

import re

import pytest

from tftrain.runtime.errors import InputError
from tftrain.trainer.build import build_run

HEAD = "data: {name: iris, batch_size: 30}\noptimizer: sgd\n"


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (
            "losses:Squared",
            "loss: losses:Squared gave a Squared, of which nobody knows how it adds up for gradients",
        ),
        (
            "losses:Plain",
            "loss: losses:Plain gave a Plain, of which nobody knows how it adds up for gradients",
        ),
        (
            "losses:squared",
            "loss: losses:squared gave a function, of which nobody knows how it adds up for gradients",
        ),
    ],
)
def test_a_loss_that_tells_nothing_of_its_examples(desk, loss, message):
    text = "data: {name: xor, batch_size: 4}\noptimizer: sgd\nmodel: mlp\ngradients: {accumulate_steps: 2}\n"
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        build_run(desk.load(f"{text}loss: {loss}\n"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize(
    "loss", ["losses:mean_of_all", "losses:of_outputs", "dice", "circle"]
)
def test_what_joins_the_examples_of_a_batch_is_not_put_together_from_pieces(
    desk, monkeypatch, loss, devices
):
    spread = (
        "gradients: {accumulate_steps: 2}"
        if devices == 1
        else "training: {strategy: mirrored}"
    )
    monkeypatch.setattr(
        "tftrain.trainer.build_gradients.replication.count", lambda: devices
    )
    text = "data: {name: large_features, batch_size: 4}\noptimizer: sgd\nmodel: mlp\n"
    where = spread.partition(":")[0] + (
        ".accumulate_steps" if "accumulate" in spread else ".strategy"
    )
    said = f"{loss} gives no number for each example by itself, as {where} needs it"
    with pytest.raises(
        InputError,
        match=f"config.yaml:4:7: loss: {said}: pieces .*expected such numbers",
    ):
        build_run(desk.load(f"{text}loss: '{loss}'\n{spread}\n"))
    monkeypatch.setattr(
        "tftrain.trainer.build_gradients.replication.count", lambda: 1
    )
    build_run(desk.load(f"{text}loss: '{loss}'\n"))
    build_run(desk.load(f"{text}loss: 'losses:each'\n{spread}\n"))


def test_a_loss_that_takes_no_weights_is_told_before_training(desk):
    with pytest.raises(
        InputError,
        match="config.yaml:4:7: loss: losses:Unweighted: .* argument 'sample_weight'",
    ):
        build_run(
            desk.load(
                "data: {name: large_features, batch_size: 4}\noptimizer: sgd\nmodel: mlp\nloss: 'losses:Unweighted'\n"
            )
        )


def test_unreached_parameters_are_told_by_their_names(desk):
    with pytest.warns(
        UserWarning,
        match="does not depend on 000.spare/kernel, 000.spare/bias: no training there",
    ):
        build_run(desk.load(f"{HEAD}model: 'unreached:Partly'\n"))
    names = "000.spare/kernel, 000.spare/bias, 001.last/kernel, 001.last/bias"
    said = f"config.yaml:3:8: model: unreached:Never: the loss depends on none of the model's parameters: {names}"
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        build_run(desk.load(f"{HEAD}model: 'unreached:Never'\n"))


@pytest.mark.parametrize("method", ["numeric", "forward"])
def test_a_loss_that_draws_anew_is_not_for_methods_of_many_passes(desk, method):
    layers = "[LAYER, {name: dense, units: 3}]"
    text = f"{HEAD}gradients: {{method: {method}}}\nmodel: {{name: sequential, layers: {layers}}}\n"
    said = f"config.yaml:3:21: gradients.method: given {method}, but the loss of a batch is .* in blended .Blended. "
    with pytest.raises(InputError, match=f"^{said}.*SeedGenerator") as caught:
        build_run(desk.load(text.replace("LAYER", "'gradients:Blended'")))
    assert "\n" not in str(caught.value)
    for kind in (
        "{name: 'gradients:Blended', seeded: true}",
        "'gradients:Shared'",
        "{name: dropout, rate: 0.5}",
    ):
        build_run(desk.load(text.replace("LAYER", kind)))
    build_run(
        desk.load(
            text.replace("LAYER", "'gradients:Blended'"),
            "gradients.method=backprop",
        )
    )


@pytest.mark.parametrize("method", ["numeric", "forward"])
def test_a_cell_that_draws_at_each_time_step_is_not_for_methods_of_many_passes(
    desk, method
):
    text = (
        f"{HEAD}gradients: {{method: {method}}}\nmodel: 'gradients:forgetful'\n"
    )
    said = f"config.yaml:3:21: gradients.method: given {method}, but the loss of a batch is .* reader .RNN. draws other"
    with pytest.raises(InputError, match=f"^{said}.*at each time step"):
        build_run(desk.load(text))
    build_run(desk.load(text, "gradients.method=backprop"))
