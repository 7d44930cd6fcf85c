"""A log directory, as TensorBoard's data provider reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tensorboard.context import RequestContext
from tensorboard.data.provider import DataProvider, RunTagFilter

from tftrain.reporting.tensorboard_plugin.layout import Damaged

# More than the server keeps, so that all it has is read.
MAX_POINTS = 1_000_000


class EventReader(NamedTuple):
    """The log that one request may see."""

    provider: DataProvider
    context: RequestContext
    experiment: str

    def list_tags(self, plugin: str) -> dict[str, dict[str, bytes]]:
        """Return the content of the metadata of a plugin's tensors, by run and tag."""
        runs = self.provider.list_tensors(
            self.context, experiment_id=self.experiment, plugin_name=plugin
        )
        return {
            run: {tag: series.plugin_content for tag, series in tags.items()}
            for run, tags in runs.items()
        }

    def start_times(self) -> dict[str, float]:
        """Return when each run began, in seconds since 1970; 0 where it is not known."""
        runs = self.provider.list_runs(
            self.context, experiment_id=self.experiment
        )
        return {run.run_name: run.start_time or 0.0 for run in runs}

    def read_tensors(
        self, plugin: str, run: str, tags: Sequence[str]
    ) -> dict[str, list[Any]]:
        """Return the points of each tag that a run has, in order, with `step` and `numpy`.

        Args:
            plugin: name of the plugin that the tensors are for.
            run: name of the run.
            tags: at least one.

        Raises:
            Damaged: the bytes are no tensors.
        """
        query = self._query(plugin, run, tags)
        try:
            points = self.provider.read_tensors(self.context, **query)
        except (TypeError, ValueError) as error:
            raise Damaged(f"{tags[0]} cannot be read: {error}") from error
        return dict(points.get(run, {}))

    def read_scalars(
        self, run: str, tags: Sequence[str]
    ) -> dict[str, list[Any]]:
        """Return the points of each tag that a run has, in order, with `step` and `value`.

        Args:
            run: name of the run.
            tags: of scalars.
        """
        query = self._query("scalars", run, tags)
        points = self.provider.read_scalars(self.context, **query)
        return dict(points.get(run, {}))

    def _query(
        self, plugin: str, run: str, tags: Sequence[str]
    ) -> dict[str, Any]:
        return {
            "experiment_id": self.experiment,
            "plugin_name": plugin,
            "downsample": MAX_POINTS,
            "run_tag_filter": RunTagFilter(runs=[run], tags=tags),
        }
