"""What a comparison says while it goes: a bar at a terminal, lines elsewhere."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from lopt.base.printed import printable


class Bar:
    """A bar over all trials; a context manager."""

    def __init__(self, console: Console):
        """Draw it on a terminal."""
        columns = (
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.description}", markup=False),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=console, expand=True)

    def __enter__(self) -> "Bar":
        self._bar.start()
        self._row = self._bar.add_task("compiling", total=None)
        return self

    def __exit__(self, *exception: Any) -> None:
        self._bar.stop()

    def of(self, total: int) -> None:
        """Say how many trials there will be."""
        self._bar.update(self._row, total=total)

    def trial(self, task: str, optimizer: str) -> None:
        """Count a trial."""
        words = printable(f"{_short(task)}: {optimizer}")
        self._bar.update(self._row, advance=1, description=words)

    def ended(self, task: str, optimizer: str, words: str, skipped: int) -> None:
        """Count the trials that an optimizer did not have."""
        self._bar.update(self._row, advance=skipped)


class Lines:
    """A line for each optimizer that is done with a task, for logs; a context manager."""

    def __init__(self, console: Console):
        """Print the lines on a console that is no terminal."""
        self._console = console
        self._done, self._total = 0, 0

    def __enter__(self) -> "Lines":
        self._start = time.monotonic()
        return self

    def __exit__(self, *exception: Any) -> None:
        pass

    def of(self, total: int) -> None:
        """Say how many trials there will be."""
        self._total = total

    def trial(self, task: str, optimizer: str) -> None:
        """Count a trial."""
        self._done += 1

    def ended(self, task: str, optimizer: str, words: str, skipped: int) -> None:
        """Print how an optimizer did on a task."""
        self._done += skipped
        seconds = time.monotonic() - self._start
        counted = f"{self._done}/{self._total} trials, {seconds:.0f} s"
        show_line(self._console, f"{counted}: {task}: {optimizer}: {words}")


class Silence:
    """Says nothing; a context manager."""

    def __enter__(self) -> "Silence":
        return self

    def __exit__(self, *exception: Any) -> None:
        pass

    def of(self, total: int) -> None:
        """Leave it alone."""

    def trial(self, task: str, optimizer: str) -> None:
        """Leave it alone."""

    def ended(self, task: str, optimizer: str, words: str, skipped: int) -> None:
        """Leave it alone."""


def progress(console: Console | None) -> Bar | Lines | Silence:
    """A bar for a terminal, lines for another console, nothing for none."""
    if console is None:
        return Silence()
    return Bar(console) if console.is_terminal else Lines(console)


def show_line(console: Console, text: str) -> None:
    """Print one line as it is, whatever names and errors are in it."""
    console.print(Text(printable(text)), soft_wrap=True)


def _short(text: str, width: int = 24) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
