"""Faults that are the input's, not ours: each is told in as few lines as it needs, and ends with exit status 2."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import os
import re
import textwrap
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tftrain.config import importing
from tftrain.config.importing import BUILTIN_PREFIXES
from tftrain.config.protocols import ComponentLike
from tftrain.config.yaml_parser import format_error
from tftrain.runtime.errors import (
    DataError,
    ImportPathError,
    InputError,
    UserCodeError,
)
from tftrain.runtime.tf_errors import short_message

_OURS = str(Path(__file__).parent.parent)
_GO_BETWEEN = re.compile(
    r"importlib|traceback_utils\.py$"
)  # between our frames and the user's
_TENSORFLOW = os.path.join(os.sep, "tensorflow", "python", "")
_TRACED = "in user code:"  # begins the message of an error in a traced function
_CALLED = "Traceback (most recent call last):\n"  # in the message of an error in a function that TensorFlow calls
# In the message of an error in an input pipeline, or in the traceback of a function that it calls.
_ITERATED = re.compile(
    r"IteratorGetNext|Iterator::Root|Dataset:|in generator_py_func|data/source\.py\""
)
_MARKS = re.compile(  # names of nodes and of iterators, and colors
    r"\[\[\{\{[^}]*\}\}\]\]|\{\{[^}]*\}\}|\[Op:\w+\](?: name:)?|\x1b\[[0-9;]*m"
    r"|Error in user-defined function passed to \S+ transformation with iterator: \S+:"
)


@contextmanager
def error_context(part: ComponentLike, path: str) -> Iterator[None]:
    """What goes wrong inside is told with the place where the config chose the part."""
    try:
        yield
    except (InputError, UserCodeError):
        raise
    except (DataError, ImportPathError) as error:
        raise InputError(
            format_error(part.place, path, _words(error))
        ) from None
    except (Exception, SystemExit) as error:
        raise _told(error, part, path) from error


def with_error_context(function: Callable, part: ComponentLike) -> Callable:
    """Return a component's function whose faults are reported as within `error_context`.

    Args:
        function: of the component.
        part: the component.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        with error_context(part, part.path):
            return function(*args, **kwargs)

    return call


def _told(error: Exception, part: ComponentLike, path: str) -> Exception:
    is_user_code = not part.target.startswith(BUILTIN_PREFIXES)
    if is_user_code and str(error).startswith(_TRACED):
        kind, description = _traced(str(error))
        return _raised(part, path, kind, description)
    if is_user_code and _CALLED in str(error):
        kind, description = _called(str(error))
        if "File" in description:
            return _raised(part, path, kind, description)
        return InputError(
            format_error(
                part.place,
                path,
                f"{part.name}: {description}{_where_made(part)}",
            )
        )
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(_OURS)
    ]
    frames = [
        frame for frame in frames if not _GO_BETWEEN.search(frame.filename)
    ]
    frames = list(
        itertools.dropwhile(lambda frame: _TENSORFLOW in frame.filename, frames)
    )  # the way into a graph
    if is_user_code and (frames or isinstance(error, SyntaxError)):
        description = "".join(
            traceback.format_list(frames)
            + traceback.format_exception_only(error)
        ).rstrip()
        return _raised(part, path, type(error).__name__, description)
    where = ""
    if is_user_code and part.kind == "data":
        where = _where_made(part)
    return InputError(
        format_error(part.place, path, f"{part.name}: {_words(error)}{where}")
    )


def _raised(
    part: ComponentLike, path: str, kind: str, description: str
) -> UserCodeError:
    head = format_error(part.place, path, f"{part.name} raised {kind}:")
    return UserCodeError(f"{head}\n{_CALLED}{_MARKS.sub('', description)}")


def _traced(text: str) -> tuple[str, str]:
    """The kind of an error in a traced function, whose own traceback is within TensorFlow, and that in its message."""
    frames = list(
        re.finditer(
            r'^ {4}File "(.*)", line .*(?:\n {8}.*)*', text, re.MULTILINE
        )
    )
    user_frames = [
        frame[0][2:].replace("  *\n", "\n")
        for frame in frames
        if not frame[1].startswith(_OURS)
    ]
    last = textwrap.dedent(text[frames[-1].end() :]).strip()
    return last.partition(":")[0], "\n".join([*user_frames, last]).replace(
        "\n        ", "\n    "
    )


def _called(text: str) -> tuple[str, str]:
    """The kind of an error in a function that TensorFlow called, and its traceback, which is in the message."""
    lines = text.partition(_CALLED)[2].splitlines()
    ends = next(
        (
            number
            for number, line in enumerate(lines)
            if line and not line.startswith(" ")
        ),
        len(lines) - 1,
    )
    frames = re.findall(
        r"^ {2}File .*(?:\n {4}.*)*", "\n".join(lines[:ends]), re.MULTILINE
    )
    frames = [frame for frame in frames if f'File "{_OURS}' not in frame]
    user_frames = itertools.dropwhile(
        lambda frame: _TENSORFLOW in frame.splitlines()[0], frames
    )
    return lines[ends].partition(":")[0], "\n".join([*user_frames, lines[ends]])


def raised_within(
    error: Exception, parts: Iterable[ComponentLike], remark: str
) -> UserCodeError | None:
    """An error of a function of the user's that TensorFlow called within a graph, such as a generator's.

    Args:
        error: what TensorFlow raised; the traceback within the function is in its message.
        parts: the user's own parts, that of the data first.
        remark: said of the moment, such as the step.

    Returns:
        The error with the place of the part and the traceback; None where no function of the user's raised.
    """
    text = str(error)
    is_data = _ITERATED.search(text) is not None
    parts = sorted(
        parts, key=lambda part: (part.kind == "data") != is_data
    )  # the likelier ones first
    if _CALLED not in text:
        if (
            not is_data
            or not parts
            or parts[0].kind != "data"
            or "End of sequence" in text
        ):
            return None
        message = f"{parts[0].name} failed {remark}: {_words(short_message(text))}{_where_made(parts[0])}"
        return UserCodeError(format_error(parts[0].place, "data", message))
    kind, description = _called(text)
    files = re.findall(r'^ {2}File "(.*?)"', description, re.MULTILINE)
    owners = [part for part in parts if str(_source_of(part)) in files]
    chosen = next(iter([*owners, *(parts if is_data else [])]), None)
    if (
        not files or chosen is None
    ):  # of a package that the part calls, it is not known which part calls it
        return None
    return _raised(
        chosen, chosen.path or chosen.kind, f"{kind} {remark}", description
    )


def _source_of(part: ComponentLike) -> Path | None:
    return importing.source_file(part.target.partition(":")[0])


def _where_made(part: ComponentLike) -> str:
    """The file and line of the function or class that a part names, for the end of a message."""
    with contextlib.suppress(
        Exception
    ):  # what has no source, such as a built-in
        function = part.function()
        return f" ({inspect.getsourcefile(function)}, line {inspect.getsourcelines(function)[1]})"
    return ""


def _words(error: Exception | str) -> str:
    """The message on one line, without the code that TensorFlow quotes before that of a traced function."""
    text = str(error)
    if text.startswith(_TRACED):
        text = re.split(
            r"^ {4}\w+(?:Error|Exception): ", text, flags=re.MULTILINE
        )[-1]
    return " ".join(_MARKS.sub("", text).split()) or type(error).__name__
