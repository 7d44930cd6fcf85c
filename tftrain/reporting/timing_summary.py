"""Where the time of a run went, in one line, with what to change where too much of it was not for training."""

from __future__ import annotations

from collections.abc import Mapping

from tftrain.config.schema import Data

KINDS = (  # in this order
    *("compiling", "step", "measuring", "input", "validation"),
    *("pictures", "checkpoints", "writing", "incidents", "profile"),
)
MUCH = 0.1  # of all seconds
WORTH_SAVING = 0.5  # seconds


def time_line(
    spent: Mapping[str, float], data: Data, streamed: bool
) -> str | None:
    """Return where the time of a run went, with hints on how to save some; None if it took no time.

    Args:
        spent: seconds by kind.
        data: the section `data` of the config.
        streamed: whether the examples come from a tf.data.Dataset.
    """
    total = sum(spent.values())
    if total < 0.05:  # 0.0 s
        return None
    shares = {kind: spent.get(kind, 0.0) / total for kind in KINDS}
    percentages = [
        f"{kind} {share:.0%}".replace("%", " %")
        for kind, share in shares.items()
        if share >= 0.005
    ]
    remarks = []
    much = max(MUCH, WORTH_SAVING / total)
    if shares["input"] > much:
        remarks.append(
            f"input would take less with {_less_input(data, streamed)}"
        )
    if shares["measuring"] + shares["writing"] > much:
        setting = (
            "log.histograms_every"
            if shares["measuring"] > shares["writing"]
            else "log.scalars"
        )
        remarks.append(f"logging would take less with a larger {setting}")
    return "; ".join(
        [f"time: {total:.1f} s: {', '.join(percentages)}", *remarks]
    )


def _less_input(data: Data, streamed: bool) -> str:
    if streamed and not data.cache:
        return "data.cache: true, where the examples fit into memory"
    return (
        "fewer steps in data.preprocess"
        if data.preprocess
        else "a larger data.batch_size"
    )
