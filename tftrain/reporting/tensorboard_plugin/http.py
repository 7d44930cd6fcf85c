"""Replies of a WSGI application: JSON, and the files of the page."""

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
TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}
Environ = dict[str, Any]


class BadRequest(ValueError):
    """The query does not have the parameters of its handler."""


def parse_query(environ: Environ, handler: Callable) -> dict[str, str]:
    """Return the arguments of a request.

    Args:
        environ: of the WSGI request.
        handler: the query has to have its parameters after the first one.

    Raises:
        BadRequest: the query has other parameters.
    """
    _, *expected = inspect.signature(handler).parameters
    query = dict(parse_qsl(environ.get("QUERY_STRING", "")))
    if sorted(query) != sorted(expected):
        given_names = ", ".join(query) or "nothing"
        expected_names = ", ".join(expected) or "nothing"
        raise BadRequest(f"given {given_names}; expected {expected_names}")
    return query


def json_reply(
    environ: Environ,
    start_response: Callable,
    content: Any,
    status: HTTPStatus = HTTPStatus.OK,
) -> list[bytes]:
    """Reply with JSON.

    Args:
        environ: of the WSGI request.
        start_response: WSGI's function for status and headers.
        content: what JSON can hold; NaN and infinity it cannot.
        status: of the reply.
    """
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return _send_reply(
        environ, start_response, status, text.encode(), "application/json"
    )


def file_reply(environ: Environ, start_response: Callable) -> list[bytes]:
    """Reply with the file of the page that the last part of the path names.

    Args:
        environ: of the WSGI request.
        start_response: WSGI's function for status and headers.
    """
    path = FOLDER / environ.get("PATH_INFO", "").rpartition("/")[2]
    if path.suffix not in TYPES or not path.is_file():
        return _send_reply(
            environ,
            start_response,
            HTTPStatus.NOT_FOUND,
            b"no such file",
            "text/plain",
        )
    return _send_reply(
        environ,
        start_response,
        HTTPStatus.OK,
        path.read_bytes(),
        TYPES[path.suffix],
    )


def _send_reply(
    environ: Environ,
    start_response: Callable,
    status: HTTPStatus,
    content: bytes,
    content_type: str,
) -> list[bytes]:
    headers = [
        ("Content-Type", content_type),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-cache"),
    ]
    if "gzip" in environ.get("HTTP_ACCEPT_ENCODING", ""):
        content = gzip.compress(content, 3)
        headers.append(("Content-Encoding", "gzip"))
    headers.append(("Content-Length", str(len(content))))
    start_response(f"{status.value} {status.phrase}", headers)
    if environ.get("REQUEST_METHOD") == "HEAD":
        return []
    return [content]
