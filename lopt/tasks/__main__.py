"""The tasks that optimizers are meta-trained and compared on.

python -m lopt.tasks
python -m lopt.tasks show "cnn(block='residual')"
"""

import sys
from collections.abc import Sequence

from rich.console import Console

from lopt.runs.commands import ArgumentParser, run_plain
from lopt.tasks.listing import data_table, show, task_table

_WHAT = "The tasks that optimizers are meta-trained and compared on."


def main(arguments: Sequence[str]) -> None:
    """List all tasks and data sets, or show the params of one task."""
    parser = ArgumentParser(prog="python -m lopt.tasks", description=_WHAT)
    commands = parser.add_subparsers(dest="command")
    one = commands.add_parser("show", help="print the params of a task with their neuron groups")
    one.add_argument("task", help="name or name(argument=value, ...)")
    given = parser.parse_args(arguments)
    width = None if sys.stdout.isatty() else 160
    console = Console(width=width)
    if given.command == "show":
        console.print(show(given.task))
    else:
        console.print(task_table(), data_table())


if __name__ == "__main__":
    run_plain(main)
