"""Starts TensorBoard on runs, with the Gradients tab, in this process."""

from __future__ import annotations

import contextlib
import fnmatch
import io
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from tensorboard import default, program
from tensorboard.plugins.metrics.metrics_plugin import MetricsPlugin

from tftrain.reporting.console import print_link, with_pins
from tftrain.reporting.tensorboard.protocol import PLUGIN
from tftrain.reporting.tensorboard_plugin.plugin import Loader
from tftrain.runtime import untrusted
from tftrain.runtime.run_dir import RunFolderError, run_names
from tftrain.runtime.terminal import printable
from tftrain.runtime.untrusted import Unreadable

EVENTS = "events.out.tfevents.*"
# How many ports are tried for a free one.
MOST_PORTS = 100


def serve(folders: Sequence[Path], host: str, port: int) -> None:
    """Show runs, or all within a folder, until Ctrl-C or SIGTERM.

    Args:
        folders: of runs, or that hold runs.
        host: address to listen on.
        port: the first one to try.

    Raises:
        RunFolderError: a folder is not there, or holds no run; or no port is free.
    """
    for folder in folders:
        _check_folder(folder)
    free = _free_port(host, port)
    # TensorBoard reads files by TensorFlow where there is one, which takes seconds to import; it can do without, and
    # looks for a module of this name to know that it should.
    sys.modules["tensorboard.compat.notf"] = ModuleType(
        "tensorboard.compat.notf"
    )
    with tempfile.TemporaryDirectory(prefix="tftrain-board-") as links_dir:
        board = program.TensorBoard(_ordered_plugins())
        board.configure(
            logdir=str(_log_directory(folders, Path(links_dir))),
            host=host,
            port=free,
        )
        with contextlib.redirect_stderr(
            io.StringIO()
        ):  # a note on how it reads files
            url = board.launch()
        if free != port:
            print(f"port {port} is taken; this is the next free one")
        print_link("TensorBoard: ", url, with_pins(url), " (Ctrl-C ends it)")
        print(f"Gradients:   {url}#{PLUGIN}", flush=True)
        # SIGTERM ends it as Ctrl-C does, so that the folder of links is removed then too.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                # Not for ever: a signal that another thread gets does not wake this one.
                time.sleep(1)


def _ordered_plugins() -> list:
    """TensorBoard's own and ours, whose tab is the second: the last ones are not seen in a window of 1500 pixels."""
    plugins = [
        plugin for plugin in default.get_plugins() if plugin is not Loader
    ]
    first = plugins.index(MetricsPlugin) + 1
    return [*plugins[:first], Loader, *plugins[first:]]


def _check_folder(folder: Path) -> None:
    try:
        if not untrusted.is_folder(folder):
            raise RunFolderError(
                f"{folder}: there is no such folder; give that of a run, or one that runs are in"
            )
        if not _hold_events(folder):
            raise RunFolderError(
                f"{folder}: holds no run; python -m tftrain --config FILE makes one"
            )
    except Unreadable as error:
        raise RunFolderError(error) from None


def _hold_events(folder: Path) -> bool:
    """Whether there are event files within a folder; raises Unreadable for what would keep TensorBoard for ever."""
    has_events = False
    remaining = [(folder, (untrusted.real_path(folder),))]
    while remaining:
        current, above = remaining.pop()
        for name in _names_in(current, folder):
            path = current / name
            if path.is_dir():
                real = untrusted.real_path(path)
                if real in above:
                    raise Unreadable(
                        path,
                        "is a link that leads in a circle, which TensorBoard would follow",
                    )
                remaining.append((path, (*above, real)))
            elif fnmatch.fnmatch(name, EVENTS):
                untrusted.open_file(path).close()
                has_events = True
    return has_events


def _names_in(folder: Path, root: Path) -> list[str]:
    try:
        return untrusted.list_folder(folder)
    except Unreadable:
        if folder == root:
            raise
        return []  # TensorBoard cannot look into it either


def _log_directory(folders: Sequence[Path], links_dir: Path) -> Path:
    """One folder with all runs in it under their names: a run that TensorBoard is given alone has none."""
    if (
        len(folders) == 1
        and next(folders[0].glob(EVENTS), None) is None
        and printable(folders[0]) == str(folders[0])
    ):
        return folders[0]
    for name, folder in zip(run_names(folders), folders, strict=True):
        link = links_dir / printable(name)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(folder.resolve(), target_is_directory=True)
    return links_dir


def _free_port(host: str, first_port: int) -> int:
    for port in range(first_port, min(first_port + MOST_PORTS, 2**16)):
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM
            )[0]
        except socket.gaierror as error:
            raise RunFolderError(f"--host {host}: {error.strerror}") from None
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(address)
                return port
    raise RunFolderError(
        f"--host {host} --port {first_port}: no free port there, nor in the next {MOST_PORTS}"
    )
