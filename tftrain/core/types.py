"""The words of the house: the records that every other part is written in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple, Protocol

Tensor = Any  # a tf.Tensor in a graph, a NumPy array on the host
Tree = Any  # a tensor, or a dict, list or tuple of trees
# The numbers of several steps on the host, as NumPy arrays (this module imports nothing, for messages come before
# NumPy): [steps] for each scalar, [steps, parameters] for each vector.
Rows = Mapping[str, Any]


class Batch(NamedTuple):
    """One batch of examples; every leaf has the leading axis [batch].

    `starts`, [batch], is there where the examples are windows of sequences: whether a sequence begins with this one.
    """

    x: Tree
    y: Tree
    weight: Tensor | None = None
    starts: Tensor | None = None


class DataSpec(NamedTuple):
    """What the data tells about itself, without the batch axis.

    `classes` is the number of labels when the targets are class labels (integer or one-hot), else None. Where they are
    `by_position`, an example has many labels, such as one for each step of a sequence, and `target_shape` is theirs.
    """

    input_shape: Tree
    target_shape: tuple[int, ...]
    classes: int | None
    by_position: bool = False


class BatchSource(Protocol):
    """Serves batches by position, so that a run can go on from any step.

    On the host `serve(step, count)` makes a handle for the next `count` steps; in the graph
    `batch(handle, index)` gives batch `index` of that handle. One call never spans more than
    `run_length(step)` steps. `prepared` is whether batches lie in memory as they are; where they do not, it is told how
    long they take. Where a feed is `in_order`, the batches of a handle must be asked for one after the other,
    each once. `evaluating` gives a feed of the same examples as validation serves them, without augmentation.
    """

    signature: Tree  # the tf.TypeSpec of a handle
    steps_per_epoch: int
    examples: int
    prepared: bool
    in_order: bool

    def evaluating(self, batch_size: int, max_in_order: int) -> BatchSource:
        """Return a source of the same examples as validation serves them, without augmentation.

        Args:
            batch_size: of the batches.
            max_in_order: of more examples the order is drawn from the seed.
        """

    def run_length(self, step: int) -> int:
        """Return how many steps one call may have from this step on."""

    def serve(self, step: int, count: int) -> Tree:
        """Return a handle for the next steps, on the host.

        Args:
            step: the steps taken so far.
            count: how many.
        """

    def batch(self, handle: Tree, index: Tensor) -> Batch:
        """Return a batch, in the graph.

        Args:
            handle: what `serve` gave.
            index: of the batch within the handle.
        """


class Carry(NamedTuple):
    """What goes from one window of a sequence to the next; every leaf has the leading axis [batch].

    `states` has the states of each recurrent layer (`core.recurrent.recurrent_layers`) and behind them the output that
    it gave last, which it repeats at masked steps; the rest is a method's own.
    """

    states: list[list[Tensor]]
    own: Tree = ()


class LossAndGrads(NamedTuple):
    """What a gradient method found.

    `grads` is the true gradient of `loss`: float32 (float64 where that is Keras' floatx), at true size, one per
    parameter, never None. One that touches few rows of a parameter is a tf.IndexedSlices with each row once (see
    core/numerics.py); all others are dense.
    """

    loss: Tensor
    grads: list[Tensor]
    outputs: Tree
    carry: Tree = ()


class LossTerms(NamedTuple):
    """What an objective finds: a loss, which is a mean over what counts, and what the layers add to it.

    `penalties` are those that are the same for any batch, or a mean over the examples; `sums` are sums over them. So
    the loss of a batch is the mean of those of its pieces weighted by their masses (`Objective.masses`), a penalty the
    mean weighted by their examples, and a sum their sum. A loss of which `Objective.adds_up` is a sum, too.

    The mask of the outputs tells what counts in the loss: what the model and what the loss itself leave out.
    """

    loss: Tensor
    penalties: list[Tensor]
    sums: list[Tensor]
    outputs: Tree
    carry: Tree


class Objective(Protocol):
    """A model and its loss as one function of a batch; the only caller of the model.

    `masses` tells what each example counts in the loss, [batch]; outputs that `terms` gave spare the model another
    call, for masks. `adds_up` is whether the loss is a sum over the batch, not a mean.
    `loss_rank` is the rank of what the loss gives before it is reduced, 2 where that is a number for each time step.
    `weights` has the weight of each number that the loss is made of, [batch] or [batch, time, ...], if there are any.
    `score` updates a Keras metric with the outputs that `terms` gave.
    While `at(values)` lasts, the parameters have other values, and what a forward pass changes, such as moving averages
    and the seed of dropout, is not kept: all passes there draw the same numbers. While `unrolled()` lasts, recurrent
    layers stand in the graph step by step.
    """

    params: list
    loss_rank: int | None
    adds_up: bool

    def at(self, values: list[Tensor]) -> AbstractContextManager:
        """Give the parameters other values during the block; what a forward pass changes is not kept."""

    def unrolled(self) -> AbstractContextManager:
        """Have recurrent layers unrolled in the graph during the block."""

    def masses(self, batch: Batch, outputs: Tree = None) -> Tensor:
        """Return what each example counts in the loss, [batch].

        Args:
            batch: the examples.
            outputs: what `terms` gave for them, which spares another call of the model.
        """

    def weights(self, batch: Batch, outputs: Tree) -> Tensor | None:
        """Return the weight of each number of the loss, [batch] or [batch, time, ...]; None where all count alike.

        Args:
            batch: the examples.
            outputs: what `terms` gave for them.
        """

    def score(self, metric: Any, batch: Batch, outputs: Tree) -> None:
        """Update a Keras metric.

        Args:
            metric: of the run.
            batch: the examples.
            outputs: what `terms` gave for them.
        """

    def terms(
        self, batch: Batch, carry: Tree = (), training: bool = True
    ) -> LossTerms:
        """Return the loss and its terms.

        Args:
            batch: the examples.
            carry: the states of recurrent layers before the batch, if it continues sequences.
            training: whether the model is called in training mode.
        """

    def __call__(
        self, batch: Batch, carry: Tree = (), training: bool = True
    ) -> tuple[Tensor, Tree, Tree]: ...


GradientMethod = Callable[[Objective, Batch, Tree], LossAndGrads]


class StatefulMethod(NamedTuple):
    """A gradient method that is given sequences window by window, and the carry before the first, [batch_size, ...]."""

    method: GradientMethod
    carry: Carry


class Transform(NamedTuple):
    """A change of the gradients between averaging and the update, such as a clip.

    `init(params) -> state`; `update(grads, state, params) -> (grads, state, scalars)`.
    """

    init: Callable[[list], Tree]
    update: Callable[[list, Tree, list], tuple[list, Tree, dict[str, Tensor]]]


class Rate(NamedTuple):
    """A learning rate: `init() -> state`; `update(state, step, grad_norm) -> (rate, state)`, in the graph.

    `grad_norm` is the global norm before the transforms. A rate that goes by what was logged also has
    `heed(state, scalars) -> state`: called on the host with the scalars of each logged point.
    """

    init: Callable[[], Tree]
    update: Callable[[Tree, Tensor, Tensor], tuple[Tensor, Tree]]
    heed: Callable[[Tree, dict[str, float]], Tree] | None = None


class Activation(NamedTuple):
    """What a layer gave in the forward pass, after the named activation function; units are the last axis."""

    function: str
    values: Tensor


class StepOutputs(NamedTuple):
    """All that is true of one step; the lists run parallel to `names`.

    The gradient of an embedding is a tf.IndexedSlices (see `core/numerics.py`). On several devices outputs and
    activations are those of the first one's examples.
    """

    loss: Tensor
    outputs: Tree
    params: list[Tensor]  # before the update
    raw: list[Tensor]  # gradients before the transforms
    grads: list[Tensor]  # gradients after the transforms
    updates: list[Tensor]  # what was added to the parameters
    names: tuple[str, ...]
    activations: dict[
        str, Activation
    ] = {}  # by layer; of the first replica and micro-batch, where there are many


class LogData(NamedTuple):
    """What leaves a step for whoever watches; a histogram is [buckets, 3]: left, right, count."""

    scalars: dict[str, float] = {}
    histograms: dict[str, Any] = {}
    images: dict[str, Any] = {}
    texts: dict[str, str] = {}

    def merged(self, extra: LogData) -> LogData:
        """Return this data with more; of one name the later counts."""
        return LogData(
            *(
                own_values | other_values
                for own_values, other_values in zip(self, extra, strict=True)
            )
        )


class Probe(NamedTuple):
    """A measurement: `measure(step_outputs)` in the graph, `read(measured)` on the host, with the tensors as arrays."""

    measure: Callable[[StepOutputs], Tree]
    read: Callable[[Tree], LogData]


class PlotContext(Protocol):
    """What a picture is drawn from: a run after `step` updates, as arrays on the host; nothing of it changes the run.

    `names` are those of the parameters that are trained, and `params` runs parallel to them. `raw` and `clipped` are
    the gradients of `batch`, training examples that are the same at every step, before and after the transforms.
    `passes` is one forward pass of them and one back, layer by layer (a `ModelTrace`). `reaching` has, by name,
    the gradient of their loss, of the last time step's where the loss gives a number for each, with respect to each
    floating-point input, and to the states h_t of each recurrent layer, [batch, time, units], through all that comes
    after. `history` has (steps, values) of each scalar logged so far.

    `predict(x)` is what the model gives, as probabilities where targets are classes. `loss(values)` is the loss of
    `batch` in training mode where the parameters have these values; dropout draws the same at every call.
    `losses(places, values)` are many of them, [points], where but a few numbers of the parameters have other values,
    [points, numbers]; each of the places has the index of a parameter and the place there, in row-major order.
    """

    step: int
    facts: DataSpec
    names: list[str]
    batch: Batch

    @property
    def params(self) -> list[Any]:
        """The values of the parameters."""

    @property
    def raw(self) -> list[Any]:
        """The gradients of `batch` before the transforms."""

    @property
    def clipped(self) -> list[Any]:
        """The gradients of `batch` after the transforms."""

    @property
    def passes(self) -> Any:
        """One forward and one backward pass of `batch`, layer by layer."""

    @property
    def reaching(self) -> dict[str, Any]:
        """The gradients with respect to inputs and states over time, by name."""

    @property
    def history(self) -> dict[str, tuple[Any, Any]]:
        """(steps, values) of each scalar logged so far."""

    def examples(self, max_examples: int) -> Batch:
        """Return training examples, at most so many."""

    def predict(self, x: Any) -> Any:
        """Return what the model gives, as probabilities where the targets are classes."""

    def loss(self, values: list[Any]) -> float:
        """Return the loss of `batch` where the parameters have these values."""

    def losses(self, places: tuple[tuple[int, int], ...], values: Any) -> Any:
        """Return the losses of `batch`, [points], where some numbers of the parameters have other values.

        Args:
            places: the index of the parameter and the place in it, in row-major order, of each number.
            values: [points, numbers].
        """


Picture = Callable[
    [PlotContext], Any
]  # a figure of matplotlib, or uint8 [height, width, channels]; None while there is none
View = Callable[
    [int], LogData
]  # made on the host at a step, such as validation
Observer = Callable[[int, LogData], None]  # eats signals; may have a close()


Points = list[tuple[int, LogData]]  # logged points with their steps, in order


class BadStep(NamedTuple):
    """A step whose update was not applied.

    Args:
        step: its number; the first step is 1.
        kind: what was wrong first: the `loss`, a `gradient` or the `update` was not finite, or the gradient norm is a
            `spike`.
        message: one line.
        rows: the numbers of the last steps up to this one, at most `bad_steps.HISTORY_STEPS`.
    """

    step: int
    kind: Literal["loss", "gradient", "update", "spike"]
    message: str
    rows: Rows


class Stop(Exception):
    """Raised by a callback to end the run cleanly; the message says why."""


class NotFinite(Stop):
    """The reason that ends a run at a bad step: a NaN, an infinity or a spike."""


# The names of before, for one version.
Facts = DataSpec
Moment = StepOutputs
Evaluation = LossAndGrads
Terms = LossTerms
Carrying = StatefulMethod
Signals = LogData
Scene = PlotContext
Feed = BatchSource
