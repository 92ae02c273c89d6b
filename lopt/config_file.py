"""Config files of a command line: each is run once, and its mistakes are one line."""

import inspect
import re
import runpy
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from lopt.errors import UserError, suggest


class ConfigFile(flags.ArgumentParser):
    """Parses `path` or `path:argument`: what the file's `get_config` returns, as a locked config.

    It stands in for the parser of `config_flags.DEFINE_config_file`, which reports none of what is
    checked here in a line.
    """

    def __init__(self, name: str, argv: Sequence[str]):
        """See the class.

        Args:
          name: of the flag.
          argv: the command line, for the keys that it overrides.
        """
        self._name, self._overridden = name, list(_overridden(name, argv))

    def parse(self, argument: str) -> ConfigDict:
        """Load a config.

        Raises:
          UserError: if there is no such file, or an error in it, or it returns no config, or its
            config has no key that the command line overrides.
        """
        path, colon, text = argument.partition(":")
        if not Path(path).is_file():
            raise UserError(f"no config file {path!r}; see configs/")
        get_config = _in_one_line(path, lambda: runpy.run_path(path).get("get_config"))
        if not callable(get_config):
            raise UserError(f"{path} defines no get_config(); see configs/quickstart.py")
        given = [text] if colon else []
        _require_arguments(path, get_config, len(given))
        config = _in_one_line(path, lambda: get_config(*given))
        if not isinstance(config, Mapping | ConfigDict):
            raise UserError(
                f"get_config() of {path} must return a ConfigDict, not {type(config).__name__}"
            )
        config = ConfigDict(config)
        self._require_overridden(config)
        return config.lock()

    def flag_type(self) -> str:
        return "config file"

    def _require_overridden(self, config: ConfigDict) -> None:
        for override in self._overridden:
            node = config
            for key in override.split("."):
                valid = node.keys() if isinstance(node, ConfigDict) else ()
                if key not in valid:
                    where = f"--{self._name}.{override}"
                    raise UserError(f"{where}: no key {key!r}; {suggest(key, valid)}")
                node = node[key]


def _overridden(name: str, argv: Sequence[str]) -> Iterator[str]:
    for argument in argv:
        if match := re.match(rf"--?(?:no)?{name}\.([^=\[]+)", argument):
            yield match[1]


def _require_arguments(path: str, get_config: Callable[..., Any], given: int) -> None:
    parameters = inspect.signature(get_config).parameters.values()
    if given > len(parameters):
        raise UserError(f"{path} takes no argument: --config={path}")
    if given < sum(p.default is p.empty for p in parameters):
        raise UserError(f"{path} needs an argument: --config={path}:ARGUMENT")


def _in_one_line(path: str, action: Callable[[], Any]) -> Any:
    """What an action returns; the config file's errors become a `UserError` with their line."""
    try:
        return action()
    except UserError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == path]
        if isinstance(error, SyntaxError):
            lines = [error.lineno]
        where = f"{path}, line {lines[-1]}" if lines and lines[-1] else path
        message = error.msg if isinstance(error, SyntaxError) else error
        raise UserError(f"{where}: {type(error).__name__}: {message}") from error
