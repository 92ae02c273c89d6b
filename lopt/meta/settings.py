"""What a config of meta-training must hold, and what its numbers may be."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from lopt.errors import UserError, suggest

_PARTS = ("task", "rule", "estimator")

_TYPES = {bool: "True or False", str: "a name", int: "a whole number", float: "a number"}


def _positive(value: float) -> bool:
    return 0 < value < math.inf


_VALUES: Mapping[str, tuple[type, Callable[[Any], bool], str]] = {
    "seed": (int, lambda x: 0 <= x < 2**32, f"from 0 to {2**32 - 1}"),
    "inner.learning_rate": (float, _positive, "positive and finite"),
    "inner.schedule": (str, bool, "given"),
    "inner.normalize": (bool, lambda x: True, ""),
    "outer.steps": (int, lambda x: x >= 1, "at least 1"),
    "outer.learning_rate": (float, _positive, "positive and finite"),
    "outer.clip": (float, lambda x: x > 0, "positive"),
    "outer.checkpoint_every": (int, lambda x: x >= 1, "at least 1"),
    "outer.max_skipped": (int, lambda x: x >= 1, "at least 1"),
}
"""Of each value of a config its type, a condition, and what to say where that does not hold."""

_OPTIONAL: Mapping[str, tuple[type, Callable[[Any], bool], str]] = {
    "inner.rate_spread": (float, lambda x: 1 <= x < math.inf, "at least 1 and finite"),
    "inner.default_rate": (float, _positive, "positive and finite"),
    "outer.averaging": (float, lambda x: 0 <= x < 1, "from 0 to below 1"),
}
"""Likewise, of values that need not be there."""


def require_settings(config: Mapping[str, Any]) -> None:
    """Find out whether meta-training can run with a config, its parts apart.

    JAX takes seeds modulo 2**32: larger ones, and negative ones, would give the run of another.

    Args:
      config: plain data, as of `ConfigDict.to_dict`.

    Raises:
      UserError: if a key is missing, or its value is of another type or out of its range.

    Example:
      >>> from ml_collections import ConfigDict
      >>> require_settings({"seed": 0})
      Traceback (most recent call last):
          ...
      lopt.errors.UserError: the config has no 'task'; see configs/quickstart.py
    """
    for name in _PARTS:
        part = _value_at(config, name)
        if not isinstance(part, Mapping) or not isinstance(part.get("name"), str):
            raise UserError(
                f"{name} must be the config of a part, as lopt.parts.config makes one, not {part!r}"
            )
    for name, (kind, condition, words) in _VALUES.items():
        _require(name, _value_at(config, name), kind, condition, words)
    for name, (kind, condition, words) in _OPTIONAL.items():
        block, key = name.split(".")
        if key in config[block]:
            _require(name, config[block][key], kind, condition, words)
    if "validation" in config:
        every, runs = (_value_at(config, f"validation.{key}") for key in ("every", "runs"))
        _require("validation.every", every, int, lambda x: x >= 0, "0, for none, or more")
        _require("validation.runs", runs, int, lambda x: x >= 1, "at least 1")
        _value_at(config, "validation.task")
    try:
        json.dumps(config)
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"a config must be plain data: {error}") from error


def _value_at(config: Mapping[str, Any], name: str) -> Any:
    value, path = config, []
    for key in name.split("."):
        if not isinstance(value, Mapping):
            raise UserError(f"{'.'.join(path)} must be a mapping, not {value!r}")
        path.append(key)
        if key not in value:
            near = f"; {suggest(key, value)}" if len(path) > 1 else "; see configs/quickstart.py"
            raise UserError(f"the config has no {'.'.join(path)!r}{near}")
        value = value[key]
    return value


def _require(
    name: str,
    value: Any,
    kind: type,
    condition: Callable[[Any], bool] = lambda x: True,
    words: str = "",
) -> None:
    numbers = (int, float) if kind is float else kind
    if not isinstance(value, numbers) or (isinstance(value, bool) and kind is not bool):
        raise UserError(f"{name} must be {_TYPES[kind]}, not {value!r}")
    if not condition(value):
        raise UserError(f"{name} must be {words}, not {value!r}")
