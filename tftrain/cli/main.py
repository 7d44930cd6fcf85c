"""The command line: read the words, call one function, print. TensorFlow is imported only to train."""

from __future__ import annotations

import argparse
import atexit
import functools
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tftrain.cli.parsing import (
    BAD_INPUT,
    FAILED,
    INTERRUPTED,
    PEER_LOST,
    SIGNALLED,
    CommandParser,
    exit_code_of,
    output_path,
    path,
    show_warnings_plainly,
)
from tftrain.cli.tools import check_gradients, inspect, replay
from tftrain.runtime.atomic_files import WriteError
from tftrain.runtime.errors import ConfigError
from tftrain.runtime.names import nearest
from tftrain.runtime.run_dir import CONFIG, RunFolderError, refuse_foreign_entries
from tftrain.runtime.terminal import complain, one_line, say
from tftrain.runtime.untrusted import Unreadable, is_file
from tftrain.runtime.working_directory import leave_out_working_directory

USAGE = """\
python -m tftrain --config FILE        train what the YAML file says
python -m tftrain inspect --config FILE        the model as a table, and one batch through it and back
python -m tftrain check-gradients --config FILE    its gradients against differences of the loss
python -m tftrain replay RUN/incidents/STEP    repeat a step that went wrong, layer by layer
python -m tftrain board [RUN...]       TensorBoard with the Gradients tab
python -m tftrain sweep --config FILE --set KEY=VALUE,VALUE   a run for each value, and a table
python -m tftrain plot RUN...          curves of one or several runs as a PNG
python -m tftrain report RUN...        one HTML file that tells of one or several runs
python -m tftrain list [KIND]          what a config can name, with arguments and defaults
python -m tftrain schema               a JSON Schema of configs, for editors
"""


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0, 1 where training failed or met a NaN, 2 for bad input, 3 for a peer."""
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:  # closed by who started this, as by `>&-`
            setattr(sys, stream, open(os.devnull, "w"))
    if hasattr(
        sys.stdout, "reconfigure"
    ):  # a name that the terminal's encoding lacks is no reason to stop
        sys.stdout.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if words is None else words)
    return _run(words)


def run_process() -> int:
    """Run the command of this process's own words.

    After a signal the process ends when all that was registered for its end is done: what is left to be taken to pieces
    could wait for a data source that hangs.
    """
    status = 0

    def end() -> None:
        if status > SIGNALLED:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    atexit.register(end)  # what is registered first comes last
    status = main()
    return status


def _run(words: Sequence[str]) -> int:
    verb = COMMANDS[words[0]] if words and words[0] in COMMANDS else train
    try:
        return verb(words[1:] if words and words[0] in COMMANDS else words)
    except (ConfigError, RunFolderError, Unreadable) as error:
        complain(error)
        return BAD_INPUT
    except WriteError as error:
        complain(error)
        return FAILED
    except KeyboardInterrupt as error:
        complain(str(error) or "interrupted")
        return getattr(error, "status", INTERRUPTED)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def train(words: Sequence[str]) -> int:
    """Train, or print the resolved config."""
    parser = CommandParser(
        prog="python -m tftrain",
        usage=USAGE,
        description="Train a Keras model and see its gradients.",
    )
    parser.add_argument("--config", metavar="FILE", type=path, help="the YAML file")
    add = parser.add_argument
    add(
        "--set",
        metavar="KEY.PATH=VALUE",
        action="append",
        default=[],
        help="change one value; repeatable",
    )
    add(
        "--run-dir",
        metavar="DIR",
        type=path,
        help="the run's folder (default: runs/NAME-TIME)",
    )
    add(
        "--resume",
        action="store_true",
        help="go on from the last checkpoint in --run-dir, or start if there is none",
    )
    add(
        "--allow-changes",
        action="store_true",
        help="with --resume: go on also where the config has changed in what the numbers come of",
    )
    add(
        "--trust",
        action="store_true",
        help="run also the code that a saved model (model: saved) has in its file",
    )
    add(
        "--print-config",
        action="store_true",
        help="print the whole resolved config and stop",
    )
    asked = parser.parse_args(words)
    config = asked.config
    if config is None and asked.resume and asked.run_dir is not None:
        config = asked.run_dir / CONFIG
        refuse_foreign_entries(asked.run_dir)
        if not is_file(config):
            raise RunFolderError(
                f"run folder {asked.run_dir}: holds no {CONFIG}; say which run with --config FILE"
            )
    if config is None:
        parser.error(
            "--config FILE is missing"
            if words
            else "nothing to do: --config FILE is missing"
        )
    from tftrain.trainer.signals import watched

    with watched():
        return _train(config, asked)


def _train(file: Path, asked: argparse.Namespace) -> int:
    from tftrain import load
    from tftrain.config.export import to_yaml

    config = load(file, asked.set)
    if asked.print_config:
        print(to_yaml(config), end="")
        return 0
    from tftrain import train
    from tftrain.runtime.distribution import WorkerLost
    from tftrain.runtime.errors import InputError, TrainingError, UserCodeError
    from tftrain.runtime.tensorflow_import import import_tensorflow

    if sys.stdout.isatty():
        print("loading TensorFlow, the data and the model ...", flush=True)
    show_warnings_plainly()
    try:
        import_tensorflow()
        result = train(
            config, asked.run_dir, asked.resume, asked.allow_changes, asked.trust
        )
    except (InputError, UserCodeError) as error:
        complain(error)
        return BAD_INPUT
    except TrainingError as error:
        complain(error)
        return FAILED
    except WorkerLost as error:
        complain(error)
        return PEER_LOST
    return FAILED if result.failed else 0


def sweep(words: Sequence[str]) -> int:
    """Train every combination of values; the exit status is 1 where one of the runs failed."""
    parser = CommandParser(
        prog="python -m tftrain sweep",
        description="A run for each combination of values, and a table.",
    )
    add = parser.add_argument
    add("--config", metavar="FILE", type=path, required=True, help="the YAML file")
    values = "values between commas, each for a run of its own; none leaves the part out; repeatable"
    add(
        "--set",
        metavar="KEY.PATH=VALUE,VALUE",
        action="append",
        default=[],
        help=values,
    )
    add(
        "--runs-dir",
        metavar="DIR",
        type=path,
        help="where the runs' folders are made (default: runs/NAME-sweep-TIME)",
    )
    add(
        "--trust",
        action="store_true",
        help="run also the code that a saved model (model: saved) has in its file",
    )
    asked = parser.parse_args(words)
    from tftrain import load
    from tftrain.trainer.sweep import expand_grid

    trials = expand_grid(asked.set)
    configs = [load(asked.config, trial.flags) for trial in trials]

    def look() -> int:
        from tftrain import train
        from tftrain.reporting.console import print_table
        from tftrain.trainer.sweep import Sweep, table

        runs = Sweep(
            trials, configs, asked.runs_dir, functools.partial(train, trust=asked.trust)
        )
        try:
            runs.run()
        finally:
            if runs.rows:
                print_table(table(runs.rows), runs.parent)
            if len(runs.rows) < len(trials):
                print(
                    f"\n{len(trials) - len(runs.rows)} of {len(trials)} runs have not ended",
                    flush=True,
                )
        return FAILED if any(row.failed for row in runs.rows) else 0

    return exit_code_of(look)


def plot(words: Sequence[str]) -> int:
    """Draw the curves of runs; TensorFlow is not needed."""
    parser = CommandParser(
        prog="python -m tftrain plot",
        description="The curves of one or several runs as a PNG.",
    )
    add = parser.add_argument
    add("folders", metavar="RUN", nargs="+", type=path, help="the folder of a run")
    add(
        "--out",
        metavar="FILE.png",
        type=output_path,
        help="the picture (default: RUN/curves.png, or curves.png)",
    )
    add(
        "--curves",
        metavar="NAMES",
        default="",
        help="scalars, such as loss,accuracy,grad_norm (the default)",
    )
    asked = parser.parse_args(words)
    if asked.out is not None and asked.out.suffix.lower() != ".png":
        parser.error(f"--out {asked.out}: expected a name that ends in .png")
    from tftrain.reporting.plot_curves import plot

    wanted = [name.strip() for name in asked.curves.split(",") if name.strip()]
    default = (
        asked.folders[0] / "curves.png"
        if len(asked.folders) == 1
        else Path("curves.png")
    )
    say(one_line(plot(asked.folders, wanted, asked.out or default)))
    return 0


def write_report(words: Sequence[str]) -> int:
    """Write an HTML file that tells of runs; TensorFlow is not needed."""
    parser = CommandParser(
        prog="python -m tftrain report",
        description="One HTML file that tells of one or several runs.",
    )
    parser.add_argument(
        "folders", metavar="RUN", nargs="+", type=path, help="the folder of a run"
    )
    parser.add_argument(
        "--out",
        metavar="FILE.html",
        type=output_path,
        help="default: RUN/report.html, or report.html",
    )
    asked = parser.parse_args(words)
    if asked.out is not None and asked.out.suffix.lower() not in (".html", ".htm"):
        parser.error(f"--out {asked.out}: expected a name that ends in .html")
    from tftrain.reporting.html.page import write_report

    default = (
        asked.folders[0] / "report.html"
        if len(asked.folders) == 1
        else Path("report.html")
    )
    say(one_line(write_report(asked.folders, asked.out or default)))
    return 0


def board(words: Sequence[str]) -> int:
    """Start TensorBoard, without TensorFlow."""
    parser = CommandParser(
        prog="python -m tftrain board",
        description="TensorBoard with the Gradients tab, on runs.",
    )
    add = parser.add_argument
    add(
        "folders",
        metavar="RUN",
        nargs="*",
        type=path,
        help="a run, or a folder that runs are in (default: runs)",
    )
    add(
        "--port",
        metavar="N",
        type=int,
        default=6006,
        help="the port, or the next free one (default: 6006)",
    )
    add(
        "--host",
        metavar="HOST",
        default="localhost",
        help="0.0.0.0 can be seen from other machines",
    )
    asked = parser.parse_args(words)
    if not 0 < asked.port < 2**16:
        parser.error(f"--port {asked.port}: expected 1 to 65535")
    leave_out_working_directory()
    from tftrain.reporting.tensorboard_plugin.serve import serve

    serve(asked.folders or [Path("runs")], asked.host, asked.port)
    sys.stdout.flush()
    os._exit(
        0
    )  # TensorBoard's threads may be within a call to its data server, and would hold up the end


def list_parts(words: Sequence[str]) -> int:
    """Print what can be named."""
    from tftrain.config.export import component_listing
    from tftrain.config.registry import COMPONENT_KINDS

    parser = CommandParser(
        prog="python -m tftrain list", description="What a config can name."
    )
    parser.add_argument("kind", nargs="?", help=", ".join(COMPONENT_KINDS))
    kind = parser.parse_args(words).kind
    if kind is not None and kind not in COMPONENT_KINDS:
        parser.error(
            f"there is no kind of part '{kind}'; expected one of {', '.join(COMPONENT_KINDS)}"
            f"{nearest(kind, COMPONENT_KINDS)}"
        )
    say(component_listing(kind))
    return 0


def print_schema(words: Sequence[str]) -> int:
    """Print the JSON Schema of configs."""
    import json

    from tftrain.config.export import json_schema

    CommandParser(
        prog="python -m tftrain schema",
        description="A JSON Schema of configs, for editors.",
    ).parse_args(words)
    print(json.dumps(json_schema(), indent=1))
    return 0


COMMANDS = {
    "board": board,
    "check-gradients": check_gradients,
    "inspect": inspect,
    "list": list_parts,
    "plot": plot,
    "replay": replay,
    "report": write_report,
    "schema": print_schema,
    "sweep": sweep,
    "train": train,
}
CommandParser.commands = tuple(COMMANDS)
