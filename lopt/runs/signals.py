"""Signals that are answered at once, whatever the main thread is doing."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

_SHOW_CURSOR = "\x1b[?25h"


@contextmanager
def handled(numbers: Sequence[int], action: Callable[[int], None]) -> Iterator[None]:
    """Call `action(number)` for each of these signals that comes; a context manager.

    It is called in a thread of its own. Python calls handlers of signals in the main thread, and
    there not before compiled code returns: JAX may compile for minutes. What they raise, as for
    Ctrl-C, can crash the threads that are at work then.

    Args:
      numbers: of signals. Those that this process ignores, as under `nohup`, stay ignored.
      action: is given the number of the signal.
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

    For commands that leave what is on the disk whole at any time.

    Args:
      after: what the same command resumes after, for the line that is printed.
    """

    def stop(number: int) -> None:
        print(f"stopped; the same command resumes after {after}", file=sys.stderr)
        leave(128 + number)

    with handled((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), stop):
        yield


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
