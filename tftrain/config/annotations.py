"""Annotations read from source as values that a config can be checked against."""

from __future__ import annotations

import ast
import types
import typing
from typing import Any

from tftrain.config import field_types

_WORDS = {name: getattr(field_types, name) for name in dir(field_types) if not name.startswith("_")}
_WORDS |= {name: getattr(typing, name) for name in ("Any", "Optional", "Union", "Tuple", "List", "Dict")}
_WORDS |= {"Sequence": list}
_WORDS |= {kind.__name__: kind for kind in (int, float, bool, str, list, tuple, dict)}
_WORDS |= {"typing": typing, "None": None, "Literal": typing.Literal, "Annotated": typing.Annotated}
_SAFE = (ast.Name, ast.Load, ast.Subscript, ast.Tuple, ast.List, ast.BinOp, ast.BitOr, ast.Constant, ast.Attribute)
_SAFE += (ast.UnaryOp, ast.USub, ast.keyword)
_MARKS = ("Range", "Many", "Time", "PartOf", "Regex")  # of `values`, which are made in an annotation


def annotation_value(annotation: ast.expr | None) -> Any:
    """An annotation of the source as a value; Any for what YAML could not be checked against."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            annotation = ast.parse(annotation.value, mode="eval").body
        except SyntaxError:
            return Any
    nodes = list(ast.walk(annotation)) if annotation else []
    if not nodes or not all(map(_is_safe, nodes)):
        return Any
    try:
        code = compile(ast.Expression(annotation), "<annotation>", "eval")
        hint = eval(code, {"__builtins__": {}}, _WORDS)  # names, subscripts, | and marks only: see _is_safe
    except (NameError, TypeError, AttributeError):
        return Any
    return hint if is_checkable(hint) else Any


def _is_safe(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in _MARKS
    return isinstance(node, _SAFE) and not getattr(node, "attr", "").startswith("_")


def is_checkable(hint: Any) -> bool:
    """Whether an annotation is made of nothing but what a config can hold."""
    bare, _ = field_types.split(hint)
    if typing.get_origin(bare) is typing.Literal:
        return True
    inner = [one for one in typing.get_args(bare) if one is not ...]
    known = (Any, None, type(None), int, float, bool, str, list, tuple, dict)
    if not inner:
        return any(bare is one for one in known)
    containers = (typing.Union, types.UnionType, list, tuple, dict)
    return typing.get_origin(bare) in containers and all(map(is_checkable, inner))
