"""What TensorFlow says went wrong, in one line."""

from __future__ import annotations

import re

_SILENT = re.compile(
    r"\s*(Graph execution error:|Detected at node .*|<stack traces unavailable>|File \".*|\d+ root error.*)?| {4}.*"
)
_LABELS = re.compile(
    r"^ *\(\d+\) [A-Z_ ]+:|\[Op:\w+\].*"
)  # the number and the kind of one of many, and the call
_UNKNOWN_TO_XLA = re.compile(r"No registered '(\w+)' OpKernel for XLA")
_PROBE = re.compile(
    r"/(log\.probes(?:\.\d+)?)(?:_\d+)?/"
)  # the key path of a probe is the scope of what it measures
_PLAIN_MESSAGES = {
    "End of sequence": "the data gave fewer examples than when they were counted"
}
_LOWERING = "Failed getting HLO text: '"


def short_message(text: str) -> str:
    """Return the one line of a TensorFlow error that says what is wrong, without names of nodes and lines of code.

    TensorFlow has no classes for these errors, so its messages are matched.
    """
    probe = _PROBE.search(text)
    where = f"in {probe[1]}: " if probe else ""
    unknown = dict.fromkeys(_UNKNOWN_TO_XLA.findall(text))
    if unknown:
        operations = " and ".join(unknown)
        return f"{where}XLA does not know the TensorFlow operation {operations}"
    text = re.sub(
        r"\{\{(function_)?node [^}]*\}\}", "", text.removeprefix(_LOWERING)
    )
    lines = [line for line in text.splitlines() if not _SILENT.fullmatch(line)]
    line = lines[0] if lines else text
    message = " ".join(_LABELS.sub("", line).split())
    return where + _PLAIN_MESSAGES.get(message, message)
