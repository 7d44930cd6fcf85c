"""Imports TensorFlow without its start-up noise, and without hiding what a native library really has to say."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tftrain.runtime.stderr_filter import filtered_stderr
from tftrain.runtime.working_directory import cwd_off_path, import_matplotlib


@contextmanager
def module_hidden(package: str) -> Iterator[None]:
    """Makes a package look absent while the block runs, unless it is imported already."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None
    try:
        yield
    finally:
        del sys.modules[package]


@contextmanager
def gc_frozen(package: str) -> Iterator[None]:
    """What a package makes while the block imports it stays to the end, and is never looked through for garbage.

    TensorFlow makes a million objects, and Python looks through them several times, also on its way out.
    """
    if package in sys.modules:
        yield
        return
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        atexit.register(gc.freeze)
        if was_enabled:
            gc.enable()


def import_tensorflow():
    """Imports TensorFlow and Keras, lists the devices once, and returns the `tensorflow` module.

    Keras imports scikit-learn for its own wrappers alone, which takes about a second, so it is kept out meanwhile;
    scikit-learn itself can be imported afterwards as ever.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if os.environ.get("TFTRAIN_VERBOSE") != "1":
        os.environ.setdefault(
            "TF_CPP_MIN_LOG_LEVEL", "1"
        )  # leaves out INFO alone, such as "End of sequence"
    with (
        filtered_stderr(),
        module_hidden("sklearn"),
        cwd_off_path(),
        gc_frozen("tensorflow"),
    ):
        import_matplotlib()  # which Keras would import
        import keras  # noqa: F401
        import tensorflow as tf

        tf.config.list_physical_devices()
    return tf
