"""What all commands share: how their words are read, and their exit statuses."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable

from tftrain.names import nearest

FAILED = 1
BAD_INPUT = 2
PEER_LOST = 3
INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors name the nearest right flag, or one of the commands that there are."""

    commands: tuple[str, ...] = ()

    def error(self, message: str):
        flags = [flag for action in self._actions for flag in action.option_strings]
        unknown = message.partition("unrecognized arguments: ")[2].split(" ")[0].split("=")[0]
        hint = nearest(unknown, [*flags, *self.commands]) if unknown else ""
        self.exit(BAD_INPUT, f"{self.prog}: {message}{hint} (--help shows what there is)\n")


def judged(look: Callable[[], int]) -> int:
    """What `look` returns, or the exit status of what it raises."""
    from tftrain.errors import InputError, UserCodeError
    from tftrain.startup import import_tensorflow

    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    import_tensorflow()
    try:
        return look()
    except (InputError, UserCodeError) as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
