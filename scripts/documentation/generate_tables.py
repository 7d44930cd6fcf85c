"""Writes the tables of the pages that are made from the code: between two `generated` comments.

    python scripts/documentation/generate_tables.py [--check]

With --check nothing is written; the exit status is 1 if a page is stale. TensorFlow is not needed.
"""

from __future__ import annotations

import dataclasses
import re
import sys
import typing
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tftrain.cli import arguments as command_arguments  # noqa: E402
from tftrain.config import former_names, registry  # noqa: E402
from tftrain.config.arguments import arguments_of  # noqa: E402
from tftrain.config.conversion import describe_type  # noqa: E402
from tftrain.config.field_types import Group, union_members  # noqa: E402
from tftrain.config.schema import Config  # noqa: E402
from tftrain.config.signature import OPAQUE_DEFAULT, REQUIRED, Argument  # noqa: E402
from tftrain.reporting.tensorboard.descriptions import markdown_rows  # noqa: E402

BLOCK = re.compile(
    r"^(<!-- generated: (\w+) -->\n).*?^(<!-- end of generated -->)$",
    re.MULTILINE | re.DOTALL,
)


def pages() -> list[Path]:
    """Return the Markdown files of the documentation, the README first."""
    folders = [
        ROOT / "configs",
        ROOT / "scripts",
        ROOT / "scripts" / "documentation",
        *sorted((ROOT / "tftrain").glob("*/")),
    ]
    return [
        ROOT / "README.md",
        *(page for folder in folders for page in sorted(folder.glob("*.md"))),
    ]


def keras_version() -> str:
    """Return the version of Keras that the tables were made with, from the reference page."""
    text = (ROOT / "tftrain/config/reference.md").read_text(encoding="utf-8")
    (version,) = re.findall(r"^Made with Keras ([\w.]+);", text, re.MULTILINE)
    return version


def is_keras_installed_as_documented() -> bool:
    """Return whether the installed Keras offers the components that the reference lists."""
    return keras_version() == metadata.version("keras")


def with_tables(text: str) -> str:
    """Return a page with its generated blocks made anew."""

    def replace(block: re.Match) -> str:
        lines = GENERATORS[block[2]]()
        return block[1] + "\n" + "\n".join(lines) + "\n\n" + block[3]

    return BLOCK.sub(replace, text)


def stale_pages() -> list[Path]:
    """Return the pages whose generated tables differ from the code."""
    return [
        page
        for page in pages()
        if with_tables(page.read_text(encoding="utf-8"))
        != page.read_text(encoding="utf-8")
    ]


def section_table() -> Iterator[str]:
    """Yield the table of the config's sections, with the keys of each."""
    yield "| section | what it says | keys |"
    yield "|---|---|---|"
    hints = typing.get_type_hints(Config, include_extras=True)
    for section in _settings(Config):
        record = _record_of(hints[section.name])
        names = [key.name for key in _settings(record)] if record else []
        keys = ", ".join(f"`{name}`" for name in names if name != "source")
        description = _cell(section.metadata["says"])
        kind = "metric" if section.name == "metrics" else section.name
        anchor = f"the-section-{section.name}" if record else kind
        yield f"| [`{section.name}`](reference.md#{anchor}) | {description} | {keys} |"


def key_tables() -> Iterator[str]:
    """Yield a table of keys for each section of the config."""
    hints = typing.get_type_hints(Config, include_extras=True)
    yield from _table_of_record(
        Config,
        only=[name for name, hint in hints.items() if not _record_of(hint)],
    )
    for section in _settings(Config):
        record = _record_of(hints[section.name])
        if record:
            yield ""
            yield f"### The section `{section.name}`"
            yield ""
            yield " ".join((record.__doc__ or "").split())
            yield ""
            yield from _table_of_record(record)
            yield from _nested_tables(record, section.name)
    yield ""
    yield "### The list `optimizer.groups`"
    yield ""
    yield "A list; each item has these keys."
    yield ""
    yield from _table_of_record(Group)


def component_tables() -> Iterator[str]:
    """Yield a table of components for each kind, with their arguments and defaults."""
    for kind, entry in registry.COMPONENT_KINDS.items():
        yield f"### {kind}"
        yield ""
        yield f"{_sentence(entry.says)}"
        yield ""
        yield "| name | what it is | arguments |"
        yield "|---|---|---|"
        for name, target in registry.names_of_kind(kind).items():
            known = arguments_of(kind, target)
            shown = [
                _argument(argument)
                for argument in known.given.values()
                if argument.name not in entry.options
            ]
            yield f"| `{name}` | {_cell(known.summary)} | {', '.join(shown)} |"
        yield ""
        if entry.options:
            options = ", ".join(f"`{name}`" for name in entry.options)
            yield f"Each, and your own, also takes: {options}."
            yield ""
        if entry.house:
            names = ", ".join(f"`{name}`" for name in entry.house)
            yield f"Your own (`module:name`) can ask for {names} with keyword-only arguments."
            yield ""


