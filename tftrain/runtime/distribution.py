"""Where a run computes: tf.distribute by name."""

from __future__ import annotations

import contextlib
import functools
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import tensorflow as tf

from tftrain.runtime import cluster

_PEER_ERRORS = (
    tf.errors.UnavailableError,
    tf.errors.DeadlineExceededError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
)


def open_strategy(name: str, devices: int | None) -> tf.distribute.Strategy | None:
    """The strategy by its name; None for one device. To be called before TensorFlow does anything else.

    `mirrored` takes all GPUs, or the first `devices`; where there are not so many GPUs, as many logical CPU devices.

    Raises:
        ValueError: TensorFlow finds no such hardware, or TF_CONFIG does not say who the workers are.
        PeerLost: another worker is missing.
    """
    if name == "default":
        return None
    if name == "one_device":
        return tf.distribute.OneDeviceStrategy("GPU:0" if tf.config.list_physical_devices("GPU") else "CPU:0")
    if name == "mirrored":
        return _mirrored(tuple(_devices(devices)))
    if name == "multi_worker":
        return _multi_worker()
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver()
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, tf.errors.OpError) as error:
        raise ValueError(f"no TPU answers: {str(error).splitlines()[0]}") from error
    return tf.distribute.TPUStrategy(resolver)


def scope(strategy: tf.distribute.Strategy | None) -> AbstractContextManager[Any]:
    """Return the scope of a strategy, in which a run is made."""
    if strategy is None:
        return contextlib.nullcontext()
    _clear_caching_device()
    return strategy.scope()


def _clear_caching_device() -> None:
    """Undo what TensorFlow leaves where a function raised within `tf.map_fn` or `tf.scan` in a graph.

    With it no scope can be entered any more, and one that was half entered is never left: all later runs of the
    process would take themselves for replicas.
    """
    tf.compat.v1.get_variable_scope()._caching_device = None  # the public setter is for graphs alone


@contextlib.contextmanager
def peers_watched(name: str) -> Iterator[None]:
    """What TensorFlow raises where another worker is gone leaves as PeerLost, in one line."""
    try:
        yield
    except Exception as error:
        if name != "multi_worker" or not isinstance(error.__cause__ or error, _PEER_ERRORS):
            raise
        gone = " and ".join(cluster.silent(cluster.read())) or "another worker"
        raise cluster.PeerLost(
            f"{gone} is gone, and this one cannot go on alone; start all of them again with --resume to go on from the "
            "last checkpoint"
        ) from error


@functools.cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.MirroredStrategy:
    """One for the same devices, however often a process asks.

    TensorFlow keeps, under numbers, what the devices have exchanged, and every strategy counts from the same number:
    a second one would meet what the first has left there. So those of other devices get numbers far apart.
    """
    tf.distribute.MirroredStrategy._collective_key_base = 1000 * _mirrored.cache_info().currsize
    return tf.distribute.MirroredStrategy(devices)


def _devices(wanted: int | None) -> list[str]:
    gpus = tf.config.list_physical_devices("GPU")
    if gpus and (wanted is None or wanted <= len(gpus)):
        return [f"GPU:{index}" for index in range(wanted or len(gpus))]
    if gpus:
        raise ValueError(f"{wanted} devices are asked for, but there are {len(gpus)} GPUs")
    wanted = wanted or 1
    there = len(tf.config.list_logical_devices("CPU")) if _is_started() else 0
    if there < wanted:
        if there:
            raise ValueError(
                f"{wanted} CPU devices are asked for, but TensorFlow has already started with {there}; "
                "start a new process"
            )
        logical = [tf.config.LogicalDeviceConfiguration()] * wanted
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], logical)
    return [f"CPU:{index}" for index in range(wanted)]


def _is_started() -> bool:
    """Whether TensorFlow has fixed its devices, which it does with its first operation."""
    from tensorflow.python.eager import context  # there is no public way to ask

    return context.context()._context_handle is not None


def _multi_worker() -> tf.distribute.Strategy:
    cluster.meet(cluster.read())
    options = tf.distribute.experimental.CommunicationOptions(timeout_seconds=cluster.PEER_SECONDS)
    strategy = tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))  # TensorFlow has just taken it, and ignores it
    return strategy
