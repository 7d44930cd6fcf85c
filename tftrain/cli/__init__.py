"""The command line: `tftrain.cli:main` runs one command and returns its exit status."""

from tftrain.cli.commands import main

__all__ = ["main"]
