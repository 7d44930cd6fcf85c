import json
import math

import numpy as np

from tftrain.core.types import LogData
from tftrain.reporting.metrics_file import MetricsFile, read_metrics


def strict(text):
    def refuse(word):
        raise ValueError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_one_strict_line_a_step_readable_once_flushed(tmp_path):
    path = tmp_path / "metrics.jsonl"
    records = MetricsFile(path)
    scalars = {
        "loss": np.float32(0.5),
        "grad_norm": math.nan,
        "grad_norm_max": math.inf,
        "count": np.int64(3),
    }
    records(1, LogData(scalars))
    records(2, LogData({"loss": -math.inf, "step": 9}))
    records(3, LogData({"loss": np.float32(0.1), "count": np.int64(3)}))
    records.flush()
    lines = [strict(line) for line in path.read_text().splitlines()]
    seconds = [line.pop("wall_seconds") for line in lines]
    assert lines == [
        {
            "step": 1,
            "loss": 0.5,
            "grad_norm": "NaN",
            "grad_norm_max": "Infinity",
            "count": 3,
        },
        {"step": 2, "loss": "-Infinity"},
        {"step": 3, "loss": 0.10000000149011612, "count": 3},
    ]
    assert 0 <= seconds[0] <= seconds[1] <= seconds[2] < 60
    records.close()


def test_history_unpacks_into_steps_and_values(tmp_path):
    path = tmp_path / "metrics.jsonl"
    records = MetricsFile(path)
    for step in (10, 20, 30):
        records(
            step,
            LogData(
                {"loss": 1 / step}
                | ({"val_loss": math.nan} if step == 20 else {})
            ),
        )
    records.close()
    found = read_metrics(path)
    steps, values = found["loss"]
    np.testing.assert_array_equal(steps, [10, 20, 30])
    np.testing.assert_array_equal(values, [1 / 10, 1 / 20, 1 / 30])
    assert found["val_loss"].steps.tolist() == [20]
    assert np.isnan(found["val_loss"].values).all()
    assert set(found) == {"loss", "val_loss", "wall_seconds"}


def test_history_of_nothing_is_empty(tmp_path):
    assert read_metrics(tmp_path / "metrics.jsonl") == {}


def test_resume_drops_what_came_after_and_a_torn_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [
        {"step": step, "wall_seconds": 100.0 + step, "loss": 1.0}
        for step in range(5)
    ]
    path.write_text(
        "".join(json.dumps(line) + "\n" for line in lines)
        + '{"step": 5, "wall_sec'
    )
    assert read_metrics(path)["loss"].steps.tolist() == [0, 1, 2, 3, 4]
    records = MetricsFile(path, start_step=2)
    records(3, LogData({"loss": 2.0}))
    records.close()
    found = read_metrics(path)
    assert found["loss"].steps.tolist() == [0, 1, 2, 3]
    assert found["loss"].values.tolist() == [1, 1, 1, 2]
    assert (
        102 <= found["wall_seconds"].values[-1] < 110
    )  # the clock goes on where the kept lines end


def test_lines_that_cannot_be_read_are_passed_over(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [
        json.dumps({"step": step, "wall_seconds": 1.0, "loss": 1.0}).encode()
        + b"\n"
        for step in range(1, 7)
    ]
    lines[1] = lines[1].replace(
        b":", b"\0", 1
    )  # as a lost sector or a flipped bit leaves them
    lines[2] = b"7\n"
    path.write_bytes(b"".join(lines) + bytes(100))
    assert read_metrics(path)["loss"].steps.tolist() == [1, 4, 5, 6]
    records = MetricsFile(path, start_step=4)
    records(5, LogData({"loss": 2.0}))
    records.close()
    assert path.read_bytes().startswith(b"".join(lines[:4]))
    assert [found.tolist() for found in read_metrics(path)["loss"]] == [
        [1, 4, 5],
        [1, 1, 2],
    ]


def test_a_start_from_nothing_leaves_no_old_lines(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 0, "wall_seconds": 0.0, "loss": 1.0}\n')
    MetricsFile(path).close()
    assert path.read_bytes() == b""
