"""One run in several processes: how they find each other, agree, and end together.

The processes are those of `jax.distributed`; each holds a part of the devices and runs the same
program. The first one alone writes files and prints.

Some calls are collective: they return in one process only once all others have made the same call.
Every process has to come through the same ones in the same order, whatever it finds, or all wait
forever. They are `join`, `require_alike`, `from_first`, `everywhere`, what is built on them
(`claimed_by_first`, `Checkpoints`, `Interruption.reached`), and compiled programs over the devices
of several processes. Hence:

- what only the first process knows, such as a finished workdir or a full disk, goes through
  `from_first`, which hands its result or its `UserError` to all; nobody returns or raises on their
  own between two collective calls;
- mistakes that all find alike, in the config for instance, may be raised before or between.
"""

import json
import os
import re
import socket
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Array, PyTree

from lopt.base.errors import UserError, user_errors
from lopt.base.printed import printable

PATIENCE = 45  # seconds in which all processes must have been started

_HEARTBEAT = 30  # seconds without a sign of life after which a process counts as dead

_MESSAGE = 4096  # bytes that the first process tells the others at a time

_LOST = re.compile(
    r"[A-Z_]+: (Gloo .* failed: .*(by peer|refused|timed? ?out|Broken pipe)"
    r"|NCCL .* failed: .*(remote process|network error)"
    r"|.*CoordinationServiceError)",
    re.DOTALL,
)
"""Beginnings of XLA's errors when a process cannot be reached: on CPU, on GPU, at a barrier.

On CPU it is a `ValueError`, so that its type does not tell it from other errors.
"""


def join(
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    cluster: bool = False,
) -> None:
    """Become one of the processes of a run, if it has several; to be called before JAX is used.

    `coordinator` is "host:port" of the first process; `cluster` takes all three from the
    environment of SLURM, Open MPI, Kubernetes or Cloud TPU. Raises a `UserError` if arguments
    make no sense, the first process does not answer, or there is no such environment.
    """
    given = {"--coordinator": coordinator, "--processes": processes, "--process": process}
    missing = [flag for flag, value in given.items() if value is None]
    if cluster and len(missing) < len(given):
        raise UserError(
            "--distributed finds --coordinator, --processes and --process by itself; give either"
        )
    if cluster:
        environments = "SLURM, Open MPI, Kubernetes, Cloud TPU"
        none = f"--distributed finds no cluster in the environment ({environments})"
        with user_errors(none, ValueError, fix="give --coordinator, --processes and --process"):
            _initialize()
    elif coordinator is not None and processes is not None and process is not None:
        _start(coordinator, processes, process)
    elif len(missing) < len(given):
        raise UserError(f"{', '.join(given)} go together; {' and '.join(missing)} is missing")
    if jax.process_count() > 1:
        say(
            f"{jax.process_count()} processes with {jax.device_count()} devices; if one of them "
            "ends all end, and the same commands resume from the newest checkpoint"
        )


def say(line: str) -> None:
    """Print a line, once for all processes."""
    if is_first():
        print(printable(line), flush=True)


def is_first() -> bool:
    """Whether this process is the one that writes files and prints."""
    return jax.process_index() == 0


def from_first(action: Callable[[], Any]) -> Any:
    """The result of `action` in the first process; the others do not call it. Collective.

    The result is plain data. A `UserError` of `action` is raised in all processes.
    """
    if jax.process_count() == 1:
        return action()
    message = np.zeros(_MESSAGE, np.uint8)
    if is_first():
        try:
            outcome = {"value": action()}
        except UserError as error:
            outcome = {"error": str(error)[: _MESSAGE // 8]}
        encoded = json.dumps(outcome).encode()
        message[: len(encoded)] = np.frombuffer(encoded, np.uint8)
    message = np.asarray(multihost_utils.broadcast_one_to_all(message))
    outcome = json.loads(message.tobytes().rstrip(b"\0"))
    if "error" in outcome:
        raise UserError(outcome["error"])
    return outcome["value"]


def everywhere(condition: bool) -> bool:
    """Whether a condition holds in all processes. Collective."""
    return bool(np.all(multihost_utils.process_allgather(np.array(condition))))


def require_alike(config: Any) -> None:
    """Raise a `UserError` in all processes unless they were started with one config. Collective."""
    digest = np.uint32(zlib.crc32(json.dumps(config, sort_keys=True).encode()))
    if len(np.unique(multihost_utils.process_allgather(digest))) > 1:
        raise UserError(
            "the processes of the run have different configs; give all of them the same --config "
            "flags"
        )


def replicate(tree: PyTree[Array], sharding: jax.sharding.Sharding | None) -> PyTree[Array]:
    """Arrays that all processes have alike as arrays over the devices of all, if there are any."""
    if sharding is None:
        return tree
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def one(x: Array) -> Array:
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            data = one(jax.random.key_data(x))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))
        return jax.make_array_from_process_local_data(sharding, np.asarray(x), np.shape(x))

    return jax.tree.map(one, tree)


@contextmanager
def ended_with_the_others() -> Iterator[None]:
    """End this process, with one line and status 1, when another one of its run has ended."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        told = str(error), str(error.__cause__)  # orbax raises its own error from that of XLA
        if jax.process_count() == 1 or not any(map(_LOST.match, told)):
            raise
        _end(
            "another process of this run ended, or cannot be reached "
            f"({' '.join(str(error).split())[:200]}); see what it said, and start all processes "
            "again with the same commands: they resume from the newest checkpoint"
        )


def _start(coordinator: str, processes: int, process: int) -> None:
    host, _, port = coordinator.rpartition(":")
    if not host or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 2**16:
        raise UserError(
            f"--coordinator must be host:port, the port from 1 to 65535, not {coordinator!r}"
        )
    if not 0 <= process < processes:
        raise UserError(
            f"--process must be from 0 to {processes - 1} for --processes={processes}, "
            f"not {process}"
        )
    if process == 0:
        _require_free(int(port))
    else:
        _wait_for(host.strip("[]"), int(port))
    _initialize(
        coordinator_address=coordinator,
        num_processes=processes,
        process_id=process,
        cluster_detection_method="deactivate",
    )


def _initialize(**options: Any) -> None:
    deadline = threading.Timer(PATIENCE, _give_up)  # JAX itself would abort with a stack dump
    deadline.daemon = True
    deadline.start()
    try:
        jax.distributed.initialize(
            initialization_timeout=2 * PATIENCE,
            heartbeat_timeout_seconds=_HEARTBEAT,
            shutdown_timeout_seconds=_HEARTBEAT,
            **options,
        )
    finally:
        deadline.cancel()


def _give_up() -> None:
    _end(
        f"the processes of the run did not all come within {PATIENCE} s; start as many as "
        "--processes says, at the same time"
    )


def _end(message: str) -> NoReturn:
    """End this process at once: an orderly exit would wait for the processes that are missing."""
    print(f"error: {message}", file=sys.stderr, flush=True)
    os._exit(1)


def _require_free(port: int) -> None:
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    refused = f"port {port} of --coordinator cannot be listened at here"
    with user_errors(refused, OSError, fix="choose another for all processes"):
        socket.create_server(("", port), family=family, dualstack_ipv6=dual).close()


def _wait_for(host: str, port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection((host, port), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise UserError(
                    f"no answer from {host}:{port} within {PATIENCE} s ({error}); start process 0 "
                    "there, or correct --coordinator"
                ) from error
        time.sleep(0.2)
