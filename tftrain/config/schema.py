"""The schema of a config: one record per YAML section, each field with its meaning and unit."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

from tftrain.config.field_types import (
    AboveOne,
    Clip,
    ComponentOf,
    Decay,
    Duration,
    DurationType,
    ListOrItem,
    Method,
    Metric,
    NonNegativeFloat,
    NonNegativeInt,
    Pattern,
    Picture,
    PositiveInt,
    Preprocess,
    Probe,
    Section,
    Seed,
    Share,
    field,
)
from tftrain.config.yaml_parser import SourceLocation

DEFAULT_EPOCHS = 10


@Section
class Data:
    """The data set, and how its examples are split, prepared and put into batches."""

    source: Annotated[Any, ComponentOf("data")] = field(
        "the data set, by `name:` with its arguments beside it"
    )
    batch_size: PositiveInt | Literal["full"] = field(
        "examples per step; 'full' is the whole training split", 32
    )
    shuffle: bool = field(
        "a new seeded order of the training examples in every epoch", True
    )
    validation: Share = field(
        "share of all examples held out for validation", 0.0
    )
    test: Share = field(
        "share of all examples held out for the final test", 0.0
    )
    split: Literal["auto", "shuffled", "stratified", "tail"] = field(
        "how these are drawn: shuffled, stratified by class, or tail, the last examples of a series; auto shuffles, "
        "and stratifies where a part would lack a class",
        "auto",
    )
    groups: str | NonNegativeInt | None = field(
        "the feature (a key, or the name or number of a column) that says which examples stay together in one split; "
        "it is not trained on",
        None,
    )
    split_seed: Seed = field(
        "seed of the split (scikit-learn's random_state)", 0
    )
    drop_remainder: bool = field(
        "leave out the short last batch of an epoch", False
    )
    preprocess: Annotated[list[Preprocess], ListOrItem()] = field(
        "changes of the examples, in order", ()
    )
    shuffle_buffer: PositiveInt = field(
        "examples shuffled together when data is streamed", 10_000
    )
    cache: bool = field(
        "keep streamed examples in memory after the first epoch", False
    )


@Section
class Gradients:
    """How gradients are found, and what is done to them before the update."""

    method: Method = field("the way to get the gradients", "backprop")
    clip: Annotated[list[Clip], ListOrItem()] = field(
        "bounds on the gradients, applied in order", ()
    )
    accumulate_steps: PositiveInt = field(
        "pieces of a batch that are worked on one after the other, to save memory",
        1,
    )
    remat: bool | Pattern = field(
        "keep no activations within layers for the backward pass, but compute them again there, to save memory: true "
        "chooses, a regular expression is looked for in the layers' names",
        False,
    )


@Section
class EarlyStopping:
    """Ends the run when a logged scalar stops getting better."""

    monitor: str = field(
        "the logged scalar to watch, such as val_loss", "val_loss"
    )
    patience: PositiveInt = field(
        "looks without an improvement after which the run ends", 10
    )
    min_delta: NonNegativeFloat = field(
        "the least change that counts as an improvement", 0.0
    )
    mode: Literal["auto", "min", "max"] = field(
        "whether less or more is better; auto goes by the name", "auto"
    )


@Section
class Training:
    """How long, with which seed, and when to look."""

    epochs: PositiveInt | None = field(
        f"passes over the training split; {DEFAULT_EPOCHS} where neither this nor `steps` is given",
        None,
    )
    steps: PositiveInt | None = field("updates, in place of `epochs`", None)
    seed: Seed = field(
        "seed of weights, shuffling, dropout and augmentation", 0
    )
    validate_every: Duration = field("time between two validations", "1 epoch")
    early_stopping: EarlyStopping | None = field(
        "end the run when a scalar stops getting better", None
    )
    steps_per_call: PositiveInt | Literal["auto"] = field(
        "steps in one graph call; auto finds out", "auto"
    )
    jit_compile: bool = field(
        "compile the step by XLA: takes its time at first, may save time after that",
        False,
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = field(
        "what layers compute in; weights, losses and gradients are float32 in any case",
        "float32",
    )
    ema: Decay | None = field(
        "decay of the weights' moving average, which validation and the saved model then use",
        None,
    )
    strategy: Literal[
        "default", "one_device", "mirrored", "multi_worker", "tpu"
    ] = field("how the work is spread over devices (tf.distribute)", "default")
    devices: PositiveInt | None = field(
        "devices of `mirrored`; all GPUs where it is not given", None
    )
    on_bad_step: Literal["stop", "skip", "rewind"] = field(
        "after a NaN, an Inf or a spike, whose update is never applied; rewind goes back to the last checkpoint",
        "stop",
    )
    spike_factor: AboveOne | Literal["never"] = field(
        "how many times the recent gradient norms are too many", 1000.0
    )


@Section
class Log:
    """What is written to TensorBoard and metrics.jsonl, and how often."""

    scalars: Annotated[Any, DurationType(("auto",))] = field(
        "time between two points of every curve of training", "auto"
    )
    histograms: Annotated[
        list[Literal["gradients", "weights", "updates", "activations"]],
        ListOrItem(),
    ] = field("what there are histograms of", ("gradients",))
    histograms_every: Annotated[Any, DurationType(("auto", "never"))] = field(
        "time between two sets of histograms, and of the figures of weights, updates and activations; auto goes with "
        "`scalars` where that is given",
        "auto",
    )
    histogram_axis: Annotated[list[Literal["log10", "value"]], ListOrItem()] = (
        field(
            "x axes of histograms of gradients and updates: log10|g|, g, or both",
            ("log10",),
        )
    )
    probes: Annotated[list[Probe], ListOrItem()] = field(
        "what else is measured, as often as `histograms_every` says", ()
    )
    plots: Annotated[list[Picture], ListOrItem()] = field(
        "what is drawn, before training, during it and at its end", ()
    )
    console: Annotated[Any, DurationType(("auto",))] = field(
        "time between two lines on the terminal", "auto"
    )
    graph: bool = field("write the graph of the plain step", True)
    profile: tuple[PositiveInt, PositiveInt] | None = field(
        "the first and the last step of a trace by TensorFlow's profiler", None
    )


@Section
class Checkpoint:
    """What is kept of the run's state."""

    every: Annotated[Any, DurationType(("auto", "never"))] = field(
        "time between two checkpoints, auto is an epoch or a twentieth of the run; the last is always kept",
        "auto",
    )
    max_to_keep: PositiveInt = field(
        "how many of the newest checkpoints stay", 2
    )
    best: str | None = field(
        "logged scalar whose best checkpoint is kept; auto is val_loss if there is one",
        "auto",
    )
    mode: Literal["auto", "min", "max"] = field(
        "whether less or more is better; auto goes by the name", "auto"
    )
    restore_best: bool = field(
        "end with the best weights in place of the last", False
    )


