"""What a dotted path leads to: the source file of a module, found without importing it, or the imported thing."""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import importlib.machinery
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tftrain.runtime.errors import ImportPathError
from tftrain.runtime.names import did_you_mean
from tftrain.runtime.stderr_filter import filtered_stderr
from tftrain.runtime.working_directory import cwd_off_path

BUILTIN_PREFIXES = (
    "keras.",
    "tftrain.",
)  # what the targets of built-in parts begin with


def resolve(path: str) -> str:
    """'pkg.module.Name' or 'pkg.module:Name' -> 'pkg.module:Name'; raises PartError where it is no dotted path."""
    target = path if ":" in path else ":".join(path.rpartition(".")[::2])
    if (
        not re.fullmatch(r"[^\W\d]\w*(\.\w+)*:[^\W\d]\w*(\.\w+)*", target)
        or ".py:" in target
    ):
        meant = re.sub(r"\.py(?=:)", "", target).replace("/", ".").lstrip(".")
        hint = (
            f"; did you mean '{meant}'?"
            if meant != target and not meant.startswith(":")
            else ""
        )
        raise ImportPathError(
            f"'{path}' is no dotted path; expected module:name, such as my_models:TinyNet{hint}"
        )
    return target


def see_working_directory() -> None:
    """Let modules be imported from where the user is; what is installed comes first."""
    with contextlib.suppress(
        FileNotFoundError
    ):  # a folder that was deleted holds no modules
        here = os.getcwd()
        if here not in sys.path and "" not in sys.path:
            sys.path.append(here)


def import_object(target: str) -> Any:
    """Import what the target names; the imported code's own errors pass through."""
    module, _, name = target.partition(":")
    if not source_file(module) and not _known(module):
        raise ImportPathError(_no_module(module))
    with (
        cwd_off_path()
        if module.startswith(BUILTIN_PREFIXES)
        else contextlib.nullcontext()
    ):
        value: Any = importlib.import_module(module)
    for step in name.split("."):
        if not hasattr(value, step):
            raise ImportPathError(
                f"'{module}' has no '{step}'{did_you_mean(step, dir(value))}"
            )
        value = getattr(value, step)
    return value


def import_user_object(target: str) -> Any:
    """What `load` gives; whatever a user's module does when it is imported becomes a PartError."""
    try:
        with filtered_stderr():  # the module may import TensorFlow
            return import_object(target)
    except ImportPathError:
        raise
    except (Exception, SystemExit) as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        file = last.filename.removeprefix(f"{Path.cwd()}{os.sep}")
        where = (
            ""
            if isinstance(error, SyntaxError)
            else f" ({file}, line {last.lineno})"
        )
        words = " ".join(str(error).split())
        module = target.partition(":")[0]
        raise ImportPathError(
            f"importing '{module}' raised {type(error).__name__}: {words}{where}"
        ) from None


@functools.cache
def source_file(module: str) -> Path | None:
    """The source file of a module, found without running its package."""
    head, *submodules = module.split(".")
    try:
        spec = importlib.util.find_spec(head) if head else None
    except (ValueError, ImportError):
        return None
    # Without its package in front, which a folder without __init__.py would look for among modules.
    for name in submodules:
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(
            name, list(spec.submodule_search_locations)
        )
    origin = spec.origin if spec else None
    return Path(origin) if origin and origin.endswith(".py") else None


@functools.cache
def source_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (UnicodeError, OSError):
        return ""  # importing it will say what is wrong


@functools.cache
def source_tree(path: Path) -> ast.Module | None:
    return parse_source(source_text(path))


def parse_source(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return None


def refuse_unbound(module: str, name: str) -> None:
    """Raises PartError where the source tells that the module has no such name, without importing it."""
    path = source_file(module)
    source = source_tree(path) if path else None
    bound = _bound(source) if source else {"*"}
    submodule = source_file(f"{module}.{name}") if bound else None
    if not submodule and not bound & {"*", "__getattr__", name.split(".")[0]}:
        raise ImportPathError(
            f"'{module}' has no '{name}'{did_you_mean(name, sorted(bound))}"
        )


def last_binding(body: Sequence[ast.stmt], name: str) -> ast.stmt | None:
    """The last of the statements that may give the name a value, which is the one that counts in Python."""
    return next(
        (node for node in reversed(body) if name in _bound_by(node)), None
    )


def _bound_by(statement: ast.stmt) -> set[str]:
    """The names of its own scope, and for a block of statements those that it may bind."""
    if isinstance(
        statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    ):
        return {statement.name}
    return _bound(statement)


def _bound(tree: ast.AST) -> set[str]:
    """The names that source may give a value, wherever in it."""
    bound = set()
    for node in ast.walk(tree):
        if isinstance(
            node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        ):
            bound.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        elif isinstance(node, ast.alias):
            bound.add(node.asname or node.name.split(".")[0])
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
            "globals",
            "exec",
            "setattr",
        ):
            bound.add("*")  # names made at run time
    return bound


def _known(module: str) -> bool:
    """Whether the module can be imported although it has no Python source of its own."""
    try:
        return (
            module in sys.modules
            or importlib.util.find_spec(module) is not None
        )
    except (ValueError, ImportError):
        return False


def _no_module(module: str) -> str:
    package, _, last = module.rpartition(".")
    init = source_file(package) if package else None
    if init is None:
        where, folder = (
            "in the working directory or among the installed packages",
            Path.cwd(),
        )
        sought = module.split(".")[0]
    elif init.name != "__init__.py":
        return f"there is no module '{module}': '{package}' is a file, not a package"
    else:
        where, folder, sought = f"in '{package}'", init.parent, last
    neighbors = [
        path.stem for path in folder.iterdir() if path.suffix in ("", ".py")
    ]
    return f"there is no module '{module}' {where}{did_you_mean(sought, neighbors)}"
