"""A log directory, as TensorBoard's data provider reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tensorboard.context import RequestContext
from tensorboard.data.provider import DataProvider, RunTagFilter

from tftrain.reporting.tensorboard_plugin.layout import Damaged

MOST_POINTS = 1_000_000  # all that the server has kept


class EventReader(NamedTuple):
    """All that one request may see."""

    provider: DataProvider
    context: RequestContext
    experiment: str

    def tags(self, plugin: str) -> dict[str, dict[str, bytes]]:
        """Of each run the tags of a plugin's tensors, with the content of their metadata."""
        found = self.provider.list_tensors(
            self.context, experiment_id=self.experiment, plugin_name=plugin
        )
        return {
            run: {tag: one.plugin_content for tag, one in series.items()}
            for run, series in found.items()
        }

    def started(self) -> dict[str, float]:
        """When each run began, in seconds since 1970; 0 where that is not known."""
        found = self.provider.list_runs(self.context, experiment_id=self.experiment)
        return {one.run_name: one.start_time or 0.0 for one in found}

    def tensors(
        self, plugin: str, run: str, tags: Sequence[str]
    ) -> dict[str, list[Any]]:
        """Of each tag that the run has its points in order: `step`, and `numpy`, an array; raises Damaged."""
        try:
            found = self.provider.read_tensors(
                self.context, **self._asked(plugin, run, tags)
            )
        except (TypeError, ValueError) as error:  # of bytes that are no tensor
            raise Damaged(f"{tags[0]} cannot be read: {error}") from error
        return dict(found.get(run, {}))

    def scalars(self, run: str, tags: Sequence[str]) -> dict[str, list[Any]]:
        """Of each tag that the run has its points in order: `step` and `value`."""
        found = self.provider.read_scalars(
            self.context, **self._asked("scalars", run, tags)
        )
        return dict(found.get(run, {}))

    def _asked(self, plugin: str, run: str, tags: Sequence[str]) -> dict[str, Any]:
        wanted = RunTagFilter(runs=[run], tags=tags)
        return {
            "experiment_id": self.experiment,
            "plugin_name": plugin,
            "downsample": MOST_POINTS,
            "run_tag_filter": wanted,
        }
