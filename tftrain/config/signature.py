"""Reads the signature of anything a dotted path names, from its source, so that checking a config runs no code.

What the source does not tell (a constructor inherited from elsewhere, a part made at run time) is asked of the
imported object instead.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
import types
import typing
from pathlib import Path
from typing import Any, NamedTuple

from tftrain.config import field_types
from tftrain.config.importing import (
    import_user_object,
    last_binding,
    parse_source,
    refuse_unbound,
    source_file,
    source_text,
    source_tree,
)
from tftrain.runtime.errors import ImportPathError


class _Absent:
    def __repr__(self) -> str:
        return "required"


REQUIRED = _Absent()  # the argument has no default
OPAQUE_DEFAULT = type(
    "_Unread", (), {"__repr__": lambda self: "..."}
)()  # it has one that is not a plain value


class Argument(NamedTuple):
    name: str
    hint: Any  # an annotation made of tftrain.config.field_types, builtins and typing; Any where there is none
    default: Any
    keyword_only: bool = False


class Signature(NamedTuple):
    target: str  # "package.module:name"
    kind: str  # "class" or "function"
    arguments: tuple[Argument, ...]
    summary: str  # the first sentence of the docstring


@functools.cache
def read_signature(target: str) -> Signature:
    """The signature of "package.module:name"; raises PartError where there is no such thing."""
    module, _, name = target.partition(":")
    signature = _static(module, name, 0)
    if signature:
        return signature._replace(target=target)
    refuse_unbound(module, name)
    return _dynamic(target)


def _excerpt(path: Path, name: str) -> ast.Module | None:
    """A function of Keras, or a class up to its constructor's body: to parse all of its files takes half a second."""
    definition = rf"^(?:class|def) {re.escape(name)}\b.*?(?=^[^\s)#]|\Z)"
    match = re.search(definition, source_text(path), re.MULTILINE | re.DOTALL)
    if not match:
        return None
    text = match[0]
    constructor = re.search(
        r"^    def __init__\(.*?\)(?: ->[^:\n]+)?:\n",
        text,
        re.MULTILINE | re.DOTALL,
    )
    if text.startswith("class"):
        if not constructor:
            return None
        text = text[: constructor.end()] + "        pass\n"
    return parse_source(text)


def _static(module: str, name: str, depth: int) -> Signature | None:
    path = source_file(module)
    if path is None or depth > 8:
        return None
    source = (
        _excerpt(path, name) if module.startswith("keras.") else None
    ) or source_tree(path)
    return _defined(module, source.body, name, depth) if source else None


def _defined(
    module: str, body: list[ast.stmt], name: str, depth: int
) -> Signature | None:
    """What the name stands for after these statements of the module; None where they do not tell."""
    node = last_binding(body, name)
    if isinstance(node, ast.FunctionDef):
        return Signature(
            "", "function", _arguments(node, False), _summary(node)
        )
    if isinstance(node, ast.ClassDef):
        return _class(module, body[: body.index(node)], node, depth)
    if isinstance(node, ast.ImportFrom):
        original_name = next(
            alias.name
            for alias in reversed(node.names)
            if (alias.asname or alias.name) == name
        )
        return _static(
            _absolute(module, source_file(module), node),
            original_name,
            depth + 1,
        )
    return None


def _absolute(module: str, path: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = (
        module.split(".")
        if path.name == "__init__.py"
        else module.split(".")[:-1]
    )
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, node.module] if node.module else base)


def _class(
    module: str, above: list[ast.stmt], node: ast.ClassDef, depth: int
) -> Signature | None:
    constructor = last_binding(node.body, "__init__")
    if isinstance(constructor, ast.FunctionDef):
        return Signature(
            "", "class", _arguments(constructor, True), _summary(node)
        )
    if constructor or any(
        "dataclass" in ast.unparse(decorator)
        for decorator in node.decorator_list
    ):
        return None
    if not node.bases and not node.keywords:
        return Signature("", "class", (), _summary(node))
    inherited = (
        _base(module, above, node.bases[0], depth)
        if len(node.bases) == 1
        else None
    )  # the import tells of more
    return (
        inherited._replace(summary=_summary(node) or inherited.summary)
        if inherited
        else None
    )


def _base(
    module: str, above: list[ast.stmt], base: ast.expr, depth: int
) -> Signature | None:
    """That of a base class, which is a name defined above in the module, or `imported.module.Name`."""
    if isinstance(base, ast.Name):
        return _defined(module, above, base.id, depth)
    head, _, attribute_path = ast.unparse(base).partition(".")
    node = last_binding(above, head)
    for alias in (
        node.names
        if isinstance(node, (ast.Import, ast.ImportFrom)) and attribute_path
        else []
    ):
        if (alias.asname or alias.name.partition(".")[0]) == head:
            start = alias.name if alias.asname else head
            start = (
                f"{node.module}.{alias.name}"
                if isinstance(node, ast.ImportFrom)
                else start
            )
            middle, _, last = attribute_path.rpartition(".")
            return _static(
                ".".join(filter(None, [start, middle])), last, depth + 1
            )
    return None


