"""Where a run runs: the versions, devices and command line that it may take to repeat it, as a table in Markdown."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import tensorflow as tf

from tftrain.runtime.repository import find_commit, has_changes

PACKAGES = ("tensorflow", "keras", "numpy", "tftrain")


def environment() -> dict[str, str]:
    """By name, what can be told."""
    found = {"Python": platform.python_version()}
    found |= {package: _version(package) for package in PACKAGES}
    found |= {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "CPUs": str(os.cpu_count()),
        "devices": ", ".join(_device(one) for one in tf.config.list_physical_devices()),
        "command": _command(),
        "git commit": _commit(),
    }
    return {name: value for name, value in found.items() if value}


def markdown(table: Mapping[str, str]) -> str:
    rows = [
        f"| {name} | `{value.replace('|', ' ').replace('`', ' ')}` |"
        for name, value in table.items()
    ]
    return "\n".join(["| | |", "|---|---|", *rows, ""])


def _command() -> str:
    program = os.path.basename(sys.argv[0]) or "python"
    words = ["python", "-m", "tftrain"] if program == "__main__.py" else [program]
    return shlex.join([*words, *sys.argv[1:]])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # of a package that runs from its sources
        return ""


def _device(device: tf.config.PhysicalDevice) -> str:
    details = (
        tf.config.experimental.get_device_details(device)
        if device.device_type == "GPU"
        else {}
    )
    return details.get("device_name") or device.name.removeprefix("/physical_device:")


def _commit() -> str:
    """The commit of the working directory, and whether a file was changed since; nothing outside of repositories."""
    here = Path()
    commit = find_commit(here)
    if commit is None:
        return ""
    return f"{commit} and changes" if has_changes(here) else commit
