"""The commands: each parses its arguments, calls one function and prints. TensorFlow is imported only when needed."""

from __future__ import annotations

import argparse
import atexit
import dataclasses
import json
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from tftrain.cli import arguments
from tftrain.cli.command_parser import BAD_INPUT, CommandParser
from tftrain.config.loading import load_config
from tftrain.runtime.atomic_files import WriteError
from tftrain.runtime.errors import (
    ConfigError,
    InputError,
    TrainingError,
    UserCodeError,
)
from tftrain.runtime.run_dir import (
    CONFIG,
    RunFolderError,
    refuse_foreign_entries,
)
from tftrain.runtime.terminal import complain, one_line, printable_lines, say
from tftrain.runtime.untrusted import Unreadable, is_file
from tftrain.runtime.working_directory import leave_out_working_directory

# Exit statuses; BAD_INPUT is 2.
FAILED = 1
WORKER_LOST = 3
SIGNALLED = 128  # plus the number of the signal that ended the process
INTERRUPTED = SIGNALLED + 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments, without the program's name; those of this process by default.

    Returns:
        The exit status: 0, 1 where training failed or met a NaN, 2 for bad input, 3 where a worker was lost.
    """
    for stream in ("stdout", "stderr"):
        if (
            getattr(sys, stream) is None
        ):  # closed by the parent process, as by `>&-`
            setattr(sys, stream, open(os.devnull, "w"))
    if hasattr(sys.stdout, "reconfigure"):
        # A name that the terminal's encoding lacks is no reason to stop.
        sys.stdout.reconfigure(errors="backslashreplace")
    return _run_command(list(sys.argv[1:] if argv is None else argv))


def run_process() -> int:
    """Run the command of this process's own arguments, and return its exit status.

    After a signal the process ends as soon as all exit handlers have run: finalizing the interpreter could wait for a
    data source that hangs.
    """
    status = 0

    def exit_at_once() -> None:
        if status > SIGNALLED:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    atexit.register(exit_at_once)  # the handler registered first runs last
    status = main()
    return status


def _run_command(argv: list[str]) -> int:
    command = train
    if argv and argv[0] in COMMANDS:
        command = COMMANDS[argv.pop(0)]
    try:
        return command(argv)
    except (ConfigError, RunFolderError, Unreadable) as error:
        complain(error)
        return BAD_INPUT
    except WriteError as error:
        complain(error)
        return FAILED
    except KeyboardInterrupt as error:
        complain(str(error) or "interrupted")
        return getattr(error, "status", INTERRUPTED)
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def train(argv: list[str]) -> int:
    """Train, or print the resolved config."""
    parser = arguments.train_parser()
    args = parser.parse_args(argv)
    if args.config is None and args.resume and args.run_dir is not None:
        refuse_foreign_entries(args.run_dir)
        args.config = args.run_dir / CONFIG
        if not is_file(args.config):
            raise RunFolderError(
                f"run folder {args.run_dir}: holds no {CONFIG}; say which run with --config FILE"
            )
    if args.config is None:
        prefix = "" if argv else "nothing to do: "
        parser.error(f"{prefix}--config FILE is missing")
    from tftrain.trainer.signals import watched

    with watched():
        return _train(args)


def _train(args: argparse.Namespace) -> int:
    from tftrain.config.export import to_yaml

    config = load_config(args.config, args.set)
    if args.print_config:
        print(to_yaml(config), end="")
        return 0
    from tftrain.runtime.cluster import WorkerLost
    from tftrain.runtime.tensorflow_import import import_tensorflow
    from tftrain.trainer.resume import check_run_dir

    if sys.stdout.isatty():
        print("loading TensorFlow, the data and the model ...", flush=True)
    _show_warnings_plainly()
    try:
        changed = check_run_dir(
            config, args.run_dir, args.resume, args.allow_changes
        )
        import_tensorflow()
        from tftrain.trainer.trainer import fit

        config = dataclasses.replace(config, trust=args.trust)
        result = fit(config, args.run_dir, args.resume, changed)
    except (InputError, UserCodeError) as error:
        complain(error)
        return BAD_INPUT
    except TrainingError as error:
        complain(error)
        return FAILED
    except WorkerLost as error:
        complain(error)
        return WORKER_LOST
    return FAILED if result.failed else 0


def inspect(argv: list[str]) -> int:
    """Print the model, and what the forward and backward pass of one batch give in each layer."""
    parser = arguments.inspect_parser()
    args = parser.parse_args(argv)
    if args.config is None and args.checkpoint is None:
        parser.error("--config FILE is missing")
    if args.checkpoint is not None:
        refuse_foreign_entries(args.checkpoint)
    file = args.config or args.checkpoint / CONFIG
    config = load_config(file, args.set)

    def run() -> int:
        from tftrain.trainer.inspect import inspect_model

        say(inspect_model(config, args.checkpoint), end="")
        return 0

    return _run_with_tensorflow(run)


def check_gradients(argv: list[str]) -> int:
    """Compare the gradients with differences of the loss; the exit status is 0 where there are some, and all agree."""
    parser = arguments.check_gradients_parser()
    args = parser.parse_args(argv)
    if args.samples < 1:
        parser.error(
            f"--samples {args.samples}: expected a whole number of at least 1"
        )
    config = load_config(args.config, args.set)

    def run() -> int:
        from tftrain.trainer.gradient_check import check_gradients

        width = (
            shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        )
        result = check_gradients(config, args.samples, width)
        say(result.text, end="")
        return 0 if result.agrees else FAILED

    return _run_with_tensorflow(run)


def replay(argv: list[str]) -> int:
    """Repeat the step of an incident; the exit status is 0 where the numbers are the same, bit for bit."""
    folder = arguments.replay_parser().parse_args(argv).folder

    def run() -> int:
        from tftrain.trainer.replay import config_of, replay_step

        result = replay_step(load_config(config_of(folder)), folder)
        say(result.text)
        return 0 if result.same else FAILED

    return _run_with_tensorflow(run)


def sweep(argv: list[str]) -> int:
    """Train every combination of values; the exit status is 1 where one of the runs failed."""
    args = arguments.sweep_parser().parse_args(argv)
    from tftrain.trainer.sweep import expand_grid

    trials = expand_grid(args.set)
    configs = [load_config(args.config, trial.flags) for trial in trials]

    def run() -> int:
        from tftrain.reporting.console import print_table
        from tftrain.trainer.sweep import Sweep, make_table
        from tftrain.trainer.trainer import fit

        trusting = [
            dataclasses.replace(config, trust=args.trust) for config in configs
        ]
        runs = Sweep(trials, trusting, args.runs_dir, fit)
        try:
            runs.run()
        finally:
            if runs.rows:
                print_table(make_table(runs.rows), runs.parent)
            missing = len(trials) - len(runs.rows)
            if missing:
                print(
                    f"\n{missing} of {len(trials)} runs have not ended",
                    flush=True,
                )
        return FAILED if any(row.failed for row in runs.rows) else 0

    return _run_with_tensorflow(run)


def plot(argv: list[str]) -> int:
    """Draw the curves of runs; TensorFlow is not needed."""
    parser = arguments.plot_parser()
    args = parser.parse_args(argv)
    out = _output_file(parser, args, "curves", (".png",))
    from tftrain.reporting.plot_curves import plot

    names = [name.strip() for name in args.curves.split(",") if name.strip()]
    say(one_line(plot(args.folders, names, out)))
    return 0


def report(argv: list[str]) -> int:
    """Write an HTML report on runs; TensorFlow is not needed."""
    parser = arguments.report_parser()
    args = parser.parse_args(argv)
    out = _output_file(parser, args, "report", (".html", ".htm"))
    from tftrain.reporting.html.page import write_report

    say(one_line(write_report(args.folders, out)))
    return 0


def board(argv: list[str]) -> int:
    """Start TensorBoard, without TensorFlow."""
    parser = arguments.board_parser()
    args = parser.parse_args(argv)
    if not 0 < args.port < 2**16:
        parser.error(f"--port {args.port}: expected 1 to 65535")
    leave_out_working_directory()
    from tftrain.reporting.tensorboard_plugin.serve import serve

    serve(args.folders or [Path("runs")], args.host, args.port)
    sys.stdout.flush()
    # TensorBoard's threads may be within a call to its data server, and would delay the exit.
    os._exit(0)


def list_components(argv: list[str]) -> int:
    """Print the components that a config can name."""
    from tftrain.config.export import component_listing

    say(component_listing(arguments.parse_kind(argv)))
    return 0


def print_schema(argv: list[str]) -> int:
    """Print the JSON Schema of configs."""
    from tftrain.config.export import json_schema

    arguments.schema_parser().parse_args(argv)
    print(json.dumps(json_schema(), indent=1))
    return 0


COMMANDS = {
    "board": board,
    "check-gradients": check_gradients,
    "inspect": inspect,
    "list": list_components,
    "plot": plot,
    "replay": replay,
    "report": report,
    "schema": print_schema,
    "sweep": sweep,
    "train": train,
}
CommandParser.commands = tuple(COMMANDS)


def _output_file(
    parser: CommandParser,
    args: argparse.Namespace,
    stem: str,
    suffixes: tuple[str, ...],
) -> Path:
    """Return the file of `--out`; by default it lies in the run's folder, or for several runs in the working one."""
    if args.out is None:
        name = f"{stem}{suffixes[0]}"
        return args.folders[0] / name if len(args.folders) == 1 else Path(name)
    if args.out.suffix.lower() not in suffixes:
        parser.error(
            f"--out {args.out}: expected a name that ends in {suffixes[0]}"
        )
    return args.out


def _run_with_tensorflow(run: Callable[[], int]) -> int:
    """Import TensorFlow, then return what `run` returns, or the exit status of the error that it raises."""
    from tftrain.runtime.tensorflow_import import import_tensorflow
    from tftrain.trainer.signals import watched

    _show_warnings_plainly()
    try:
        with watched():
            import_tensorflow()
            return run()
    except (InputError, UserCodeError) as error:
        complain(error)
        return BAD_INPUT


def _show_warnings_plainly() -> None:
    """Show a warning as one line: the place in our code says nothing to a user."""
    warnings.formatwarning = lambda message, *_: (
        f"warning: {printable_lines(message)}\n"
    )
