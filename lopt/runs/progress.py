"""Progress of a command: a bar on a terminal, lines elsewhere, nothing on a quiet console."""

import math
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from lopt.base.printed import printable

_COMPILING = "compiling"


class Progress:
    """Shows how far a command is; a context manager.

    >>> with Progress(0, 100, Console(quiet=True)) as progress:
    ...     for step in range(1, 101):
    ...         progress(step, lambda: f"loss {1 / step:.2f}")
    """

    def __init__(
        self, done: int, steps: int, console: Console | None = None, every: float | None = 30.0
    ):
        """See the class; a line of a log comes `every` so many seconds, or by `log` alone."""
        self._steps, self._every = steps, every
        self._console = console or Console()
        self._on_terminal = self._console.is_terminal
        self._left = TimeRemainingColumn()
        self._bar = Bar(
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.description}", markup=False),
            self._left,
            console=self._console,
            expand=True,
            disable=not self._on_terminal,
            get_time=time.monotonic,
            # with rich's 30 s no time would be left to say where a step, or a line, takes longer
            speed_estimate_period=math.inf,
        )
        self._row = self._bar.add_task(_COMPILING, total=steps, completed=done)
        self._interval = 0.2 if self._on_terminal else every or 0.0
        self._shown = -math.inf

    def __enter__(self) -> "Progress":
        self._bar.start()
        if self._every is not None:
            self.log(_COMPILING)
        return self

    def __exit__(self, *exception: Any) -> None:
        self._bar.stop()

    def __call__(self, step: int, words: Callable[[], str]) -> None:
        """Show a step and some words, if it is the last or enough time has passed."""
        now = time.monotonic()
        if now - self._shown < self._interval and step != self._steps:
            return
        self._shown = now
        told = words()
        # rich measures speed from the first update on, so that compilation does not count
        self._bar.update(self._row, completed=step, description=printable(told))
        if self._every is not None:
            self.log(f"{told} {self._left.render(self._bar.tasks[self._row])}")

    def log(self, words: str) -> None:
        """Print how far it is and some words as a line of the log; a terminal has the bar."""
        if not self._on_terminal:
            done = round(self._bar.tasks[self._row].completed)
            print_line(self._console, f"{done}/{self._steps} {words}")


def print_line(console: Console, text: str) -> None:
    """Print one line as it is, whatever names and errors are in it."""
    console.print(Text(printable(text)), soft_wrap=True)
