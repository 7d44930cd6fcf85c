"""Builds the site of the documentation with Zensical: stages the pages, writes the API reference, and builds strictly.

The pages lie beside the code, so they are copied into `build/pages` first. A link to a module of tftrain becomes one
to its page in the API reference; any other file that a page links to is copied with it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
STAGE = ROOT / "build" / "pages"
SITE = ROOT / "build" / "site"
SETTINGS = ROOT / "build" / "site.yml"
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)]*)?\)")
FENCE = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)


def page_files() -> list[Path]:
    """Return the pages, as paths from the root of the repository."""
    found = [ROOT / "README.md"]
    for pattern in (
        "configs/*.md",
        "scripts/*.md",
        "scripts/documentation/*.md",
        "tftrain/*/*.md",
    ):
        found += sorted(ROOT.glob(pattern))
    return [path.relative_to(ROOT) for path in found]


def api_page(module: Path) -> Path | None:
    """Return the page of the API reference for a module or package, None if it is neither.

    Args:
        module: a path from the root of the repository.
    """
    if not module.parts or module.parts[0] != "tftrain":
        return None
    if (ROOT / module / "__init__.py").exists():
        return Path("api", *module.parts, "index.md")
    if module.suffix == ".py" and (ROOT / module).exists():
        return Path("api", *module.parts).with_suffix(".md")
    return None


def staged(page: Path) -> str:
    """Return the text of a page with its links as the site needs them, and copy the files it links to.

    Args:
        page: its path from the root of the repository.
    """

    def rewrite(link: re.Match) -> str:
        image, label, target, anchor = link.groups()
        if target.startswith(("https://", "http://")):
            return link[0]
        path = Path(os.path.normpath(page.parent / target))
        if path.suffix == ".md":
            return link[0]
        reference = api_page(path)
        if reference:
            return f"[{label}]({os.path.relpath(reference, page.parent)})"
        if (ROOT / path).is_dir():
            return label
        (STAGE / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, STAGE / path)
        return f"{image}[{label}]({target}{anchor or ''})"

    text = (ROOT / page).read_text(encoding="utf-8")
    # Every second part is a block of code.
    parts = FENCE.split(text)
    parts[::2] = [LINK.sub(rewrite, part) for part in parts[::2]]
    return "".join(parts)


def write_api_pages(package: Path) -> list:
    """Write a page for each module of a package, and return their part of the navigation.

    Args:
        package: its path from the root of the repository.
    """
    index = api_page(package)
    write(index, reference_to(package))
    navigation: list = [index.as_posix()]
    for path in sorted((ROOT / package).iterdir()):
        module = path.relative_to(ROOT)
        page = api_page(module)
        if path.name.startswith("__") or page is None:
            continue
        if path.is_dir():
            navigation.append({path.name: write_api_pages(module)})
        else:
            write(page, reference_to(module))
            navigation.append({path.stem: page.as_posix()})
    return navigation


def reference_to(module: Path) -> str:
    """Return the text of a module's page: what mkdocstrings makes of its docstrings.

    Args:
        module: its path from the root of the repository.
    """
    name = ".".join(module.with_suffix("").parts)
    text = f"# `{name}`\n\n::: {name}\n    options:\n      show_root_heading: false\n"
    if name == "tftrain":
        # The keys of a Config are in the reference of configs.
        text += "      group_by_category: false\n      filters: ['!^_', '!^Config$']\n"
    return text


def write(page: Path, text: str) -> None:
    """Write a staged page.

    Args:
        page: its path in the stage.
        text: Markdown.
    """
    (STAGE / page).parent.mkdir(parents=True, exist_ok=True)
    (STAGE / page).write_text(text, encoding="utf-8")


def main() -> int:
    """Build the site; return 1 if there was an error or a warning, else 0."""
    shutil.rmtree(STAGE, ignore_errors=True)
    for page in page_files():
        write(page, staged(page))
    settings = yaml.safe_load((HERE / "site.yml").read_text(encoding="utf-8"))
    # Both must be below the folder of the settings.
    settings["docs_dir"] = STAGE.name
    settings["site_dir"] = SITE.name
    handler = settings["plugins"][-1]["mkdocstrings"]["handlers"]["python"]
    handler["paths"] = [str(ROOT)]
    handler["options"]["extensions"] = [str(HERE / "named_tuples.py")]
    settings["nav"].append({"API": write_api_pages(Path("tftrain"))})
    SETTINGS.write_text(
        yaml.safe_dump(settings, sort_keys=False), encoding="utf-8"
    )

    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    build = subprocess.run(
        [*command, "--config-file", str(SETTINGS)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print(build.stdout, end="")
    # Zensical does not count what Griffe says of docstrings, such as an argument that there is not.
    warnings = [
        line for line in build.stdout.splitlines() if line.startswith("griffe:")
    ]
    return int(build.returncode != 0 or bool(warnings))


if __name__ == "__main__":
    sys.exit(main())
