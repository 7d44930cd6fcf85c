"""The model's figures on each split: validation while it is trained, and all of them at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tftrain.core import replication
from tftrain.core.evaluate import make_eval_fn
from tftrain.core.types import BatchSource, LogData
from tftrain.data.loader import evaluation_batch
from tftrain.trainer.results import Results

if TYPE_CHECKING:
    from tftrain.trainer.build import RunContext


TRAIN_SAMPLE = 10_000  # training examples that the results are of: a pass over more might take longer than the run


class Evaluator:
    """Owns how a run's model is evaluated: while it is trained, and at the end."""

    def __init__(self, run: RunContext):
        self._run = run
        self.train_sample: tuple[int, int] | None = (
            None  # examples that the results are of, and all; None of all
        )
        self._validate = self._evaluation(run.data.validation)

    @property
    def validated(self) -> bool:
        return self._validate is not None

    def look(self, step: int) -> LogData:
        """The view of the validation split, with the averaged weights where there are such."""
        averages = self._run.state.averages
        if averages is not None:
            averages.swap()
        try:
            found = self._validate()
        finally:
            if averages is not None:
                averages.swap()
        # Two workers may round in two ways, but must come to the same decisions.
        values = replication.of_first(list(found.values()), self._run.strategy)
        return LogData(
            {f"val_{name}": value for name, value in zip(found, values, strict=True)}
        )

    def results(self) -> Results:
        """The figures of the model as it is now over each split, that of training among them."""
        figures, test = {"train": self._evaluate_train()}, self._run.data.test
        if self._validate is not None:
            figures["validation"] = self._validate()
        if test is not None:
            figures["test"] = self._evaluation(test)()
        return figures

    def _evaluate_train(self) -> dict[str, float]:
        """A pass over the training split as over the others; of a large one a sample, drawn by the seed."""
        run, batch_size = self._run, evaluation_batch(self._run.data.batch_size)
        feed, max_batches = run.data.train.evaluating(batch_size, TRAIN_SAMPLE), None
        if feed.examples > TRAIN_SAMPLE:
            max_batches = max(TRAIN_SAMPLE // batch_size, 1)
            sample = max_batches * batch_size
            self.train_sample = (
                (sample, feed.examples) if sample < feed.examples else None
            )
        return make_eval_fn(
            run.objective, run.new_metrics(), feed, run.data.batch_size, max_batches
        )()

    def _evaluation(
        self, feed: BatchSource | None
    ) -> Callable[[], dict[str, float]] | None:
        if feed is None:
            return None
        run = self._run
        return make_eval_fn(run.objective, run.new_metrics(), feed, run.data.batch_size)
