"""The version of tftrain; setup.cfg has the same."""

__version__ = "0.1.0"
