"""The report: one HTML file about runs that needs no network."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from tftrain.reporting import tensorboard_plugin
from tftrain.reporting.html import sections
from tftrain.reporting.html.markup import Markup, element, joined
from tftrain.reporting.html.run_record import RunRecord, read_runs
from tftrain.runtime import atomic_files

_SECTIONS = (
    sections.results,
    sections.settings,
    sections.curves,
    sections.gradient_flow,
    sections.clipping,
    sections.incidents,
    sections.time,
    sections.configs,
)
_HTML_FOLDER = Path(__file__).parent
_TAB_FOLDER = Path(tensorboard_plugin.__file__).parent / "static"
# The heat map of the Gradients tab; each module comes after those that it imports.
_TAB_MODULES = (
    "scale.js",
    "axis.js",
    "canvas.js",
    "heatmap.js",
    "legend.js",
    "quantities.js",
)


def write_report(folders: Sequence[Path], out: Path) -> Path:
    """Write the report of runs; an existing file is replaced only by a complete one.

    Args:
        folders: run folders, at least one.
        out: path of the HTML file; its folder is created.

    Returns:
        The path `out`.

    Raises:
        RunFolderError: a folder holds no run.
        WriteError: the file cannot be written.
    """
    text = render_page(read_runs(folders))
    with atomic_files.raising_write_error(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    atomic_files.write_text(out, text)
    return out


def render_page(runs: Sequence[RunRecord]) -> str:
    """Return the HTML of the report."""
    title = runs[0].name if len(runs) == 1 else f"{len(runs)} runs"
    script = Markup(bundle_script())
    style = Markup(
        _read(_TAB_FOLDER / "heatmap.css") + _read(_HTML_FOLDER / "style.css")
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element(
            "meta",
            http_equiv="Content-Security-Policy",
            content=_policy(script),
        ),
        element(
            "meta",
            name="viewport",
            content="width=device-width, initial-scale=1",
        ),
        element("title", f"{title}: training report"),
        element("style", style),
    )
    content = [section(runs) for section in _SECTIONS]
    body = element(
        "body",
        element("main", element("h1", title), *content),
        element("output", id="tooltip", hidden=""),
        element("script", script, type="module"),
    )
    html = element("html", head, body, lang="en")
    return joined(Markup("<!DOCTYPE html>\n"), html) + "\n"


def bundle_script() -> str:
    """Return `report.js` and the modules that it imports as one script.

    The modules share one scope, so each name at the top of one is unique among them.
    """
    paths = [_TAB_FOLDER / name for name in _TAB_MODULES]
    modules = [_read(path) for path in [*paths, _HTML_FOLDER / "report.js"]]
    without_imports = re.sub(
        r"^import [^;]*;\n", "", "".join(modules), flags=re.MULTILINE
    )
    return re.sub(r"^export ", "", without_imports, flags=re.MULTILINE)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """A policy that fetches nothing and runs no script but this one."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
