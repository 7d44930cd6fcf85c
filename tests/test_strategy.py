"""Several strategies in one process."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SUMS = """
import tensorflow as tf
from tftrain.strategy import open_strategy

def total(count, size):
    strategy = open_strategy("mirrored", count)
    reduce = lambda: tf.distribute.get_replica_context().all_reduce("SUM", [tf.ones([size]), tf.ones([])])
    found = tf.function(lambda: strategy.run(reduce))()
    return [one.numpy().tolist() for one in strategy.experimental_local_results(found[0])]

for count, size in ((3, 1), (3, 2), (2, 4), (3, 5), (2, 1)):
    assert total(count, size) == [[count] * size] * count
assert open_strategy("mirrored", 2) is open_strategy("mirrored", 2)
"""


def test_runs_on_several_devices_follow_one_another():
    """The same devices for other tensors, fewer devices, and the first ones once more."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    found = subprocess.run([sys.executable, "-c", SUMS], env=environment, capture_output=True, text=True, timeout=100)
    assert found.returncode == 0, found.stderr[-2000:]
