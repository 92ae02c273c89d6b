"""What a config of meta-training must hold, and what its numbers may be."""

import json
from collections.abc import Mapping
from typing import Any

from lopt.base.checks import DECAY, FLAG, POSITIVE, SEED, SIZE, Check, integer, named, number
from lopt.base.errors import UserError, suggest
from lopt.base.schedules import SCHEDULES

_PARTS = ("task", "rule", "estimator")

_VALUES: Mapping[str, Check] = {
    "seed": SEED,
    "inner.learning_rate": POSITIVE,
    "inner.schedule": named("schedule", SCHEDULES),
    "inner.normalize": FLAG,
    "outer.steps": SIZE,
    "outer.learning_rate": POSITIVE,
    "outer.clip": number(above=0, infinite=True),
    "outer.checkpoint_every": SIZE,
    "outer.max_skipped": SIZE,
}
"""What each value of a config must be."""

_OPTIONAL: Mapping[str, Check] = {
    "inner.rate_spread": number(1),
    "inner.default_rate": POSITIVE,
    "outer.averaging": DECAY,
}
"""Likewise, of values that need not be there."""

_VALIDATION: Mapping[str, Check] = {"validation.every": integer(0), "validation.runs": SIZE}
"""And of the block of that name, if it is there."""


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
      lopt.base.errors.UserError: the config has no 'task'; see configs/quickstart.py
    """
    for name in _PARTS:
        part = _value_at(config, name)
        if not isinstance(part, Mapping) or not isinstance(part.get("name"), str):
            raise UserError(
                f"{name} must be the config of a part, as lopt.base.config makes one, not {part!r}"
            )
    for name, check in _VALUES.items():
        check(name, _value_at(config, name))
    for name, check in _OPTIONAL.items():
        block, key = name.split(".")
        if key in config[block]:
            check(name, config[block][key])
    if "validation" in config:
        for name, check in _VALIDATION.items():
            check(name, _value_at(config, name))
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
