"""Runs command lines: absl flags in, one line and exit status 2 for a user's mistake."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NoReturn

import jax
from absl import app, flags
from absl import logging as absl_logging

from lopt.base.errors import UserError
from lopt.base.parts import Parts
from lopt.runs.config_file import ConfigFile
from lopt.runs.memory import memory_for
from lopt.runs.signals import handled, leave
from lopt.runs.streams import lasting_streams

_HELP = ("help", "helpshort", "helpfull")

_SMALLER = "make the task's batches or widths smaller, or take fewer runs at a time"


def run(main: Callable[[Sequence[str]], None], parts: Mapping[str, Parts] | None = None) -> None:
    """Parse the flags, call `main` and end the process; a user's mistake gives status 2.

    A flag `config` is a file of `configs/`, a flag `workdir` the folder that is written to. Ctrl-C
    ends the process at once, unless `main` arranges for something else. So does an error: an
    orderly end would wait for threads that the error may have left waiting for each other, unless
    there are other processes, which have to be notified. What cannot be printed ends nothing.
    `main` is given the words that are no flags; `parts` are as in `ConfigFile`.
    """

    def guarded(argv: Sequence[str]) -> None:
        absl_logging.set_verbosity(absl_logging.WARNING)
        absl_logging.get_absl_logger().setLevel(logging.CRITICAL)  # orbax raises its errors as well
        sys.unraisablehook = _unraisable
        with one_line_errors():
            if len(argv) > 1:
                raise UserError(f"unexpected argument {argv[1]!r}; flags start with --")
            main(argv)

    status = 0
    with lasting_streams(), handled((signal.SIGINT,), lambda number: leave(128 + number)):
        try:
            app.run(guarded, flags_parser=partial(_parse, parts=parts))
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        except Exception:
            sys.excepthook(*sys.exc_info())
            status = 1
        if status and not jax.distributed.is_initialized():
            leave(status)
    sys.exit(status)


class ArgumentParser(argparse.ArgumentParser):
    """A parser for a command without a config, whose mistakes are `UserError`s."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see --help")


def run_plain(main: Callable[[Sequence[str]], None]) -> None:
    """Call `main`, which parses the arguments itself; a user's mistake gives status 2."""
    with lasting_streams(), one_line_errors():
        main(sys.argv[1:])


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the process at a user's mistake, with one line on stderr and status 2."""
    try:
        with memory_for("the program", _SMALLER):
            yield
    except Exception as error:
        message = str(error) if isinstance(error, UserError | flags.Error) else _no_device()
        if not message:
            raise
        print(f"error: {UserError(message)}", file=sys.stderr)
        sys.exit(2)


def _no_device() -> str:
    """The message if JAX has nothing to compute on, whose errors then are of many kinds."""
    try:
        jax.devices()
    except Exception as error:
        asked = os.environ.get("JAX_PLATFORMS")
        told = f" ({str(error)[:200]})" if str(error) else ""
        fix = f"unset JAX_PLATFORMS={asked}, or give it a platform that is here, such as cpu"
        return f"JAX finds no device{told}; " + (fix if asked else "see its installation guide")
    return ""


def _unraisable(error: Any) -> None:
    """Print an error that a thread ends with, unless it follows from one that is raised elsewhere.

    Of a full disk orbax raises the first error, and closes the loop that its threads report to.
    """
    if str(error.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(error)


def _parse(argv: list[str], parts: Mapping[str, Parts] | None) -> list[str]:
    if any(a.lstrip("-").split("=")[0] in _HELP for a in argv[1:]):
        return app.parse_flags_with_usage(list(argv))
    with one_line_errors():
        return parse_flags(flags.FLAGS, argv, parts)


def parse_flags(
    known: flags.FlagValues, argv: list[str], parts: Mapping[str, Parts] | None = None
) -> list[str]:
    """Parse a command line; returns the words that are no flags.

    Flags that put another part into the config are taken out of `argv`; `parts` are as in
    `ConfigFile`. A mistake in the config file is a `UserError`, any other one absl's `flags.Error`.
    """
    if "config" in known:
        known["config"].parser = ConfigFile("config", argv, parts)
    try:
        rest = known(argv)
    except flags.Error as error:
        if isinstance(error.__context__, UserError):  # absl puts the command line before it
            raise error.__context__ from None
        required = "config" in known and known["config"].validators
        if required and not known["config"].present:
            raise UserError("a config is needed: --config=configs/quickstart.py") from error
        raise
    if "workdir" in known and known["workdir"].value == "":
        raise UserError("--workdir is empty; give the folder that files go to")
    return rest
