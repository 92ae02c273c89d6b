"""Checks of a config of meta-training: its keys, and the ranges of its numbers."""

import json
from collections.abc import Mapping
from typing import Any

from lopt.base.checks import DECAY, FLAG, POSITIVE, SEED, SIZE, Check, integer, named, number
from lopt.base.errors import UserError, suggest, user_errors
from lopt.base.schedules import SCHEDULES

_PARTS = ("task", "rule", "estimator")

_CHECKS: Mapping[str, Check] = {
    "seed": SEED,  # JAX takes seeds modulo 2**32: others would give the run of one of these
    "inner.learning_rate": POSITIVE,
    "inner.schedule": named("schedule", SCHEDULES),
    "inner.normalize": FLAG,
    "outer.steps": SIZE,
    "outer.learning_rate": POSITIVE,
    "outer.clip": number(above=0, infinite=True),
    "outer.checkpoint_every": SIZE,
    "outer.max_skipped": SIZE,
}

_OPTIONAL: Mapping[str, Check] = {
    "inner.rate_spread": number(1),
    "inner.default_rate": POSITIVE,
    "outer.averaging": DECAY,
}

_VALIDATION: Mapping[str, Check] = {"validation.every": integer(0), "validation.runs": SIZE}
"""Checks of the block of that name, if it is there."""


def require_settings(config: Mapping[str, Any]) -> None:
    """Raise a `UserError` unless meta-training can run with a config, its parts apart.

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
    checks = {**_CHECKS, **(_VALIDATION if "validation" in config else {})}
    for name, check in checks.items():
        check(name, _value_at(config, name))
    for name, check in _OPTIONAL.items():
        block, key = name.split(".")
        if key in config[block]:
            check(name, config[block][key])
    if "validation" in config:
        _value_at(config, "validation.task")
    with user_errors("a config must be plain data"):
        json.dumps(config)


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
