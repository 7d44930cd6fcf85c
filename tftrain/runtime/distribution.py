"""Where a run computes: tf.distribute by name."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import tensorflow as tf

_PEER_ERRORS = (
    tf.errors.UnavailableError,
    tf.errors.DeadlineExceededError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
)


def make_strategy(name: str, devices: int | None) -> tf.distribute.Strategy | None:
    """The strategy by its name; None for one device. To be called before TensorFlow does anything else.

    `mirrored` takes all GPUs, or the first `devices`; where there are not so many GPUs, as many logical CPU devices.

    Raises:
        ValueError: TensorFlow finds no such hardware, or TF_CONFIG does not say who the workers are.
        PeerLost: another worker is missing.
    """
    if name == "default":
        return None
    if name == "one_device":
        return tf.distribute.OneDeviceStrategy(
            "GPU:0" if tf.config.list_physical_devices("GPU") else "CPU:0"
        )
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
    tf.compat.v1.get_variable_scope()._caching_device = (
        None  # the public setter is for graphs alone
    )


@contextlib.contextmanager
def translating_worker_errors(name: str) -> Iterator[None]:
    """What TensorFlow raises where another worker is gone leaves as PeerLost, in one line."""
    try:
        yield
    except Exception as error:
        if name != "multi_worker" or not isinstance(
            error.__cause__ or error, _PEER_ERRORS
        ):
            raise
        gone = " and ".join(unreachable_workers(read())) or "another worker"
        raise WorkerLost(
            f"{gone} is gone, and this one cannot go on alone; start all of them again with --resume to go on from the "
            "last checkpoint"
        ) from error


@functools.cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.MirroredStrategy:
    """One for the same devices, however often a process asks.

    TensorFlow keeps, under numbers, what the devices have exchanged, and every strategy counts from the same number:
    a second one would meet what the first has left there. So those of other devices get numbers far apart.
    """
    tf.distribute.MirroredStrategy._collective_key_base = (
        1000 * _mirrored.cache_info().currsize
    )
    return tf.distribute.MirroredStrategy(devices)


def _devices(wanted: int | None) -> list[str]:
    gpus = tf.config.list_physical_devices("GPU")
    if gpus and (wanted is None or wanted <= len(gpus)):
        return [f"GPU:{index}" for index in range(wanted or len(gpus))]
    if gpus:
        raise ValueError(
            f"{wanted} devices are asked for, but there are {len(gpus)} GPUs"
        )
    wanted = wanted or 1
    there = len(tf.config.list_logical_devices("CPU")) if _is_started() else 0
    if there < wanted:
        if there:
            raise ValueError(
                f"{wanted} CPU devices are asked for, but TensorFlow has already started with {there}; "
                "start a new process"
            )
        logical = [tf.config.LogicalDeviceConfiguration()] * wanted
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], logical
        )
    return [f"CPU:{index}" for index in range(wanted)]


def _is_started() -> bool:
    """Whether TensorFlow has fixed its devices, which it does with its first operation."""
    from tensorflow.python.eager import context  # there is no public way to ask

    return context.context()._context_handle is not None


def _multi_worker() -> tf.distribute.Strategy:
    wait_for_workers(read())
    options = tf.distribute.experimental.CommunicationOptions(
        timeout_seconds=PEER_SECONDS
    )
    strategy = tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    if threading.current_thread() is threading.main_thread():
        signal.signal(
            signal.SIGTERM, signal.getsignal(signal.SIGTERM)
        )  # TensorFlow has just taken it, and ignores it
    return strategy


PEER_SECONDS = 300  # after which a worker that does not answer is given up
_PATIENCE_SECONDS = 10  # after which it is said that one is waited for
_EXAMPLE = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'


class WorkerLost(RuntimeError):
    """Another worker of the run is missing, or has gone; one line, written for the user."""


class Cluster(NamedTuple):
    """The workers as `host:port`, the chief first, and which of them this process is."""

    addresses: tuple[str, ...]
    index: int


def read() -> Cluster:
    """What TF_CONFIG says; a task named `chief` comes before all workers. Raises ValueError."""
    try:
        given = json.loads(os.environ["TF_CONFIG"])
        tasks = {
            kind: list(given["cluster"].get(kind, ())) for kind in ("chief", "worker")
        }
        kind, index = given["task"].get("type", "worker"), int(given["task"]["index"])
        addresses = tuple(tasks["chief"] + tasks["worker"])
        ports = [int(address.rpartition(":")[2]) for address in addresses]
    except (KeyError, ValueError, TypeError, AttributeError):
        raise ValueError(
            f"TF_CONFIG does not say who the workers are; expected something like {_EXAMPLE}"
        ) from None
    if kind not in tasks or not ports:
        raise ValueError(
            f"TF_CONFIG: task.type is '{kind}'; expected worker or chief, something like {_EXAMPLE}"
        )
    if not 0 <= index < len(tasks[kind]):
        raise ValueError(
            f"TF_CONFIG: task.index is {index}; expected a number from 0 to {len(tasks[kind]) - 1}"
        )
    return Cluster(addresses, index + (len(tasks["chief"]) if kind == "worker" else 0))


def is_chief(strategy: str) -> bool:
    """Whether this process writes the run's folder: of several workers only the first does."""
    if strategy != "multi_worker":
        return True
    try:
        return read().index == 0
    except ValueError:
        return True  # opening the strategy says what is wrong


def wait_for_workers(cluster: Cluster) -> None:
    """Wait until every worker is there, which TensorFlow would do without a word and without an end.

    Raises:
        PeerLost: one did not answer within PEER_SECONDS.
        ValueError: this worker's own port cannot be listened on.
    """
    own = cluster.addresses[cluster.index]
    began, said = time.monotonic(), False
    try:
        listening = _listen(int(own.rpartition(":")[2]), 2 * len(cluster.addresses))
    except OSError as error:
        raise ValueError(
            f"TF_CONFIG: this worker cannot listen at {own} ({error.strerror})"
        ) from None
    with listening:
        while missing := unreachable_workers(cluster):
            waited = time.monotonic() - began
            if waited > PEER_SECONDS:
                raise WorkerLost(
                    f"{' and '.join(missing)} did not answer within {PEER_SECONDS} s; every worker must be started, "
                    "with one and the same TF_CONFIG but for its own task"
                )
            if waited > _PATIENCE_SECONDS and not said:
                print(
                    f"waiting for {' and '.join(missing)}", file=sys.stderr, flush=True
                )
                said = True
            time.sleep(0.2)


def unreachable_workers(cluster: Cluster) -> list[str]:
    """The other workers that do not answer, such as `worker 1 (host:2222)`."""
    others = [
        (index, address)
        for index, address in enumerate(cluster.addresses)
        if index != cluster.index
    ]
    return [
        f"worker {index} ({address})"
        for index, address in others
        if not _answers(address)
    ]


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
    except OSError:
        return False
    return True


def _listen(port: int, backlog: int) -> socket.socket:
    both = (
        {"family": socket.AF_INET6, "dualstack_ipv6": True}
        if socket.has_dualstack_ipv6()
        else {}
    )
    return socket.create_server(("", port), backlog=backlog, **both)
