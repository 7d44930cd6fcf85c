"""Reads the signature of anything a dotted path names, from its source, so that checking a config runs no code.

What the source does not tell (a constructor inherited from elsewhere, a part made at run time) is asked of the
imported object instead.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.machinery
import importlib.util
import inspect
import re
import sys
import typing
from pathlib import Path
from typing import Any, NamedTuple

from tftrain import values
from tftrain.strict import nearest


class _Absent:
    def __repr__(self) -> str:
        return "required"


REQUIRED = _Absent()  # the argument has no default
UNREAD = type("_Unread", (), {"__repr__": lambda self: "..."})()  # it has one that is not a plain value


class Argument(NamedTuple):
    name: str
    hint: Any  # an annotation made of tftrain.values, builtins and typing; Any where there is none
    default: Any
    keyword_only: bool = False


class Signature(NamedTuple):
    target: str  # "package.module:name"
    kind: str  # "class" or "function"
    arguments: tuple[Argument, ...]
    summary: str  # the first sentence of the docstring


class PartError(ValueError):
    """A dotted path that leads nowhere."""


_WORDS = {name: getattr(values, name) for name in dir(values) if not name.startswith("_")}
_WORDS |= {name: getattr(typing, name) for name in ("Any", "Optional", "Union", "Sequence", "Tuple", "List", "Dict")}
_WORDS |= {kind.__name__: kind for kind in (int, float, bool, str, list, tuple, dict)}
_WORDS |= {"typing": typing, "None": None, "Literal": typing.Literal, "Annotated": typing.Annotated}
_SAFE = (ast.Name, ast.Load, ast.Subscript, ast.Tuple, ast.List, ast.BinOp, ast.BitOr, ast.Constant, ast.Attribute)


@functools.cache
def read(target: str) -> Signature:
    """The signature of "package.module:name"; raises PartError where there is no such thing."""
    module, _, name = target.partition(":")
    found = _static(module, name, 0)
    return found._replace(target=target) if found else _dynamic(target)


def resolve(path: str) -> str:
    """'pkg.module.Name' or 'pkg.module:Name' -> 'pkg.module:Name'."""
    return path if ":" in path else ":".join(path.rpartition(".")[::2])


def load(target: str) -> Any:
    """Import what the target names; the imported code's own errors pass through."""
    module, _, name = target.partition(":")
    if not _source(module) and not _known(module):
        raise PartError(_no_module(module))
    found: Any = importlib.import_module(module)
    for step in name.split("."):
        if not hasattr(found, step):
            raise PartError(f"'{module}' has no '{step}'{nearest(step, dir(found))}")
        found = getattr(found, step)
    return found


@functools.cache
def _source(module: str) -> Path | None:
    """The source file of a module, found without running its package."""
    head, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(head) if head else None
    except (ValueError, ImportError):
        return None
    for index, _ in enumerate(rest):
        if spec is None or spec.submodule_search_locations is None:
            return None
        name = ".".join([head, *rest[: index + 1]])
        spec = importlib.machinery.PathFinder.find_spec(name, list(spec.submodule_search_locations))
    origin = spec.origin if spec else None
    return Path(origin) if origin and origin.endswith(".py") else None


def _known(module: str) -> bool:
    """Whether the module can be imported although it has no Python source of its own."""
    try:
        return module in sys.modules or importlib.util.find_spec(module) is not None
    except (ValueError, ImportError):
        return False


def _no_module(module: str) -> str:
    local = [path.stem for path in Path.cwd().glob("*.py")]
    return (
        f"there is no module '{module}' in the working directory or among the installed packages"
        f"{nearest(module.split('.')[0], local)}"
    )


@functools.cache
def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (UnicodeError, OSError):
        return ""  # importing it will say what is wrong


@functools.cache
def _tree(path: Path) -> ast.Module | None:
    return _parsed(_text(path))


def _excerpt(path: Path, name: str) -> ast.Module | None:
    """One function, or one class up to its constructor's body: parsing whole files of Keras would take half a second."""
    found = re.search(rf"^(?:class|def) {re.escape(name)}\b.*?(?=^[^\s)#]|\Z)", _text(path), re.MULTILINE | re.DOTALL)
    if not found:
        return None
    text = found[0]
    constructor = re.search(r"^    def __init__\(.*?\)(?: ->[^:\n]+)?:\n", text, re.MULTILINE | re.DOTALL)
    if text.startswith("class"):
        if not constructor:
            return None
        text = text[: constructor.end()] + "        pass\n"
    return _parsed(text)


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return None


