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

# Points kept of each tensor. TensorBoard's default is 100, or 10 without its data server.
POINTS = 1000
HANDLERS = {
    "runs": handlers.list_runs,
    "map": handlers.gradient_map,
    "history": handlers.row_history,
    "histogram": handlers.nearest_histogram,
    "course": handlers.run_timeline,
}
_ERROR_STATUS = {
    handlers.Unknown: HTTPStatus.NOT_FOUND,
    BadRequest: HTTPStatus.NOT_FOUND,
    Damaged: HTTPStatus.UNPROCESSABLE_ENTITY,
}


class Loader(base_plugin.TBLoader):
    """The entry point that TensorBoard loads."""

    def fix_flags(self, flags: argparse.Namespace) -> None:
        """Keep all points, unless the user has set how many."""
        flags.samples_per_plugin = {PLUGIN: POINTS} | (
            flags.samples_per_plugin or {}
        )

    def load(self, context: base_plugin.TBContext) -> base_plugin.TBPlugin:
        """Return the plugin."""
        return Plugin(context)


class Plugin(base_plugin.TBPlugin):
    """Answers the requests of the page, at `data/plugin/tftrain_gradients/...`."""

    plugin_name = PLUGIN

    def __init__(self, context: base_plugin.TBContext):
        self._provider = context.data_provider

    def is_active(self) -> bool:
        """Return False: TensorBoard itself finds out whether there are data for the tab."""
        return False

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        """Return the name of the tab and the module that draws it."""
        return base_plugin.FrontendMetadata(
            es_module_path="/static/main.js",
            tab_name="Gradients",
            disable_reload=True,
        )

    def get_plugin_apps(self) -> dict[str, Callable]:
        """Return the WSGI application of each route."""
        apps = {
            f"/{route}": self._make_app(handler)
            for route, handler in HANDLERS.items()
        }
        return apps | {"/static/*": file_reply}

    def _make_app(self, handler: Callable[..., Any]) -> Callable:
        """Return a WSGI application that replies with the handler's result."""

        def reply_to(
            environ: dict[str, Any], start_response: Callable
        ) -> list[bytes]:
            log = EventReader(
                self._provider,
                plugin_util.context(environ),
                plugin_util.experiment_id(environ),
            )
            try:
                result = handler(log, **parse_query(environ, handler))
            except tuple(_ERROR_STATUS) as error:
                message = {"error": str(error)}
                status = _ERROR_STATUS[type(error)]
                return json_reply(environ, start_response, message, status)
            return json_reply(environ, start_response, result)

        return reply_to
