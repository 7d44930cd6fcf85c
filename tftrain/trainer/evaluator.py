"""The model's loss and metrics on each split: validation during training, and all splits at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tftrain.core import workers
from tftrain.core.evaluate import make_eval_fn
from tftrain.core.objective import KerasObjective
from tftrain.core.types import BatchSource, LogData
from tftrain.core.update import ParamEMA
from tftrain.data.loader import Data, evaluation_batch
from tftrain.trainer.results import Results

# Training examples that the results are of: a pass over more might take longer than the run.
TRAIN_SAMPLE = 10_000


class Evaluator:
    """Evaluates a run's model.

    Args:
        data: the splits.
        objective: the model and its loss.
        new_metrics: makes fresh metric objects: the splits must not share those of training.
        averages: the averaged weights, where the run has such.
        strategy: a tf.distribute.Strategy, or None.

    Attributes:
        train_sample: of how many training examples the results are, and how many there are; None where of all.
    """

    def __init__(
        self,
        data: Data,
        objective: KerasObjective,
        new_metrics: Callable[[], list],
        averages: ParamEMA | None,
        strategy: Any,
    ):
        self._data = data
        self._objective = objective
        self._new_metrics = new_metrics
        self._averages = averages
        self._strategy = strategy
        self.train_sample: tuple[int, int] | None = None
        self._evaluate_validation = None
        if data.validation is not None:
            self._evaluate_validation = self._make_evaluation(data.validation)

    @property
    def has_validation(self) -> bool:
        """Whether there is a validation split."""
        return self._evaluate_validation is not None

    def validate(self, step: int) -> LogData:
        """Return the loss and metrics of the validation split, with the averaged weights where there are such."""
        if self._averages is not None:
            self._averages.swap()
        try:
            results = self._evaluate_validation()
        finally:
            if self._averages is not None:
                self._averages.swap()
        # Two workers may round differently, but must come to the same decisions.
        values = workers.of_first(list(results.values()), self._strategy)
        pairs = zip(results, values, strict=True)
        return LogData({f"val_{name}": value for name, value in pairs})

    def evaluate_all(self) -> Results:
        """Return the loss and metrics of the model as it is now, by split."""
        results = {"train": self._evaluate_train()}
        if self._evaluate_validation is not None:
            results["validation"] = self._evaluate_validation()
        if self._data.test is not None:
            results["test"] = self._make_evaluation(self._data.test)()
        return results

    def _evaluate_train(self) -> dict[str, float]:
        """Evaluate the training split as the others; of a large one a sample, drawn by the seed."""
        batch_size = evaluation_batch(self._data.batch_size)
        source = self._data.train.evaluating(batch_size, TRAIN_SAMPLE)
        max_batches = None
        if source.examples > TRAIN_SAMPLE:
            max_batches = max(TRAIN_SAMPLE // batch_size, 1)
            sample = max_batches * batch_size
            if sample < source.examples:
                self.train_sample = (sample, source.examples)
        return self._make_evaluation(source, max_batches)()

    def _make_evaluation(
        self, source: BatchSource, max_batches: int | None = None
    ) -> Callable[[], dict[str, float]]:
        return make_eval_fn(
            self._objective,
            self._new_metrics(),
            source,
            self._data.batch_size,
            max_batches,
        )
