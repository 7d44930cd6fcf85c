"""What each command can be asked: one parser for each."""

from __future__ import annotations

from tftrain.cli.command_parser import CommandParser, input_path, output_path
from tftrain.config.registry import COMPONENT_KINDS
from tftrain.runtime.names import did_you_mean

USAGE = """\
python -m tftrain --config FILE        train what the YAML file says
python -m tftrain inspect --config FILE        the model as a table, and one batch through it and back
python -m tftrain check-gradients --config FILE    its gradients against differences of the loss
python -m tftrain replay RUN/incidents/STEP    repeat a step that went wrong, layer by layer
python -m tftrain board [RUN...]       TensorBoard with the Gradients tab
python -m tftrain sweep --config FILE --set KEY=VALUE,VALUE   a run for each value, and a table
python -m tftrain plot RUN...          curves of one or several runs as a PNG
python -m tftrain report RUN...        one HTML report on one or several runs
python -m tftrain list [KIND]          what a config can name, with arguments and defaults
python -m tftrain schema               a JSON Schema of configs, for editors
"""


def train_parser() -> CommandParser:
    """Return the parser of `python -m tftrain`, which trains."""
    parser = CommandParser(
        prog="python -m tftrain",
        usage=USAGE,
        description="Train a Keras model and see its gradients.",
    )
    _add_config(parser)
    _add_overrides(parser)
    parser.add_argument(
        "--run-dir",
        metavar="DIR",
        type=input_path,
        help="the run's folder (default: runs/NAME-TIME)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue from the last checkpoint in --run-dir, or start if there is none",
    )
    parser.add_argument(
        "--allow-changes",
        action="store_true",
        help="with --resume: continue even if the config has changed in a way that affects the numbers",
    )
    _add_trust(parser)
    parser.add_argument(
        "--print-config",
        action="store_true",
        help="print the whole resolved config and stop",
    )
    return parser


def inspect_parser() -> CommandParser:
    """Return the parser of `inspect`."""
    parser = CommandParser(
        prog="python -m tftrain inspect",
        description="The model, and one batch through it and back.",
    )
    _add_config(parser, help="the YAML file (default: that of --checkpoint)")
    _add_overrides(parser)
    parser.add_argument(
        "--checkpoint",
        metavar="RUN",
        type=input_path,
        help="inspect the last checkpoint in a run's folder",
    )
    return parser


def check_gradients_parser() -> CommandParser:
    """Return the parser of `check-gradients`."""
    parser = CommandParser(
        prog="python -m tftrain check-gradients",
        description="Gradients against differences of the loss.",
    )
    _add_config(parser, required=True)
    _add_overrides(parser)
    parser.add_argument(
        "--samples",
        metavar="N",
        type=int,
        default=20,
        help="how many elements of each parameter to check, at most (default: 20)",
    )
    return parser


def replay_parser() -> CommandParser:
    """Return the parser of `replay`."""
    parser = CommandParser(
        prog="python -m tftrain replay",
        description="Repeat a step that went wrong, layer by layer.",
    )
    parser.add_argument(
        "folder",
        metavar="RUN/incidents/STEP",
        type=input_path,
        help="the folder of the incident",
    )
    return parser


def board_parser() -> CommandParser:
    """Return the parser of `board`."""
    parser = CommandParser(
        prog="python -m tftrain board",
        description="TensorBoard with the Gradients tab, on runs.",
    )
    parser.add_argument(
        "folders",
        metavar="RUN",
        nargs="*",
        type=input_path,
        help="a run, or a folder that contains runs (default: runs)",
    )
    parser.add_argument(
        "--port",
        metavar="N",
        type=int,
        default=6006,
        help="the port, or the next free one (default: 6006)",
    )
    parser.add_argument(
        "--host",
        metavar="HOST",
        default="localhost",
        help="0.0.0.0 can be seen from other machines",
    )
    return parser


def sweep_parser() -> CommandParser:
    """Return the parser of `sweep`."""
    parser = CommandParser(
        prog="python -m tftrain sweep",
        description="A run for each combination of values, and a table.",
    )
    _add_config(parser, required=True)
    parser.add_argument(
        "--set",
        metavar="KEY.PATH=VALUE,VALUE",
        action="append",
        default=[],
        help="values separated by commas, one run each; none leaves the component out; repeatable",
    )
    parser.add_argument(
        "--runs-dir",
        metavar="DIR",
        type=input_path,
        help="where the runs' folders are made (default: runs/NAME-sweep-TIME)",
    )
    _add_trust(parser)
    return parser


def plot_parser() -> CommandParser:
    """Return the parser of `plot`."""
    parser = CommandParser(
        prog="python -m tftrain plot",
        description="The curves of one or several runs as a PNG.",
    )
    _add_runs(parser)
    parser.add_argument(
        "--out",
        metavar="FILE.png",
        type=output_path,
        help="the picture (default: RUN/curves.png, or curves.png)",
    )
    parser.add_argument(
        "--curves",
        metavar="NAMES",
        default="",
        help="scalars, such as loss,accuracy,grad_norm (the default)",
    )
    return parser


def report_parser() -> CommandParser:
    """Return the parser of `report`."""
    parser = CommandParser(
        prog="python -m tftrain report",
        description="One HTML report on one or several runs.",
    )
    _add_runs(parser)
    parser.add_argument(
        "--out",
        metavar="FILE.html",
        type=output_path,
        help="default: RUN/report.html, or report.html",
    )
    return parser


def list_parser() -> CommandParser:
    """Return the parser of `list`."""
    parser = CommandParser(
        prog="python -m tftrain list",
        description="What a config can name.",
    )
    parser.add_argument("kind", nargs="?", help=", ".join(COMPONENT_KINDS))
    return parser


def parse_kind(argv: list[str]) -> str | None:
    """Return the kind that `list` is asked for, None for all; ends the process where there is no such kind."""
    parser = list_parser()
    kind = parser.parse_args(argv).kind
    if kind is not None and kind not in COMPONENT_KINDS:
        kinds = ", ".join(COMPONENT_KINDS)
        hint = did_you_mean(kind, COMPONENT_KINDS)
        parser.error(
            f"there is no kind of component '{kind}'; expected one of {kinds}{hint}"
        )
    return kind


def schema_parser() -> CommandParser:
    """Return the parser of `schema`."""
    return CommandParser(
        prog="python -m tftrain schema",
        description="A JSON Schema of configs, for editors.",
    )


def _add_config(
    parser: CommandParser, help: str = "the YAML file", required: bool = False
) -> None:
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=input_path,
        required=required,
        help=help,
    )


def _add_overrides(parser: CommandParser) -> None:
    parser.add_argument(
        "--set",
        metavar="KEY.PATH=VALUE",
        action="append",
        default=[],
        help="change one value; repeatable",
    )


def _add_runs(parser: CommandParser) -> None:
    parser.add_argument(
        "folders",
        metavar="RUN",
        nargs="+",
        type=input_path,
        help="the folder of a run",
    )


def _add_trust(parser: CommandParser) -> None:
    parser.add_argument(
        "--trust",
        action="store_true",
        help="also run the code that a saved model (model: pretrained) has in its file",
    )