def _static(module: str, name: str, depth: int) -> Signature | None:
    path = _source(module)
    if path is None or depth > 8:
        return None
    tree = _excerpt(path, name) or _tree(path)
    for node in tree.body if tree else ():
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return Signature("", "function", _arguments(node, False), _summary(node))
        if isinstance(node, ast.ClassDef) and node.name == name:
            return _class(module, tree, node, depth)
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _static(_absolute(module, path, node), alias.name, depth + 1)
    return None


def _absolute(module: str, path: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, node.module] if node.module else base)


def _class(module: str, tree: ast.Module, node: ast.ClassDef, depth: int) -> Signature | None:
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            return Signature("", "class", _arguments(item, True), _summary(node))
    if node.decorator_list and any("dataclass" in ast.unparse(one) for one in node.decorator_list):
        return None
    for base in node.bases:
        target = _base(module, tree, base)
        inherited = _static(*target, depth + 1) if target else None
        return inherited._replace(summary=_summary(node) or inherited.summary) if inherited else None
    return Signature("", "class", (), _summary(node))


def _base(module: str, tree: ast.Module, base: ast.expr) -> tuple[str, str] | None:
    """Where a base class is defined: a name of this module, or `imported.module.Name`."""
    if isinstance(base, ast.Name):
        return module, base.id
    text = ast.unparse(base)
    head, _, rest = text.partition(".")
    for node in tree.body:
        names = node.names if isinstance(node, (ast.Import, ast.ImportFrom)) else []
        for alias in names:
            if (alias.asname or alias.name) == head and rest:
                start = f"{node.module}.{alias.name}" if isinstance(node, ast.ImportFrom) else alias.name
                middle, _, last = rest.rpartition(".")
                return ".".join(filter(None, [start, middle])), last
    return None


def _arguments(node: ast.FunctionDef, method: bool) -> tuple[Argument, ...]:
    spec = node.args
    plain = [*spec.posonlyargs, *spec.args]
    defaults = [None] * (len(plain) - len(spec.defaults)) + list(spec.defaults)
    found = [_argument(one, default, False) for one, default in zip(plain, defaults)][1 if method else 0 :]
    found += [_argument(one, default, True) for one, default in zip(spec.kwonlyargs, spec.kw_defaults)]
    return tuple(found)


def _argument(node: ast.arg, default: ast.expr | None, keyword_only: bool) -> Argument:
    value: Any = REQUIRED
    if default is not None:
        try:
            value = ast.literal_eval(default)
        except ValueError:
            value = UNREAD
    return Argument(node.arg, _hint(node.annotation), _plain(value), keyword_only)


def _plain(value: Any) -> Any:
    """Tuples become lists, as YAML writes them; what YAML cannot write is UNREAD."""
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(item) for key, item in value.items()}
    return value if value is None or isinstance(value, (bool, int, float, str)) or value is REQUIRED else UNREAD


def _hint(annotation: ast.expr | None) -> Any:
    if annotation is None:
        return Any
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            annotation = ast.parse(annotation.value, mode="eval").body
        except SyntaxError:
            return Any
    if not all(isinstance(node, _SAFE) for node in ast.walk(annotation)):
        return Any
    if any(isinstance(node, ast.Attribute) and node.attr.startswith("_") for node in ast.walk(annotation)):
        return Any
    try:
        code = compile(ast.Expression(annotation), "<annotation>", "eval")
        hint = eval(code, {"__builtins__": {}}, _WORDS)  # names, subscripts and | only: see _SAFE
    except (NameError, TypeError, AttributeError):
        return Any  # a class of the user's own: nothing YAML could be checked against
    return hint


def _summary(node: ast.AST) -> str:
    return _first_sentence(ast.get_docstring(node))


def _first_sentence(doc: str | None) -> str:
    paragraph = " ".join((doc or "").strip().split("\n\n")[0].split())
    return re.split(r"(?<=[a-z)`])\.(?: |$)", paragraph)[0].rstrip(".")


def _dynamic(target: str) -> Signature:
    found = load(target)
    if not callable(found):
        raise PartError(f"'{target}' is a {type(found).__name__}; expected a function or a class")
    hints = getattr(found.__init__ if inspect.isclass(found) else found, "__annotations__", {})
    arguments = []
    for name, one in inspect.signature(found).parameters.items():
        if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD):
            continue
        default = REQUIRED if one.default is one.empty else _plain(one.default)
        hint = hints.get(name, Any)
        hint = hint if not isinstance(hint, str) else _hint(ast.Constant(hint))
        arguments.append(Argument(name, hint, default, one.kind is one.KEYWORD_ONLY))
    kind = "class" if inspect.isclass(found) else "function"
    return Signature(target, kind, tuple(arguments), _first_sentence(inspect.getdoc(found)))
