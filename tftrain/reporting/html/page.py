"""One HTML file that tells of runs: all is within it, and it is read without a network and without a script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from tftrain.reporting.html import sections
from tftrain.reporting.html.markup import Markup, element, joined
from tftrain.reporting.html.run_record import RunRecord, read_runs
from tftrain.runtime import atomic_files

_PARTS = (
    *(
        sections.results,
        sections.settings,
        sections.curves,
        sections.gradient_flow,
        sections.clipping,
    ),
    *(sections.incidents, sections.time, sections.configs),
)
_HERE = Path(__file__).parent


def write_report(folders: Sequence[Path], out: Path) -> Path:
    """Write the report of runs; returns the path of the file, which is there as a whole or as it was before.

    Raises:
        RunFolderError: a folder is no run.
        CannotWrite: the file cannot be written.
    """
    text = page(read_runs(folders))
    with atomic_files.raising_write_error(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    atomic_files.write_text(out, text)
    return out


def page(runs: Sequence[RunRecord]) -> str:
    """The HTML of the report."""
    title = runs[0].name if len(runs) == 1 else f"{len(runs)} runs"
    script = Markup((_HERE / "hover.js").read_text(encoding="utf-8"))
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(script)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{title}: training report"),
        element("style", Markup((_HERE / "style.css").read_text(encoding="utf-8"))),
    )
    body = element(
        "body",
        element("main", element("h1", title), *(part(runs) for part in _PARTS)),
        element("output", id="hover", hidden=""),
        element("script", script),
    )
    return (
        joined(Markup("<!DOCTYPE html>\n"), element("html", head, body, lang="en"))
        + "\n"
    )


def _policy(script: str) -> str:
    """Nothing is fetched, and no script runs but ours."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
