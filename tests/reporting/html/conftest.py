"""Folders of runs that nobody trained."""

from __future__ import annotations

import json

import pytest

from tftrain.reporting.metrics_file import to_json_line


@pytest.fixture
def write_run():
    return _write_run


def _write_run(
    folder, records, config="model: mlp\n", results=None, incidents=()
):
    """A run's folder with `records` (dicts of scalars, which have their step), and what else it is given."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config)
    with open(folder / "metrics.jsonl", "wb") as file:
        for record in records:
            file.write(
                to_json_line(
                    {
                        "step": record["step"],
                        "wall_seconds": 0.1 * record["step"],
                        **record,
                    }
                )
            )
    if results is not None:
        (folder / "results.json").write_text(
            json.dumps(
                {"steps": records[-1]["step"], "stopped": None} | results
            )
        )
    for step, text in incidents:
        (folder / "incidents" / f"{step:08d}").mkdir(parents=True)
        (folder / "incidents" / f"{step:08d}" / "incident.txt").write_text(text)
    return folder
