"""The model's figures on the splits that it is not trained on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tftrain.core import replicas
from tftrain.core.evaluate import make_evaluation
from tftrain.core.types import Feed, Signals
from tftrain.observers.records import Series
from tftrain.results import Results

if TYPE_CHECKING:
    from tftrain.assemble import Run


class Evaluations:
    """Owns how a run's model is evaluated: while it is trained, and at the end."""

    def __init__(self, run: Run):
        self._run = run
        self._validate = self._evaluation(run.data.validation)

    @property
    def validated(self) -> bool:
        return self._validate is not None

    def look(self, step: int) -> Signals:
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
        values = replicas.of_first(list(found.values()), self._run.strategy)
        return Signals({f"val_{name}": value for name, value in zip(found, values, strict=True)})

    def results(self, curves: dict[str, Series]) -> Results:
        """The last point of training, and the figures of the model as it is now over the other splits."""
        found, test = {"train": self.last_point(curves)}, self._run.data.test
        if self._validate is not None:
            found["validation"] = self._validate()
        if test is not None:
            found["test"] = self._evaluation(test)()
        return found

    def last_point(self, curves: dict[str, Series]) -> dict[str, float]:
        """The loss and the metrics of training where they were last told."""
        scored = ("loss", *(metric.name for metric in self._run.recipe.metrics))
        return {name: float(curve.values[-1]) for name, curve in curves.items() if name.split("/")[0] in scored}

    def _evaluation(self, feed: Feed | None) -> Callable[[], dict[str, float]] | None:
        if feed is None:
            return None
        run = self._run
        return make_evaluation(run.objective, run.new_metrics(), feed, run.data.batch_size)
