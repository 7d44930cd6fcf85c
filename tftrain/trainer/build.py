"""Builds everything that a run is made of from a checked config; the only module that sees all packages."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tftrain.config.error_context import error_context
from tftrain.config.schema import Config
from tftrain.config.yaml_parser import format_error
from tftrain.core.compiled_steps import CompiledSteps
from tftrain.core.execution import choose_executor
from tftrain.core.freezing import freeze_layers
from tftrain.core.guards import LossScale, SpikeDetector
from tftrain.core.masks import mask_of
from tftrain.core.objective import KerasObjective, to_float32, with_mask
from tftrain.core.penalties import ask_penalties
from tftrain.core.state import TrainState
from tftrain.core.step import StepSpec
from tftrain.core.types import Probe, Rate
from tftrain.core.update import ParamEMA
from tftrain.core.variables import names_of
from tftrain.data.batches import take
from tftrain.data.loader import Data
from tftrain.data.number_types import FLOAT32, INTEGERS, PLAIN, Numbers
from tftrain.models import losses, serialization
from tftrain.models.layer_names import reset_layer_names
from tftrain.runtime.distribution import make_strategy, strategy_scope
from tftrain.runtime.errors import InputError
from tftrain.trainer import build_gradients
from tftrain.trainer.build_data import read_data
from tftrain.trainer.build_gradients import (
    build_gradient_method,
    build_remat,
    reporting_nondeterminism,
)
from tftrain.trainer.build_optimizer import build_optimizer, freeze
from tftrain.trainer.build_probes import build_probes
from tftrain.trainer.model_inputs import keep_whole, tell_rounded
from tftrain.trainer.post_build_checks import (
    check_profile_window,
    expect_adapted,
    expect_compilable,
    expect_plain_training,
    expect_scopes,
    warn_untracked_variables,
)
from tftrain.trainer.scoring import (
    labelled,
    open_loss,
    open_metrics,
    tell_whole_numbers,
)
from tftrain.trainer.user_code import try_probe
from tftrain.trainer.windows import split_into_windows, without_time_axis


class RunContext(NamedTuple):
    """What `build_run` returns; whoever needs a part of it is given that part alone.

    Args:
        config: the checked config.
        data: the splits, as the loss and the model take them.
        objective: the model and its loss.
        state: all variables of the run.
        step_spec: what a step is made of.
        compiled_steps: the compiled steps.
        total_steps: how many steps the run has.
        new_metrics: makes fresh metric objects: validation must not share those of training.
        strategy: a tf.distribute.Strategy, or None.
    """

    config: Config
    data: Data
    objective: KerasObjective
    state: TrainState
    step_spec: StepSpec
    compiled_steps: CompiledSteps
    total_steps: int
    new_metrics: Callable[[], list]
    strategy: Any

    @property
    def rate(self) -> Rate:
        """The learning rate."""
        return self.step_spec.rate


def build_run(config: Config) -> RunContext:
    """Open the data, build the model and compile the step; raises InputError or UserCodeError."""
    try:
        strategy = make_strategy(
            config.training.strategy, config.training.devices
        )
    except ValueError as error:
        message = f"{config.training.strategy}: {error}"
        raise InputError(
            format_error(
                config.place("training.strategy"), "training.strategy", message
            )
        ) from None
    data = _open_data(config)
    with reset_layer_names(), strategy_scope(strategy):
        return _build_parts(config, data, strategy)


def open_objective(config: Config) -> tuple[Data, KerasObjective]:
    """The data, and the model with its loss, without what trains them; raises InputError or UserCodeError."""
    data = _open_data(config)
    with reset_layer_names():
        objective, _, data = _build_objective(config, data)
        return data, objective


def _open_data(config: Config) -> Data:
    keras.utils.set_random_seed(config.training.seed)
    data = read_data(config)
    tell_whole_numbers(config, data)
    data = _fit_data(config, data)
    keras.utils.set_random_seed(
        config.training.seed
    )  # data that is prepared once draws numbers only then
    return data


def _fit_data(config: Config, data: Data) -> Data:
    """The data as the loss and the gradient method take it."""
    return split_into_windows(config, labelled(config, data))


def _build_objective(
    config: Config, data: Data
) -> tuple[KerasObjective, tf.Tensor, Data]:
    """With the outputs for the sample, and the data as the model takes it; what the config freezes is frozen."""
    model, outputs, data = _build_model(config, data)
    loss, to_metrics, rank = open_loss(config, data, model, outputs)
    freeze(config.optimizer, model.trainable_variables, names_of(model))
    freeze_layers(model)
    outputs = with_mask(loss, data.sample.y, outputs)
    with error_context(config.model, "model"):
        penalties = ask_penalties(model, data.sample.x)
    options = {
        "masks": mask_of(outputs) is not None,
        "loss_rank": rank,
        "penalties": penalties,
    }
    return KerasObjective(model, loss, to_metrics, **options), outputs, data


def _build_parts(config: Config, data: Data, strategy: Any) -> RunContext:
    objective, outputs, data = _build_objective(config, data)
    model = objective.model

    def new_metrics() -> list:
        return open_metrics(config, data, objective, outputs)

    def trial(probe: Probe) -> Any:
        return try_probe(probe, objective, names.trained, data.sample)

    epoch = data.train.steps_per_epoch
    check_profile_window(config, total_steps(config, epoch))
    names = names_of(model)
    optimizer = build_optimizer(config.optimizer, names, epoch)
    clip = build_gradients.build_clipping(
        config.gradients.clip, names, objective.params
    )
    loss_scale = (
        LossScale() if config.training.precision == "mixed_float16" else None
    )
    averages = (
        ParamEMA(objective.params, config.training.ema)
        if config.training.ema
        else None
    )
    method, carry = build_gradient_method(config, objective, data, loss_scale)
    step_spec = StepSpec(
        objective,
        method,
        clip,
        optimizer.rate,
        new_metrics(),
        optimizer.shares,
        build_remat(config, model, carry),
    )
    probes = build_probes(config.log, names, trial)
    spike = config.training.spike_factor
    norm_range = SpikeDetector(None if spike == "never" else spike)
    with error_context(config.model, "model"), reporting_nondeterminism(config):
        state = TrainState(
            model,
            optimizer.keras,
            step_spec.transform,
            step_spec.rate,
            metrics=step_spec.metrics,
            loss_scale=loss_scale,
            averages=averages,
            carry=carry,
            norm_range=norm_range,
        )
        compiled_steps = _compile_steps(config, state, step_spec, data, probes)
    expect_compilable(config, compiled_steps.compiled, data.sample)
    return RunContext(
        config,
        data,
        objective,
        state,
        step_spec,
        compiled_steps,
        total_steps(config, epoch),
        new_metrics,
        strategy,
    )


def _compile_steps(
    config: Config,
    state: TrainState,
    step_spec: StepSpec,
    data: Data,
    probes: list[Probe],
) -> CompiledSteps:
    first_example = take(data.sample, slice(1)).x
    return CompiledSteps(
        state,
        step_spec,
        data.train,
        probes,
        executor=choose_executor(state.model, first_example, data.batch_size),
        jit_compile=config.training.jit_compile,
    )


def total_steps(config: Config, steps_per_epoch: int) -> int:
    """Return how many steps a run has.

    Args:
        config: that of the run.
        steps_per_epoch: of the training split.
    """
    training = config.training
    return training.steps or training.epochs * steps_per_epoch


def _build_model(
    config: Config, data: Data
) -> tuple[keras.Model, tf.Tensor, Data]:
    """The built model, its outputs for the sample, and the data with the types of numbers that it takes."""
    part = config.model
    outputs = _output_count(config, data)
    with error_context(part, "model"):
        model, output, data = _call_model(config, data, outputs)
        warn_untracked_variables(model)
        output = tf.nest.map_structure(to_float32, output)
        if not isinstance(output, tf.Tensor):
            raise InputError(
                format_error(
                    part.place,
                    "model",
                    f"{part.name} gives several outputs; expected one",
                )
            )
    misfit = losses.output_mismatch(
        config.loss.target, tuple(output.shape[1:]), data.facts
    )
    if misfit:
        raise InputError(
            format_error(part.place, "model", f"{part.name} {misfit}")
        )
    return model, output, data


def _call_model(
    config: Config, data: Data, outputs: int
) -> tuple[keras.Model, Any, Data]:
    """A model, called with the sample in the first types of numbers that it computes with, and the data in these."""
    failure: Exception | None = None
    for form in _number_forms(data):
        cast_data = (
            data if form is PLAIN else _fit_data(config, data.cast_for(form))
        )
        try:
            with (
                contextlib.nullcontext()
                if failure is None
                else reset_layer_names()
            ):
                model, output = _build_and_call(config, cast_data, outputs)
        except InputError:
            raise
        except (
            Exception
        ) as error:  # whatever a model raises of types it does not compute with
            failure = failure or error
            keras.utils.set_random_seed(config.training.seed)
            continue
        if form is FLOAT32:
            for name in data.large:
                tell_rounded(
                    name, f"{config.model.name} computes with float32 alone"
                )
        elif keep_whole(model, cast_data.sample.x, cast_data.large):
            with _using_precision(config.training.precision):
                output = model(
                    tf.nest.map_structure(
                        tf.convert_to_tensor, cast_data.sample.x
                    ),
                    training=False,
                )
        return model, output, cast_data
    raise failure


def _number_forms(data: Data) -> tuple[Numbers, ...]:
    return (PLAIN, INTEGERS, FLOAT32) if data.has_whole else (PLAIN,)


def _build_and_call(
    config: Config, data: Data, outputs: int
) -> tuple[keras.Model, Any]:
    """The model and its outputs for the sample; a subclassed model is built by that call."""
    facts, part = without_time_axis(config, data.facts), config.model
    with _using_precision(config.training.precision):
        known = {
            "input_shape": facts.input_shape,
            "classes": facts.classes,
            "outputs": outputs,
        }
        shape = losses.shape_needed(outputs, facts)
        model_arguments = part.call_arguments(
            **known, output_shape=shape, trust=config.trust
        )
        model = part.function()(**model_arguments)
        if not isinstance(model, keras.Model):
            raise InputError(
                format_error(
                    part.place,
                    "model",
                    f"{part.name} gave a {type(model).__name__}; expected a keras.Model",
                )
            )
        expect_plain_training(part, model)
        expect_scopes(part, model)
        expect_adapted(part, model)
        output = model(
            tf.nest.map_structure(tf.convert_to_tensor, data.sample.x),
            training=False,
        )
    serialization.attach_config(model, model_arguments)
    return model, output


@contextlib.contextmanager
def _using_precision(policy: str) -> Iterator[None]:
    """Layers made inside compute in it."""
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous)


def _output_count(config: Config, data: Data) -> int:
    """How many values the model should give for each example."""
    try:
        return losses.outputs_needed(config.loss.target, data.facts)
    except ValueError as error:
        raise InputError(
            format_error(
                config.loss.place, "loss", f"{config.loss.name}: {error}"
            )
        ) from None
