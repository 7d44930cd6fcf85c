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
_SAID_BETTER = {
    "End of sequence": "the data gave fewer examples than when they were counted"
}
_LOWERING = "Failed getting HLO text: '"


def short_message(text: str) -> str:
    """What stands in a message beside the names of nodes and the lines of code that made them."""
    probe = _PROBE.search(text)
    where = f"in {probe[1]}: " if probe else ""
    unknown = dict.fromkeys(_UNKNOWN_TO_XLA.findall(text))
    if unknown:
        return (
            f"{where}XLA does not know the TensorFlow operation {' and '.join(unknown)}"
        )
    text = re.sub(r"\{\{(function_)?node [^}]*\}\}", "", text.removeprefix(_LOWERING))
    said = next(
        (line for line in text.splitlines() if not _SILENT.fullmatch(line)), text
    )
    said = " ".join(_LABELS.sub("", said).split())
    return where + _SAID_BETTER.get(said, said)
