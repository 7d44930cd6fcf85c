"""The Gradients tab of TensorBoard.

TensorBoard imports this file wherever the package is installed, and would end if that failed: all that is imported here
and below is the standard library, TensorBoard itself and NumPy, which TensorBoard needs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from tensorboard import plugin_util
from tensorboard.plugins import base_plugin

from tftrain.reporting.tensorboard.protocol import PLUGIN
from tftrain.reporting.tensorboard_plugin import handlers
from tftrain.reporting.tensorboard_plugin.http import (
    BadRequest,
    file_reply,
    json_reply,
    parse_query,
)
from tftrain.reporting.tensorboard_plugin.layout import Damaged
from tftrain.reporting.tensorboard_plugin.reader import EventReader

POINTS = 1000  # kept of each tensor; by itself TensorBoard keeps 100, or 10 where it reads without its data server
QUESTIONS = {
    "runs": handlers.runs,
    "map": handlers.gradient_map,
    "history": handlers.history,
    "histogram": handlers.histogram,
    "course": handlers.run_timeline,
}


class Loader(base_plugin.TBLoader):
    """What the entry point names."""

    def fix_flags(self, flags: argparse.Namespace) -> None:
        """Have all points kept, unless the user has said how many are."""
        flags.samples_per_plugin = {PLUGIN: POINTS} | (flags.samples_per_plugin or {})

    def load(self, given: base_plugin.TBContext) -> base_plugin.TBPlugin:
        return Plugin(given)


class Plugin(base_plugin.TBPlugin):
    """Answers what the page asks, at `data/plugin/tftrain_gradients/...`."""

    plugin_name = PLUGIN

    def __init__(self, given: base_plugin.TBContext):
        self._provider = given.data_provider

    def is_active(self) -> bool:
        return False  # where there is data of ours TensorBoard finds it by itself

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        return base_plugin.FrontendMetadata(
            es_module_path="/static/main.js", tab_name="Gradients", disable_reload=True
        )

    def get_plugin_apps(self) -> dict[str, Callable]:
        return {
            f"/{name}": self._answering(question)
            for name, question in QUESTIONS.items()
        } | {"/static/*": file_reply}

    def _answering(self, question: Callable[..., Any]) -> Callable:
        """A WSGI application that gives what `question` returns for the query."""

        def answer(environ: dict[str, Any], start_response: Callable) -> list[bytes]:
            log = EventReader(
                self._provider,
                plugin_util.context(environ),
                plugin_util.experiment_id(environ),
            )
            try:
                return json_reply(
                    environ,
                    start_response,
                    question(log, **parse_query(environ, question)),
                )
            except (handlers.Unknown, BadRequest) as error:
                return json_reply(
                    environ, start_response, {"error": str(error)}, HTTPStatus.NOT_FOUND
                )
            except Damaged as error:
                return json_reply(
                    environ,
                    start_response,
                    {"error": str(error)},
                    HTTPStatus.UNPROCESSABLE_ENTITY,
                )

        return answer
