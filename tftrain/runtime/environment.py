"""The environment of a run: versions, devices and the command line, for who wants to repeat it."""

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


def describe_environment() -> dict[str, str]:
    """Return the versions, devices, command line and commit by name; what is not known is left out."""
    devices = [_device_name(item) for item in tf.config.list_physical_devices()]
    table = {"Python": platform.python_version()}
    for package in PACKAGES:
        table[package] = _package_version(package)
    table["system"] = (
        f"{platform.system()} {platform.release()} {platform.machine()}"
    )
    table["CPUs"] = str(os.cpu_count())
    table["devices"] = ", ".join(devices)
    table["command"] = _command_line()
    table["git commit"] = _describe_commit()
    return {name: value for name, value in table.items() if value}


def to_markdown(table: Mapping[str, str]) -> str:
    """Return a table of names and values in Markdown."""
    lines = ["| | |", "|---|---|"]
    for name, value in table.items():
        text = value.replace("|", " ").replace("`", " ")
        lines.append(f"| {name} | `{text}` |")
    return "\n".join([*lines, ""])


def _command_line() -> str:
    program = os.path.basename(sys.argv[0]) or "python"
    words = (
        ["python", "-m", "tftrain"] if program == "__main__.py" else [program]
    )
    return shlex.join([*words, *sys.argv[1:]])


def _package_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # of a package that runs from its sources
        return ""


def _device_name(device: tf.config.PhysicalDevice) -> str:
    name = device.name.removeprefix("/physical_device:")
    if device.device_type != "GPU":
        return name
    details = tf.config.experimental.get_device_details(device)
    return details.get("device_name") or name


def _describe_commit() -> str:
    """The commit of the working directory, and whether a file was changed since; nothing outside of repositories."""
    here = Path()
    commit = find_commit(here)
    if commit is None:
        return ""
    return f"{commit} and changes" if has_changes(here) else commit
