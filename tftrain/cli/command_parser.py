"""The argument parser that all commands share, and the types of arguments that are paths."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from tftrain.runtime.names import did_you_mean
from tftrain.runtime.terminal import complain, one_line
from tftrain.runtime.untrusted import Unreadable, check_path, is_folder
from tftrain.runtime.version import __version__

BAD_INPUT = 2  # the exit status


class CommandParser(argparse.ArgumentParser):
    """An argument parser whose errors name the nearest existing flag or command.

    A flag with a value is refused where it is given twice, unless its action is `append`.
    """

    commands: tuple[str, ...] = ()  # the names that an error may suggest

    def __init__(self, **settings: Any):
        super().__init__(**settings)
        self.add_argument(
            "--version",
            action="version",
            version=f"tftrain {__version__}",
            help="print the version and stop",
        )
        self.register("action", None, _StoreOnce)
        self.register("action", "store", _StoreOnce)

    def exit(self, status: int = 0, message: str | None = None):
        """End the process; a message goes to standard error.

        Args:
            status: the exit status.
            message: one line.
        """
        if message:
            complain(message.removesuffix("\n"))
        super().exit(status)

    def error(self, message: str):
        """End the process with status 2 and a message that suggests the nearest flag or command."""
        flags = [
            flag for action in self._actions for flag in action.option_strings
        ]
        argument = message.partition("unrecognized arguments: ")[2]
        unknown = argument.split(" ")[0].split("=")[0]
        hint = (
            did_you_mean(unknown, [*flags, *self.commands]) if unknown else ""
        )
        text = f"{self.prog}: {one_line(message)}{hint} (--help shows what there is)\n"
        self.exit(BAD_INPUT, text)


class _StoreOnce(argparse._StoreAction):
    """The action of a flag with one value; of two values, one would silently be ignored."""

    def __call__(
        self,
        parser: CommandParser,
        namespace: argparse.Namespace,
        values: Any,
        flag: str | None = None,
    ) -> None:
        seen = vars(namespace).setdefault("_seen_flags", set())
        if flag is not None and self.dest in seen:
            parser.error(f"{flag} is given more than once; expected one value")
        seen.add(self.dest)
        super().__call__(parser, namespace, values, flag)


def input_path(text: str) -> Path:
    """Return the path that an argument names.

    Raises:
        argparse.ArgumentTypeError: it cannot be a path, as where it holds a null byte.
    """
    try:
        return check_path(text)
    except Unreadable as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def output_path(text: str) -> Path:
    """Return the path of a file to write, in a folder that exists or can be made.

    Raises:
        argparse.ArgumentTypeError: it is a folder, or lies below something that is none.
    """
    out = input_path(text)
    try:
        if is_folder(out):
            raise Unreadable(out, "is a folder; expected the name of a file")
        existing = [folder for folder in out.parents if os.path.lexists(folder)]
        nearest_parent = existing[0] if existing else Path()
        if not is_folder(nearest_parent):
            raise Unreadable(
                out, f"is to lie in {nearest_parent}, which is no folder"
            )
    except Unreadable as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return out
