"""What `python -m tftrain list` prints."""

from __future__ import annotations

from tftrain.config import arguments, registry
from tftrain.config.signature import REQUIRED, UNREAD, Argument
from tftrain.config.wording import describe


def listing(kind: str | None = None) -> str:
    """Every part of a kind with its arguments and defaults; without a kind, of all kinds."""
    kinds = [kind] if kind else list(registry.KINDS)
    return "\n\n".join(_section(one) for one in kinds)


def _section(kind: str) -> str:
    entry = registry.KINDS[kind]
    lines = [f"{kind}: {entry.says}"]
    for name, target in registry.names(kind).items():
        known = arguments.of(kind, target)
        lines.append(f"  {name:<24}  {known.summary}".rstrip())
        lines += [f"      {_argument(one)}" for one in known.given.values()]
    asks = f" (it can ask for {', '.join(entry.house)} by keyword-only arguments)" if entry.house else ""
    options = [f"      {name} = null" for name in entry.options]
    return "\n".join([*lines, f"  module:name{'':<13}  your own{asks}", *options])


def _argument(one: Argument) -> str:
    if one.default is REQUIRED:
        return f"{one.name}: {describe(one.hint)}, required"
    default = "" if one.default is UNREAD else f" = {_value(one.default)}"
    return f"{one.name}{default}"


def _value(value: object) -> str:
    words = {None: "null", True: "true", False: "false"}
    if isinstance(value, list):
        return f"[{', '.join(_value(one) for one in value)}]"
    return words[value] if value is None or isinstance(value, bool) else str(value)
