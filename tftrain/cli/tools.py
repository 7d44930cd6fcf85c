"""The commands that look at a model or at one step, and train nothing."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

from tftrain.cli.parsing import FAILED, CommandParser, exit_code_of, path
from tftrain.runtime.run_dir import CONFIG, refuse_foreign_entries
from tftrain.runtime.terminal import say


def inspect(words: Sequence[str]) -> int:
    """Print the model, and what the forward and the backward pass of one batch come to in each layer."""
    parser = CommandParser(
        prog="python -m tftrain inspect",
        description="The model, and one batch through it and back.",
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=path,
        help="the YAML file (default: that of --checkpoint)",
    )
    parser.add_argument(
        "--set",
        metavar="KEY.PATH=VALUE",
        action="append",
        default=[],
        help="change one value",
    )
    parser.add_argument(
        "--checkpoint",
        metavar="RUN",
        type=path,
        help="look at the last checkpoint in a run's folder",
    )
    asked = parser.parse_args(words)
    if asked.config is None and asked.checkpoint is None:
        parser.error("--config FILE is missing")
    from tftrain import load

    if asked.checkpoint is not None:
        refuse_foreign_entries(asked.checkpoint)
    config = load(asked.config or asked.checkpoint / CONFIG, asked.set)

    def look() -> int:
        from tftrain.trainer.inspect import inspect_model

        say(inspect_model(config, asked.checkpoint), end="")
        return 0

    return exit_code_of(look)


def check_gradients(words: Sequence[str]) -> int:
    """Compare the gradients with differences of the loss; the exit status is 0 where there are some, and all agree."""
    name = "check-gradients"
    parser = CommandParser(
        prog=f"python -m tftrain {name}",
        description="Gradients against differences of the loss.",
    )
    parser.add_argument(
        "--config", metavar="FILE", type=path, required=True, help="the YAML file"
    )
    parser.add_argument(
        "--set",
        metavar="KEY.PATH=VALUE",
        action="append",
        default=[],
        help="change one value",
    )
    parser.add_argument(
        "--samples",
        metavar="N",
        type=int,
        default=20,
        help="numbers of each parameter, at most (default: 20)",
    )
    asked = parser.parse_args(words)
    if asked.samples < 1:
        parser.error(
            f"--samples {asked.samples}: expected a whole number of at least 1"
        )
    from tftrain import load

    config = load(asked.config, asked.set)

    def look() -> int:
        from tftrain.trainer.gradient_check import check_gradients

        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        found = check_gradients(config, asked.samples, width)
        say(found.text, end="")
        return 0 if found.agrees else FAILED

    return exit_code_of(look)


def replay(words: Sequence[str]) -> int:
    """Repeat the step of an incident; the exit status is 0 where it came to the same numbers, to the bit."""
    parser = CommandParser(
        prog="python -m tftrain replay",
        description="Repeat a step that went wrong, layer by layer.",
    )
    parser.add_argument(
        "folder",
        metavar="RUN/incidents/STEP",
        type=path,
        help="the folder of the incident",
    )
    folder = parser.parse_args(words).folder

    def look() -> int:
        from tftrain import load
        from tftrain.trainer.replay import config_of, replay_step

        found = replay_step(load(config_of(folder)), folder)
        say(found.text)
        return 0 if found.same else FAILED

    return exit_code_of(look)
