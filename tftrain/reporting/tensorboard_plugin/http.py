"""The replies of a WSGI application: JSON, and the files of the page."""

from __future__ import annotations

import gzip
import inspect
import json
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

FOLDER = Path(__file__).parent / "static"
TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
Environ = dict[str, Any]


class BadRequest(ValueError):
    """The query does not fit what is asked."""


def parse_query(environ: Environ, question: Callable) -> dict[str, str]:
    """The arguments of the query, which are those of `question` after its first; raises BadQuestion."""
    _, *wanted = inspect.signature(question).parameters
    given = dict(parse_qsl(environ.get("QUERY_STRING", "")))
    if sorted(given) != sorted(wanted):
        raise BadRequest(
            f"given {', '.join(given) or 'nothing'}; expected {', '.join(wanted) or 'nothing'}"
        )
    return given


def json_reply(
    environ: Environ,
    start_response: Callable,
    found: Any,
    status: HTTPStatus = HTTPStatus.OK,
) -> list:
    content = json.dumps(found, allow_nan=False, separators=(",", ":")).encode()
    return _reply(environ, start_response, status, (content, "application/json"))


def file_reply(environ: Environ, start_response: Callable) -> list:
    """A file of the page, by the last part of the path."""
    path = FOLDER / environ.get("PATH_INFO", "").rpartition("/")[2]
    if path.suffix not in TYPES or not path.is_file():
        return _reply(
            environ,
            start_response,
            HTTPStatus.NOT_FOUND,
            (b"no such file", "text/plain"),
        )
    return _reply(
        environ, start_response, HTTPStatus.OK, (path.read_bytes(), TYPES[path.suffix])
    )


def _reply(
    environ: Environ,
    start_response: Callable,
    status: HTTPStatus,
    body: tuple[bytes, str],
) -> list:
    content, kind = body
    headers = [
        ("Content-Type", kind),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-cache"),
    ]
    if "gzip" in environ.get("HTTP_ACCEPT_ENCODING", ""):
        content = gzip.compress(content, 3)
        headers.append(("Content-Encoding", "gzip"))
    start_response(
        f"{status.value} {status.phrase}",
        [*headers, ("Content-Length", str(len(content)))],
    )
    return [content] if environ.get("REQUEST_METHOD") != "HEAD" else []
