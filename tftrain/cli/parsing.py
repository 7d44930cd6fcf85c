"""What all commands share: how their words are read, and their exit statuses."""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tftrain import __version__
from tftrain.runtime.names import nearest
from tftrain.runtime.terminal import complain, one_line, printable_lines
from tftrain.runtime.untrusted import Unreadable, check_path, is_folder

FAILED = 1
BAD_INPUT = 2
PEER_LOST = 3
SIGNALLED = 128  # and the number of the signal that ended it
INTERRUPTED = SIGNALLED + 2


class _Once(argparse._StoreAction):
    """A flag with a value, which may be given once: of two values one would count for nothing."""

    def __call__(
        self,
        parser: CommandParser,
        namespace: argparse.Namespace,
        values: Any,
        flag: str | None = None,
    ) -> None:
        given_flags = vars(namespace).setdefault("_given_flags", set())
        if flag is not None and self.dest in given_flags:
            parser.error(f"{flag} is given more than once; expected one value")
        given_flags.add(self.dest)
        super().__call__(parser, namespace, values, flag)


class CommandParser(argparse.ArgumentParser):
    """An argument parser whose errors name the nearest right flag, or one of the commands that there are.

    A flag with a value is refused where it is given twice, unless it is made to be repeated.
    """

    commands: tuple[str, ...] = ()

    def __init__(self, **settings: Any):
        super().__init__(**settings)
        self.add_argument(
            "--version",
            action="version",
            version=f"tftrain {__version__}",
            help="print it and stop",
        )
        self.register("action", None, _Once)
        self.register("action", "store", _Once)

    def exit(self, status: int = 0, message: str | None = None):
        if message:
            complain(message.removesuffix("\n"))
        super().exit(status)

    def error(self, message: str):
        flags = [flag for action in self._actions for flag in action.option_strings]
        unknown = (
            message.partition("unrecognized arguments: ")[2].split(" ")[0].split("=")[0]
        )
        hint = nearest(unknown, [*flags, *self.commands]) if unknown else ""
        self.exit(
            BAD_INPUT,
            f"{self.prog}: {one_line(message)}{hint} (--help shows what there is)\n",
        )


def path(text: str) -> Path:
    """Return the path that an argument names; raises what argparse takes for a wrong argument."""
    try:
        return check_path(text)
    except Unreadable as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def output_path(text: str) -> Path:
    """Return the path of a file to write, into a folder that is there or can be made; raises as `path` does."""
    out = path(text)
    try:
        if is_folder(out):
            raise Unreadable(out, "is a folder; expected the name of a file")
        above = next(
            (folder for folder in out.parents if os.path.lexists(folder)), Path()
        )
        if not is_folder(above):
            raise Unreadable(out, f"is to lie in {above}, which is no folder")
    except Unreadable as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return out


def show_warnings_plainly() -> None:
    """Show a warning as one line: where in our code it arose says nothing."""
    warnings.formatwarning = lambda message, *_: (
        f"warning: {printable_lines(message)}\n"
    )


def exit_code_of(look: Callable[[], int]) -> int:
    """What `look` returns, or the exit status of what it raises."""
    from tftrain.runtime.errors import InputError, UserCodeError
    from tftrain.runtime.tensorflow_import import import_tensorflow
    from tftrain.trainer.signals import watched

    show_warnings_plainly()
    try:
        with watched():
            import_tensorflow()
            return look()
    except (InputError, UserCodeError) as error:
        complain(error)
        return BAD_INPUT