def tag_table() -> Iterator[str]:
    """Yield the table of TensorBoard's tags."""
    yield "| tag | what it is |"
    yield "|---|---|"
    yield from markdown_rows()


def command_table() -> Iterator[str]:
    """Yield the table of commands, from the usage that `--help` prints."""
    yield "| command | what it does |"
    yield "|---|---|"
    for line in command_arguments.USAGE.strip().splitlines():
        command, description = re.split(r"\s{3,}", line.strip(), maxsplit=1)
        yield f"| `{command}` | {_cell(description)} |"


def rename_table() -> Iterator[str]:
    """Yield the table of config keys, arguments and components whose former names are still read."""
    hints = typing.get_type_hints(Config, include_extras=True)
    records = {name: _record_of(hint) for name, hint in hints.items()}
    sections = {
        record.__name__: f"{name}."
        for name, record in records.items()
        if record
    }
    sections[Group.__name__] = "optimizer.groups: "
    yield "| kind | was | is |"
    yield "|---|---|---|"
    for record, keys in former_names.FORMER_KEYS.items():
        for former, current in keys.items():
            path = sections[record]
            yield f"| key | `{path}{former}` | `{path}{current}` |"
    for kind, components in former_names.FORMER_COMPONENTS.items():
        for former, current in components.items():
            yield f"| {kind} | `{former}` | `{current}` |"
    for (kind, name), arguments in former_names.FORMER_ARGUMENTS.items():
        for former, current in arguments.items():
            yield f"| argument of the {kind} `{name}` | `{former}` | `{current}` |"


def version_line() -> Iterator[str]:
    """Yield the line that names the Keras whose components are listed."""
    yield f"Made with Keras {metadata.version('keras')}; another version offers other components and arguments."


GENERATORS = {
    "sections": section_table,
    "keys": key_tables,
    "components": component_tables,
    "tags": tag_table,
    "commands": command_table,
    "renames": rename_table,
    "version": version_line,
}


def _settings(record: type) -> list[dataclasses.Field]:
    return [
        field
        for field in dataclasses.fields(record)
        if not field.metadata.get("hidden")
    ]


def _record_of(hint: Any) -> type | None:
    """The record that an annotation holds, as itself or as one member of a union."""
    members = [
        member for member in union_members(hint) if member is not type(None)
    ]
    records = [member for member in members if dataclasses.is_dataclass(member)]
    return records[0] if len(members) == len(records) == 1 else None


def _table_of_record(
    record: type, only: list[str] | None = None
) -> Iterator[str]:
    hints = typing.get_type_hints(record, include_extras=True)
    yield "| key | value | default | what it says |"
    yield "|---|---|---|---|"
    for field in _settings(record):
        if only is not None and field.name not in only:
            continue
        name = "name" if field.name == "source" else field.name
        kind = _cell(describe_type(hints[field.name]))
        description = _cell(field.metadata.get("says", ""))
        yield f"| `{name}` | {kind} | {_default(field)} | {description} |"


def _nested_tables(record: type, path: str) -> Iterator[str]:
    hints = typing.get_type_hints(record, include_extras=True)
    for field in _settings(record):
        inner = _record_of(hints[field.name])
        if inner:
            yield ""
            yield f"### The section `{path}.{field.name}`"
            yield ""
            yield " ".join((inner.__doc__ or "").split())
            yield ""
            yield from _table_of_record(inner)


def _default(field: dataclasses.Field) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return f"`{_yaml_text(field.default_factory())}`"
    if field.default is dataclasses.MISSING:
        return "required"
    return f"`{_yaml_text(field.default)}`"


def _argument(argument: Argument) -> str:
    if argument.default is REQUIRED:
        return f"**`{argument.name}`** ({_cell(describe_type(argument.hint))})"
    if argument.default is OPAQUE_DEFAULT:
        return f"`{argument.name}`"
    return f"`{argument.name}` = `{_cell(_yaml_text(argument.default))}`"


def _yaml_text(value: Any) -> str:
    """A default as it would be written in YAML."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_yaml_text, value))}]"
    return str(value)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _cell(text: str) -> str:
    """Text that does not end the cell of a table, nor begin a tag of HTML."""
    return text.replace("|", "&#124;").replace("<", "&lt;")


def main() -> int:
    """Write the stale pages, or with --check only name them."""
    stale = stale_pages()
    for page in stale:
        print(page.relative_to(ROOT))
        if "--check" not in sys.argv:
            page.write_text(
                with_tables(page.read_text(encoding="utf-8")), encoding="utf-8"
            )
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
