"""One config file as a tree of nodes: its size, its encoding and its shape are checked, nothing more."""

from __future__ import annotations

from pathlib import Path

from tftrain.config.conversion import describe_value
from tftrain.config.yaml_parser import Node, SourceLocation, format_error, parse
from tftrain.runtime import untrusted
from tftrain.runtime.errors import ConfigError
from tftrain.runtime.untrusted import Unreadable

MAX_BYTES = 250_000
_SECTIONS = "expected sections such as 'model: ...' and 'data: ...'"


def read_alone(path: Path) -> Node:
    """Read a config that builds upon no other file, as that in a run's folder; raises ConfigError."""
    node = parse_file(path)
    if "base" in node.value:
        message = "leads to another file, which the config of a run never does"
        raise ConfigError(
            [format_error(node.value["base"][0], "base", message)]
        )
    return node


def parse_file(path: Path) -> Node:
    """Return the tree of one file, which is a mapping; raise ConfigError where it cannot be read."""
    node = parse(_text(path), str(path))
    if not isinstance(node.value, dict):
        raise ConfigError(
            [
                format_error(
                    node.place,
                    "",
                    f"given {describe_value(node.value, node.text)}; {_SECTIONS}",
                )
            ]
        )
    return node


def _text(path: Path) -> str:
    place = SourceLocation(str(path))
    try:
        with untrusted.open_file(path) as file:
            written = file.read(MAX_BYTES + 1)
        if len(written) > MAX_BYTES:
            raise ConfigError(
                [
                    format_error(
                        place,
                        "",
                        f"more than {MAX_BYTES} bytes; expected a config of some lines",
                    )
                ]
            )
        return written.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        preceding = written[: error.start]
        place = SourceLocation(
            str(path),
            preceding.count(b"\n") + 1,
            error.start - preceding.rfind(b"\n"),
        )
        message = f"the byte 0x{written[error.start]:02x} is not UTF-8; save the file as UTF-8 text"
        raise ConfigError([format_error(place, "", message)]) from None
    except Unreadable as error:
        raise ConfigError([format_error(place, "", error.why)]) from None
    except OSError as error:
        raise ConfigError(
            [
                format_error(
                    place, "", f"cannot be read: {error.strerror or error}"
                )
            ]
        ) from None
