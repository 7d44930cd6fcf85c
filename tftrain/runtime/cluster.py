"""The workers of a run on several machines: who they are, by TF_CONFIG, and whether they answer."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from typing import NamedTuple

PEER_SECONDS = 300  # after which a worker that does not answer is given up
_PATIENCE_SECONDS = 10  # after which it is said that one is waited for
_EXAMPLE = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'


class PeerLost(RuntimeError):
    """Another worker of the run is missing, or has gone; one line, written for the user."""


class Cluster(NamedTuple):
    """The workers as `host:port`, the chief first, and which of them this process is."""

    addresses: tuple[str, ...]
    index: int


def read() -> Cluster:
    """What TF_CONFIG says; a task named `chief` comes before all workers. Raises ValueError."""
    try:
        given = json.loads(os.environ["TF_CONFIG"])
        tasks = {kind: list(given["cluster"].get(kind, ())) for kind in ("chief", "worker")}
        kind, index = given["task"].get("type", "worker"), int(given["task"]["index"])
        addresses = tuple(tasks["chief"] + tasks["worker"])
        ports = [int(address.rpartition(":")[2]) for address in addresses]
    except (KeyError, ValueError, TypeError, AttributeError):
        raise ValueError(f"TF_CONFIG does not say who the workers are; expected something like {_EXAMPLE}") from None
    if kind not in tasks or not ports:
        raise ValueError(f"TF_CONFIG: task.type is '{kind}'; expected worker or chief, something like {_EXAMPLE}")
    if not 0 <= index < len(tasks[kind]):
        raise ValueError(f"TF_CONFIG: task.index is {index}; expected a number from 0 to {len(tasks[kind]) - 1}")
    return Cluster(addresses, index + (len(tasks["chief"]) if kind == "worker" else 0))


def is_chief(strategy: str) -> bool:
    """Whether this process writes the run's folder: of several workers only the first does."""
    if strategy != "multi_worker":
        return True
    try:
        return read().index == 0
    except ValueError:
        return True  # opening the strategy says what is wrong


def meet(cluster: Cluster) -> None:
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
        raise ValueError(f"TF_CONFIG: this worker cannot listen at {own} ({error.strerror})") from None
    with listening:
        while missing := silent(cluster):
            waited = time.monotonic() - began
            if waited > PEER_SECONDS:
                raise PeerLost(
                    f"{' and '.join(missing)} did not answer within {PEER_SECONDS} s; every worker must be started, "
                    "with one and the same TF_CONFIG but for its own task"
                )
            if waited > _PATIENCE_SECONDS and not said:
                print(f"waiting for {' and '.join(missing)}", file=sys.stderr, flush=True)
                said = True
            time.sleep(0.2)


def silent(cluster: Cluster) -> list[str]:
    """The other workers that do not answer, such as `worker 1 (host:2222)`."""
    others = [(index, address) for index, address in enumerate(cluster.addresses) if index != cluster.index]
    return [f"worker {index} ({address})" for index, address in others if not _answers(address)]


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
    except OSError:
        return False
    return True


def _listen(port: int, backlog: int) -> socket.socket:
    both = {"family": socket.AF_INET6, "dualstack_ipv6": True} if socket.has_dualstack_ipv6() else {}
    return socket.create_server(("", port), backlog=backlog, **both)