def _arguments(node: ast.FunctionDef, method: bool) -> tuple[Argument, ...]:
    spec = node.args
    plain = [*spec.posonlyargs, *spec.args]
    defaults = [None] * (len(plain) - len(spec.defaults)) + list(spec.defaults)
    arguments = [
        _argument(parameter, default, False)
        for parameter, default in zip(plain, defaults, strict=True)
    ][1 if method else 0 :]
    arguments += [
        _argument(parameter, default, True)
        for parameter, default in zip(
            spec.kwonlyargs, spec.kw_defaults, strict=True
        )
    ]
    return tuple(arguments)


def _argument(
    node: ast.arg, default: ast.expr | None, keyword_only: bool
) -> Argument:
    value: Any = REQUIRED
    if default is not None:
        try:
            value = ast.literal_eval(default)
        except (ValueError, TypeError):
            value = OPAQUE_DEFAULT
    return Argument(
        node.arg,
        evaluate_annotation(node.annotation),
        _plain(value),
        keyword_only,
    )


def _plain(value: Any) -> Any:
    """Tuples become lists, as YAML writes them; what YAML cannot write is UNREAD."""
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(item) for key, item in value.items()}
    return (
        value
        if value is None
        or isinstance(value, (bool, int, float, str))
        or value is REQUIRED
        else OPAQUE_DEFAULT
    )


def _summary(node: ast.AST) -> str:
    return _first_sentence(ast.get_docstring(node))


def _first_sentence(doc: str | None) -> str:
    paragraph = " ".join((doc or "").strip().split("\n\n")[0].split())
    return re.split(r"(?<=[a-z)`])\.(?: |$)", paragraph)[0].rstrip(".")


def _dynamic(target: str) -> Signature:
    imported = import_user_object(target)
    if not callable(imported):
        raise ImportPathError(
            f"'{target}' is of type {type(imported).__name__}; expected a function or a class"
        )
    try:
        parameters = inspect.signature(imported).parameters
    except ValueError:
        raise ImportPathError(
            f"'{target}' does not tell its arguments; expected what is written in Python"
        ) from None
    hints = getattr(
        imported.__init__ if inspect.isclass(imported) else imported,
        "__annotations__",
        {},
    )
    arguments = []
    for name, parameter in parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        default = (
            REQUIRED
            if parameter.default is parameter.empty
            else _plain(parameter.default)
        )
        hint = hints.get(name, Any)
        hint = (
            evaluate_annotation(ast.Constant(hint))
            if isinstance(hint, str)
            else hint
            if is_checkable(hint)
            else Any
        )
        arguments.append(
            Argument(
                name, hint, default, parameter.kind is parameter.KEYWORD_ONLY
            )
        )
    kind = "class" if inspect.isclass(imported) else "function"
    return Signature(
        target,
        kind,
        tuple(arguments),
        _first_sentence(inspect.getdoc(imported)),
    )


_WORDS = {
    name: getattr(field_types, name)
    for name in dir(field_types)
    if not name.startswith("_")
}
_WORDS |= {
    name: getattr(typing, name)
    for name in ("Any", "Optional", "Union", "Tuple", "List", "Dict")
}
_WORDS |= {"Sequence": list}
_WORDS |= {
    kind.__name__: kind for kind in (int, float, bool, str, list, tuple, dict)
}
_WORDS |= {
    "typing": typing,
    "None": None,
    "Literal": typing.Literal,
    "Annotated": typing.Annotated,
}
_SAFE = (
    ast.Name,
    ast.Load,
    ast.Subscript,
    ast.Tuple,
    ast.List,
    ast.BinOp,
    ast.BitOr,
    ast.Constant,
    ast.Attribute,
)
_SAFE += (ast.UnaryOp, ast.USub, ast.keyword)
_MARKS = (
    "Range",
    "Many",
    "Time",
    "PartOf",
    "Regex",
)  # of `values`, which are made in an annotation


def evaluate_annotation(annotation: ast.expr | None) -> Any:
    """An annotation of the source as a value; Any for what YAML could not be checked against."""
    if isinstance(annotation, ast.Constant) and isinstance(
        annotation.value, str
    ):
        try:
            annotation = ast.parse(annotation.value, mode="eval").body
        except SyntaxError:
            return Any
    nodes = list(ast.walk(annotation)) if annotation else []
    if not nodes or not all(map(_is_safe, nodes)):
        return Any
    try:
        code = compile(ast.Expression(annotation), "<annotation>", "eval")
        hint = eval(
            code, {"__builtins__": {}}, _WORDS
        )  # names, subscripts, | and marks only: see _is_safe
    except (NameError, TypeError, AttributeError):
        return Any
    return hint if is_checkable(hint) else Any


def _is_safe(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in _MARKS
    return isinstance(node, _SAFE) and not getattr(node, "attr", "").startswith(
        "_"
    )


def is_checkable(hint: Any) -> bool:
    """Whether an annotation is made of nothing but what a config can hold."""
    bare, _ = field_types.unwrap_annotated(hint)
    if typing.get_origin(bare) is typing.Literal:
        return True
    inner = [item for item in typing.get_args(bare) if item is not ...]
    known = (Any, None, type(None), int, float, bool, str, list, tuple, dict)
    if not inner:
        return any(bare is item for item in known)
    containers = (typing.Union, types.UnionType, list, tuple, dict)
    return typing.get_origin(bare) in containers and all(
        map(is_checkable, inner)
    )
