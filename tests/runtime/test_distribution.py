"""Several strategies in one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from tftrain.runtime.distribution import make_strategy, strategy_scope

ROOT = Path(__file__).parent.parent.parent
SUMS = """
import tensorflow as tf
from tftrain.runtime.distribution import make_strategy

def total(count, size):
    strategy = make_strategy("mirrored", count)
    reduce = lambda: tf.distribute.get_replica_context().all_reduce("SUM", [tf.ones([size]), tf.ones([])])
    found = tf.function(lambda: strategy.run(reduce))()
    return [one.numpy().tolist() for one in strategy.experimental_local_results(found[0])]

for count, size in ((3, 1), (3, 2), (2, 4), (3, 5), (2, 1)):
    assert total(count, size) == [[count] * size] * count
assert make_strategy("mirrored", 2) is make_strategy("mirrored", 2)
"""


def test_runs_on_several_devices_follow_one_another():
    """The same devices for other tensors, fewer devices, and the first ones once more."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    found = subprocess.run(
        [sys.executable, "-c", SUMS],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert found.returncode == 0, found.stderr[-2000:]


TOGETHER = """
import sys
import tftrain

def told(pictures):
    log = f"log: {{histograms_every: 2, probes: 'lookouts:directions', plots: {pictures}}}"
    open("told.yaml", "w").write(open("run.yaml").read() + log)
    return tftrain.train(tftrain.load("told.yaml"), f"run{pictures.strip('[]')}")

assert told("[decision_map]").history["probes/loss_here"].steps.tolist() == [2, 4]
for picture in ("loss_surface", "signal_flow"):
    try:
        told(picture)
    except ValueError as error:
        assert f"{picture}: given synchronized batch normalization on several devices" in str(error)
    else:
        sys.exit(f"{picture} was drawn")
"""


@pytest.mark.long
def test_what_joins_the_devices_is_tried_on_one_and_refused_to_pictures(
    tmp_path, own_parts
):
    (tmp_path / "run.yaml").write_text(
        "model: {name: sequential, layers: [{name: dense, units: 4}, {name: batch_normalization, synchronized: true}, "
        "{name: dense, units: 2}]}\ndata: {name: moons, examples: 90, batch_size: 20}\noptimizer: sgd\n"
        "training: {steps: 4, strategy: mirrored, devices: 2}\n"
    )
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{own_parts}",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    command = [sys.executable, "-c", TOGETHER]
    found = subprocess.run(
        command,
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert found.returncode == 0, found.stderr[-2000:]


def test_a_strategy_can_be_entered_after_a_function_has_failed_within_a_loop_of_tensorflow():
    @tf.function(autograph=False)
    def fail(x):
        return tf.map_fn(lambda value: tf.ensure_shape(value, [2]), x)

    with pytest.raises(ValueError, match="must be rank 1"):
        fail(tf.ones([3]))
    assert tf.compat.v1.get_variable_scope().caching_device is not None, (
        "TensorFlow cleans up by itself by now"
    )
    with strategy_scope(make_strategy("mirrored", 1)):
        assert tf.distribute.has_strategy()
    assert not tf.distribute.has_strategy()
