"""Signals that are answered at once, whatever the main thread is doing."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
from jax.experimental import multihost_utils

_SHOW_CURSOR = "\x1b[?25h"

_SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)

_SAME = 1.0  # seconds in which a signal that comes again is the same: timeout and SLURM send two


@contextmanager
def handled(numbers: Sequence[int], action: Callable[[int], None]) -> Iterator[None]:
    """Call `action(number)` for each of these signals that comes; a context manager.

    It is called in a thread of its own. Python calls handlers of signals in the main thread, and
    there not before compiled code returns: JAX may compile for minutes. What they raise, as for
    Ctrl-C, can crash the threads that are at work then. Signals that this process ignores, as
    under `nohup`, stay ignored.
    """
    known = [n for n in numbers if signal.getsignal(n) not in (signal.SIG_IGN, None)]
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def listen() -> None:
        while number := os.read(reading, 1):
            if number[0] in known:
                action(number[0])
        os.close(reading)

    before = {n: signal.signal(n, _nothing) for n in known}
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=listen, daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(writing)


@contextmanager
def resumable(after: str) -> Iterator[None]:
    """End the process at SIGINT, SIGTERM and SIGHUP, whatever it is doing; a context manager.

    For commands that leave their files whole at any time, and resume `after` something.
    """

    def stop(number: int) -> None:
        print(f"stopped; the same command resumes after {after}", file=sys.stderr)
        leave(128 + number)

    with handled((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), stop):
        yield


class Interruption:
    """Notes SIGTERM, SIGINT, SIGHUP and SIGQUIT in place of dying of them; a context manager.

    A second signal ends the process at once. Where a run has several processes, jax.distributed
    notes SIGTERM and passes it on to all of them; the others are turned into it.
    """

    def __init__(self) -> None:
        self.signal: int | None = None  # the number of the one that came
        self._alone = jax.process_count() == 1
        noted = (*_SIGNALS, signal.SIGTERM) if self._alone else _SIGNALS
        self._handled = handled(noted, self.note)

    def __enter__(self) -> "Interruption":
        self._handled.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._handled.__exit__(*exception)

    def reached(self, step: int) -> bool:
        """Whether the run is to be left after this step. Collective; to be asked of every step."""
        if not self._alone and multihost_utils.reached_preemption_sync_point(step):
            self.signal = signal.SIGTERM
            return True
        return self._alone and self.signal is not None

    def note(self, number: int) -> None:
        """Note the first signal; leave at another."""
        if self.signal is None:
            self.signal, self._when = number, time.monotonic()
            if not self._alone:
                os.kill(os.getpid(), signal.SIGTERM)
        elif time.monotonic() > self._when + _SAME:
            leave(128 + number)


def leave(status: int) -> None:
    """End the process here and now, waiting for no thread, with what it printed flushed."""
    if sys.stdout.isatty():
        sys.stdout.write(_SHOW_CURSOR)  # a progress bar may have hidden it
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, RuntimeError):  # a closed pipe; a thread that is printing
            continue
    os._exit(status)


def _nothing(number: int, frame: object) -> None:
    """Do nothing: with a handler a signal neither ends the process nor is ignored."""
