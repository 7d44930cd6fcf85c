"""What is raised when data cannot be trained on."""

from __future__ import annotations


class DataError(ValueError):
    """Data that cannot be trained on; the message is one line, written for the user."""