@Section
class Config:
    """A whole training run."""

    model: Annotated[Any, ComponentOf("model")] = field("the network")
    data: Data = field("the data")
    loss: Annotated[Any, ComponentOf("loss")] = field(
        "what training makes small; auto goes by the targets", "auto"
    )
    metrics: Annotated[list[Metric], ListOrItem()] | Literal["auto"] = field(
        "what is reported beside the loss; auto is accuracy where targets are classes",
        "auto",
    )
    optimizer: Annotated[Any, ComponentOf("optimizer")] = field(
        "the rule for the update"
    )
    gradients: Gradients = field("gradients and their clipping", Gradients())
    training: Training = field("length, seed and looks", Training())
    log: Log = field("what is written, and how often", Log())
    checkpoint: Checkpoint = field("what is kept", Checkpoint())
    source: str = dataclasses.field(
        default="config", metadata={"hidden": True}
    )  # the name of the file it came from
    trust: bool = dataclasses.field(
        default=False, metadata={"hidden": True}, compare=False
    )  # in saved models' code
    places: dict[str, SourceLocation] = dataclasses.field(
        default_factory=dict,
        metadata={"hidden": True},
        compare=False,
        repr=False,
    )

    def place(self, path: str) -> SourceLocation:
        """Where the value at a key path stands, or the innermost mapping that it would stand in."""
        while path and path not in self.places:
            path = path.rpartition(".")[0]
        return self.places.get(path, SourceLocation(self.source))
