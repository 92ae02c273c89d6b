"""How the command lines run: absl flags in, one line and exit status 2 for a user's mistake."""

import inspect
import runpy
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from absl import app, flags, logging
from ml_collections import ConfigDict

from lopt.errors import UserError, suggest

_HELP = ("help", "helpshort", "helpfull")


def run(main: Callable[[Sequence[str]], None]) -> None:
    """Parse the flags and call `main`; a user's mistake ends the process with status 2."""

    def guarded(argv: Sequence[str]) -> None:
        logging.set_verbosity(logging.WARNING)
        with one_line_errors():
            if len(argv) > 1:
                raise UserError(f"unexpected argument {argv[1]!r}; flags start with --")
            main(argv)

    app.run(guarded, flags_parser=_parse)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the process at a user's mistake, with one line on stderr and status 2."""
    try:
        yield
    except (UserError, flags.Error) as error:
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)


def _parse(argv: Sequence[str]) -> list[str]:
    if any(a.lstrip("-").split("=")[0] in _HELP for a in argv[1:]):
        return app.parse_flags_with_usage(list(argv))
    with one_line_errors():
        if "config" in flags.FLAGS:
            _check_config(argv)
        return flags.FLAGS(argv)


def _check_config(argv: Sequence[str]) -> None:
    """Raise a `UserError` if there is no such config file, or it has no key that is overridden."""
    files = [a.partition("=")[2] for a in argv if a.startswith("--config=")]
    if not files:
        raise UserError("a config is needed: --config=configs/quickstart.py")
    path, _, argument = files[-1].partition(":")
    if not Path(path).is_file():
        raise UserError(f"no config file {path!r}; see configs/")
    get_config = runpy.run_path(path).get("get_config")
    if get_config is None:
        raise UserError(f"{path} defines no get_config(); see configs/quickstart.py")
    if argument and not inspect.signature(get_config).parameters:
        raise UserError(f"{path} takes no argument: --config={path}")
    config = get_config(argument) if argument else get_config()
    for override in _overridden(argv):
        node = config
        for key in override.split("."):
            valid = node.keys() if isinstance(node, ConfigDict) else ()
            if key not in valid:
                raise UserError(f"--config.{override}: no key {key!r}; {suggest(key, valid)}")
            node = node[key]


def _overridden(argv: Sequence[str]) -> Iterator[str]:
    for argument in argv:
        if argument.startswith("--config."):
            yield argument.removeprefix("--config.").partition("=")[0].partition("[")[0]
