"""The tf.distribute strategies, by name."""

from __future__ import annotations

import contextlib
import functools
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import tensorflow as tf

from tftrain.runtime.cluster import (
    TIMEOUT_SECONDS,
    WorkerLost,
    read_cluster,
    unreachable_workers,
    wait_for_workers,
)

_WORKER_ERRORS = (
    tf.errors.UnavailableError,
    tf.errors.DeadlineExceededError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
)


def make_strategy(
    name: str, devices: int | None
) -> tf.distribute.Strategy | None:
    """Return the strategy of a name; to be called before TensorFlow runs its first operation.

    Args:
        name: `default` (no strategy), `one_device`, `mirrored`, `multi_worker` or `tpu`.
        devices: how many devices `mirrored` uses: GPUs, or where there are none logical CPU devices; None takes all
            GPUs.

    Raises:
        ValueError: TensorFlow finds no such hardware, or TF_CONFIG does not say who the workers are.
        WorkerLost: another worker is missing.
    """
    if name == "default":
        return None
    if name == "one_device":
        has_gpu = bool(tf.config.list_physical_devices("GPU"))
        return tf.distribute.OneDeviceStrategy("GPU:0" if has_gpu else "CPU:0")
    if name == "mirrored":
        return _mirrored_strategy(tuple(_device_names(devices)))
    if name == "multi_worker":
        return _multi_worker_strategy()
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver()
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, tf.errors.OpError) as error:
        raise ValueError(
            f"no TPU answers: {str(error).splitlines()[0]}"
        ) from error
    return tf.distribute.TPUStrategy(resolver)


def strategy_scope(
    strategy: tf.distribute.Strategy | None,
) -> AbstractContextManager[Any]:
    """Return the scope of a strategy, in which a run is built; without a strategy it does nothing."""
    if strategy is None:
        return contextlib.nullcontext()
    _clear_caching_device()
    return strategy.scope()


def _clear_caching_device() -> None:
    """Undo what TensorFlow leaves where a function raised within `tf.map_fn` or `tf.scan` in a graph.

    With it no scope can be entered any more, and one that was half entered is never left: all later runs of the
    process would take themselves for replicas.
    """
    # The public setter is for graphs alone.
    tf.compat.v1.get_variable_scope()._caching_device = None


@contextlib.contextmanager
def translating_worker_errors(name: str) -> Iterator[None]:
    """Raise WorkerLost, in one line, for what TensorFlow raises in the block where another worker is gone.

    Args:
        name: that of the strategy.
    """
    try:
        yield
    except Exception as error:
        is_worker_error = isinstance(error.__cause__ or error, _WORKER_ERRORS)
        if name != "multi_worker" or not is_worker_error:
            raise
        lost = (
            " and ".join(unreachable_workers(read_cluster()))
            or "another worker"
        )
        raise WorkerLost(
            f"{lost} is gone, and this one cannot go on alone; start all of them again with --resume to go on from the "
            "last checkpoint"
        ) from error


@functools.cache
def _mirrored_strategy(
    devices: tuple[str, ...],
) -> tf.distribute.MirroredStrategy:
    """Return one strategy for the same devices, however often a process asks.

    TensorFlow keeps what the devices have exchanged under numbers, and every strategy counts from the same number: a
    second one would meet what the first has left there. So those of other devices get numbers far apart.
    """
    tf.distribute.MirroredStrategy._collective_key_base = (
        1000 * _mirrored_strategy.cache_info().currsize
    )
    return tf.distribute.MirroredStrategy(devices)


def _device_names(count: int | None) -> list[str]:
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        if count is not None and count > len(gpus):
            raise ValueError(
                f"{count} devices are asked for, but there are {len(gpus)} GPUs"
            )
        return [f"GPU:{index}" for index in range(count or len(gpus))]
    count = count or 1
    existing = (
        len(tf.config.list_logical_devices("CPU")) if _is_started() else 0
    )
    if 0 < existing < count:
        raise ValueError(
            f"{count} CPU devices are asked for, but TensorFlow has already started with {existing}; "
            "start a new process"
        )
    if existing < count:
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * count,
        )
    return [f"CPU:{index}" for index in range(count)]


def _is_started() -> bool:
    """Whether TensorFlow has fixed its devices, which it does with its first operation."""
    from tensorflow.python.eager import context  # there is no public way to ask

    return context.context()._context_handle is not None


def _multi_worker_strategy() -> tf.distribute.Strategy:
    wait_for_workers(read_cluster())
    options = tf.distribute.experimental.CommunicationOptions(
        timeout_seconds=TIMEOUT_SECONDS
    )
    strategy = tf.distribute.MultiWorkerMirroredStrategy(
        communication_options=options
    )
    if threading.current_thread() is threading.main_thread():
        # TensorFlow has just taken this signal, and ignores it.
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
    return strategy
