"""The workers of a run that several machines train, from TF_CONFIG; TensorFlow is not imported."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from typing import NamedTuple

TIMEOUT_SECONDS = 300  # after which a worker that does not answer is given up
_NOTICE_SECONDS = 10  # after which the workers that are waited for are named
_POLL_SECONDS = 0.2
_CONNECT_SECONDS = 2
_EXAMPLE = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'


class WorkerLost(RuntimeError):
    """Another worker of the run is missing, or has gone; the message is one line."""


class Cluster(NamedTuple):
    """The workers of a run.

    Args:
        addresses: `host:port` of each, the chief first.
        index: which of them this process is.
    """

    addresses: tuple[str, ...]
    index: int


def read_cluster() -> Cluster:
    """Return the workers that TF_CONFIG lists; a task of type `chief` comes before all workers.

    Raises:
        ValueError: TF_CONFIG is missing or wrong.
    """
    try:
        settings = json.loads(os.environ["TF_CONFIG"])
        chiefs = list(settings["cluster"].get("chief", ()))
        workers = list(settings["cluster"].get("worker", ()))
        kind = settings["task"].get("type", "worker")
        index = int(settings["task"]["index"])
        addresses = tuple(chiefs + workers)
        for address in addresses:
            int(address.rpartition(":")[2])
    except (KeyError, ValueError, TypeError, AttributeError):
        raise ValueError(
            f"TF_CONFIG does not say who the workers are; expected something like {_EXAMPLE}"
        ) from None
    tasks = {"chief": chiefs, "worker": workers}
    if kind not in tasks or not addresses:
        raise ValueError(
            f"TF_CONFIG: task.type is '{kind}'; expected worker or chief, something like {_EXAMPLE}"
        )
    if not 0 <= index < len(tasks[kind]):
        raise ValueError(
            f"TF_CONFIG: task.index is {index}; expected a number from 0 to {len(tasks[kind]) - 1}"
        )
    first = len(chiefs) if kind == "worker" else 0
    return Cluster(addresses, first + index)


def is_chief(strategy: str) -> bool:
    """Return whether this process writes the run's folder: of several workers only the first does.

    Args:
        strategy: the name of the tf.distribute strategy, as in `training.strategy`.
    """
    if strategy != "multi_worker":
        return True
    try:
        return read_cluster().index == 0
    except ValueError:
        return True  # making the strategy reports what is wrong


def wait_for_workers(cluster: Cluster) -> None:
    """Wait until every worker answers, which TensorFlow would do without a message and without end.

    Raises:
        WorkerLost: one did not answer within TIMEOUT_SECONDS.
        ValueError: the port of this worker cannot be listened on.
    """
    own_address = cluster.addresses[cluster.index]
    own_port = int(own_address.rpartition(":")[2])
    start = time.monotonic()
    notified = False
    try:
        server = _open_server(own_port, backlog=2 * len(cluster.addresses))
    except OSError as error:
        raise ValueError(
            f"TF_CONFIG: this worker cannot listen at {own_address} ({error.strerror})"
        ) from None
    with server:
        while missing := unreachable_workers(cluster):
            waited = time.monotonic() - start
            names = " and ".join(missing)
            if waited > TIMEOUT_SECONDS:
                raise WorkerLost(
                    f"{names} did not answer within {TIMEOUT_SECONDS} s; every worker must be started, "
                    "with one and the same TF_CONFIG but for its own task"
                )
            if waited > _NOTICE_SECONDS and not notified:
                print(f"waiting for {names}", file=sys.stderr, flush=True)
                notified = True
            time.sleep(_POLL_SECONDS)


def unreachable_workers(cluster: Cluster) -> list[str]:
    """Return the other workers that do not answer, such as `worker 1 (host:2222)`."""
    return [
        f"worker {index} ({address})"
        for index, address in enumerate(cluster.addresses)
        if index != cluster.index and not _is_reachable(address)
    ]


def _is_reachable(address: str) -> bool:
    host, _, port = address.rpartition(":")
    target = (host.strip("[]"), int(port))
    try:
        socket.create_connection(target, timeout=_CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


def _open_server(port: int, backlog: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        return socket.create_server(
            ("", port),
            family=socket.AF_INET6,
            dualstack_ipv6=True,
            backlog=backlog,
        )
    return socket.create_server(("", port), backlog=backlog)
