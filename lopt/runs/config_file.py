"""Config files of a command line: each is run once, and its mistakes are one line.

Flags override what a config says, a key at a time, and swap its parts: `--config.rule=unf`.
"""

import inspect
import re
import runpy
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from lopt.base.errors import UserError, suggest
from lopt.base.parts import Parts
from lopt.base.parts import config as config_of


class ConfigFile(flags.ArgumentParser):
    """Parses `path` or `path:argument`: what the file's `get_config` returns, as a locked config.

    It stands in for the parser of `config_flags.DEFINE_config_file`, which reports none of what is
    checked here in a line.
    """

    def __init__(self, name: str, argv: list[str], parts: Mapping[str, Parts] | None = None):
        """See the class.

        The flags that swap a part are taken out of `argv`: absl would refuse a value of another
        type than the config's. `parts` are those that a key can name, as in `{"rule": RULES}`; `*`
        in the path of a key stands for any key.
        """
        self._name = name
        self._swaps = list(_taken(name, argv, parts or {}))
        overriding = (re.match(rf"--?(?:no)?{name}\.([^=\[]+)", word) for word in argv)
        self._overridden = [match[1] for match in overriding if match]

    def parse(self, argument: str) -> ConfigDict:
        """Load a config, with other parts where flags say so; a mistake in it is a `UserError`."""
        path, text = _split(argument)
        if not Path(path).is_file():
            raise UserError(f"no config file {path!r}; see configs/")
        given = [] if text is None else [text]
        with _located(path):
            get_config = runpy.run_path(path).get("get_config")
            if not callable(get_config):
                raise UserError(f"{path} defines no get_config(); see configs/quickstart.py")
            _require_arguments(path, get_config, len(given))
            found = get_config(*given)
            if not isinstance(found, Mapping | ConfigDict):
                raise UserError(
                    f"get_config() of {path} must return a ConfigDict, not {type(found).__name__}"
                )
            config = ConfigDict(found)  # which has no keys with dots
        for swap in self._swaps:
            self._swap(config, *swap)
        for path in self._overridden:
            self._at(config, path.split("."), path)
        return config.lock()

    def flag_type(self) -> str:
        return "config file"

    def _swap(self, config: ConfigDict, parts: Parts, path: str, text: str) -> None:
        """Put another part in a part's place, or where none is said."""
        keys = path.split(".")
        renamed = keys[-1] == "name"
        *blocks, key = keys[:-1] if renamed else keys
        block = self._at(config, blocks, path)
        if renamed or not isinstance(block, ConfigDict):
            self._at(block, [key, "name"] if renamed else [key], path)
        old = block.get(key)
        new = config_of(parts, text, old) if renamed else config_of(parts, text)
        with block.unlocked(), block.ignore_type():
            block[key] = text if isinstance(old, str) else new

    def _at(self, node: Any, keys: Sequence[str], path: str) -> Any:
        """The value at the end of some of a path's keys."""
        for key in keys:
            valid = node.keys() if isinstance(node, ConfigDict) else ()
            if key not in valid:
                raise UserError(f"--{self._name}.{path}: no key {key!r}; {suggest(key, valid)}")
            node = node[key]
        return node


def _taken(
    name: str, argv: list[str], parts: Mapping[str, Parts]
) -> Iterator[tuple[Parts, str, str]]:
    """Take the flags that swap a part out of a command line: the parts, the path and the text."""
    words, argv[:] = iter(argv.copy()), []
    for word in words:
        match = re.fullmatch(rf"--?{name}\.([^=\[]+)(?:=(.*))?", word, re.DOTALL)
        found = _parts_at(match[1], parts) if match else None
        if match is None or found is None:
            argv.append(word)
        elif (text := next(words, None) if match[2] is None else match[2]) is None:
            argv.append(word)  # the last word: its text is missing, as absl will say
        else:
            yield found, match[1], text


def _parts_at(path: str, parts: Mapping[str, Parts]) -> Parts | None:
    key = path.removesuffix(".name")
    patterns = {re.escape(name).replace(r"\*", "[^.]+"): found for name, found in parts.items()}
    return next((found for p, found in patterns.items() if re.fullmatch(p, key)), None)


def _split(argument: str) -> tuple[str, str | None]:
    """The path and the argument after it; a path may have colons in it."""
    words = argument.split(":")
    for n in range(len(words), 0, -1):
        if Path(path := ":".join(words[:n])).is_file():
            return path, ":".join(words[n:]) if n < len(words) else None
    return words[0], None


def _require_arguments(path: str, get_config: Callable[..., Any], given: int) -> None:
    parameters = inspect.signature(get_config).parameters.values()
    if given > len(parameters):
        raise UserError(f"{path} takes no argument: --config={path}")
    if given < sum(p.default is p.empty for p in parameters):
        raise UserError(f"{path} needs an argument: --config={path}:ARGUMENT")


@contextmanager
def _located(path: str) -> Iterator[None]:
    """Make a `UserError` with the line of whatever a config file raises."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == path]
        message: Any = error
        if isinstance(error, SyntaxError):
            lines, message = [error.lineno], error.msg
        where = f"{path}, line {lines[-1]}" if lines and lines[-1] else path
        raise UserError(f"{where}: {type(error).__name__}: {message}") from error
