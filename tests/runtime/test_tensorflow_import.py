import io
import os
import signal
import subprocess
import sys
import time

import pytest

from tftrain.runtime.stderr_filter import pass_on

posix = pytest.mark.skipif(
    os.name != "posix", reason="descriptors are filtered on POSIX alone"
)
NOISE = [
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n",
    b"I0000 00:00:1.4 4859 port.cc:153] oneDNN custom operations are on. You may see slightly different results\n",
    b"I0000 00:00:1.4 4859 cudart_stub.cc:31] Could not find cuda drivers on your machine, GPU will not be used.\n",
    b"E0000 00:00:1.6 4859 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: Failed call to cuInit: "
    b"UNKNOWN ERROR (303)\n",
]
NEWS = [
    b"E0000 00:00:1.6 4859 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: Failed call to cuInit: "
    b"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH: system has unsupported display driver / cuda driver combination\n",
    b"F0000 00:00:1.6 4859 tensor.cc:1] Check failed: 1 == 2\n",
    b"a last line without an end",
]


def python(code, **environ):
    """Runs code in a fresh process, with the noise that a user would see."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TF_", "TFTRAIN_"))
    }
    return subprocess.run(
        [sys.executable, "-c", code],
        env=env | environ,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_pass_on_drops_known_noise_alone():
    sink = io.BytesIO()
    pass_on(
        io.BytesIO(
            NOISE[0]
            + NEWS[0]
            + NOISE[1]
            + NOISE[2]
            + NEWS[1]
            + NOISE[3]
            + NEWS[2]
        ),
        sink,
    )
    assert sink.getvalue() == b"".join(NEWS)


def test_tensorflow_comes_in_silence_and_leaves_scikit_learn_usable():
    code = """
from tftrain.runtime.tensorflow_import import import_tensorflow
tf = import_tensorflow()
import sys
assert "sklearn" not in sys.modules
import keras
from sklearn.datasets import load_iris
model = keras.Sequential([keras.layers.Dense(3)])
print(model(load_iris().data[:5]).shape, keras.backend.backend())
"""
    done = python(code, KERAS_BACKEND="jax")
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "(5, 3) tensorflow\n",
        "",
    )


def test_what_a_package_makes_is_not_looked_through_for_garbage():
    code = """
import gc
from tftrain.runtime.tensorflow_import import gc_frozen
with gc_frozen("decimal"):
    assert not gc.isenabled()
    made = [[number] for number in range(10_000)]
assert gc.isenabled() and gc.get_freeze_count() > 10_000
before = gc.get_freeze_count()
with gc_frozen("gc"):
    assert gc.isenabled()
assert gc.get_freeze_count() == before
"""
    done = python(code)
    assert (done.returncode, done.stderr) == (0, "")


@posix
def test_lines_come_through_whole_and_in_order():
    code = """
import os, sys
from tftrain.runtime.tensorflow_import import filtered_stderr
print("before", file=sys.stderr)
with filtered_stderr():
    for number in range(3000):
        os.write(2, b"line %d\\n" % number)
        os.write(2, b"I0000 oneDNN custom operations are on.\\n")
    print("torn", end="", file=sys.stderr)
print(" after", file=sys.stderr)
try:
    os.waitpid(-1, 0)
except ChildProcessError:
    print("no child is left", file=sys.stderr)
"""
    lines = [
        "before",
        *(f"line {number}" for number in range(3000)),
        "torn after",
        "no child is left",
        "",
    ]
    assert python(code).stderr == "\n".join(lines)


@posix
def test_the_last_words_of_an_abort_come_through():
    code = """
import os
from tftrain.runtime.tensorflow_import import filtered_stderr
with filtered_stderr():
    os.write(2, b"oneDNN custom operations are on\\nF0000 check failed: the real error\\n")
    os.abort()
"""
    done = python(code)
    assert done.returncode == -signal.SIGABRT
    assert done.stderr == "F0000 check failed: the real error\n"


@posix
def test_an_exception_comes_through_and_the_descriptor_is_given_back():
    code = """
import os
from tftrain.runtime.tensorflow_import import filtered_stderr
try:
    with filtered_stderr():
        raise ValueError("mine")
except ValueError as error:
    os.write(2, f"{error}: oneDNN custom operations are on".encode())
"""
    assert python(code).stderr == "mine: oneDNN custom operations are on"


@posix
def test_verbose_shows_all():
    code = """
import os
from tftrain.runtime.tensorflow_import import filtered_stderr
with filtered_stderr():
    os.write(2, b"oneDNN custom operations are on")
"""
    assert (
        python(code, TFTRAIN_VERBOSE="1").stderr
        == "oneDNN custom operations are on"
    )


@posix
def test_control_c_ends_the_block_and_loses_nothing():
    code = """
import os, sys, time
from tftrain.runtime.tensorflow_import import filtered_stderr
try:
    with filtered_stderr():
        os.write(2, b"said before\\n")
        print("ready", flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    os.write(2, b"interrupted\\n")
"""
    group = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert group.stdout.readline() == b"ready\n"
    start = time.monotonic()
    os.killpg(
        group.pid, signal.SIGINT
    )  # as a terminal does: to every process of the foreground
    _, errors = group.communicate(timeout=30)
    assert errors == b"said before\ninterrupted\n"
    assert time.monotonic() - start < 30
