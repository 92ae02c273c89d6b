import runpy
from functools import reduce
from pathlib import Path

import pytest

from lopt.base.errors import UserError
from lopt.meta_train.settings import require_settings

CONFIGS = [
    *(
        path
        for path in Path("configs").rglob("*.py")
        if path.parent.name not in ("compare", "predict") and not path.name.startswith("_")
    ),
    Path("tests/validated.py"),
]
"""Of meta-training; those of other commands have tests of their own."""


def config_of(path="tests/validated.py"):
    return runpy.run_path(str(path))["get_config"]().to_dict()


def changed(name, *value):
    """A config with one value set, or removed if there is none to set."""
    config = config_of()
    *path, key = name.split(".")
    node = reduce(dict.get, path, config)
    if value:
        (node[key],) = value
    else:
        del node[key]
    return config


@pytest.mark.parametrize("path", CONFIGS, ids=str)
def test_the_configs_are_accepted(path):
    require_settings(config_of(path))


NAMES = [
    "seed",
    "task",
    "rule",
    "estimator",
    *(f"inner.{k}" for k in ("learning_rate", "schedule", "normalize")),
    *(f"outer.{k}" for k in ("steps", "learning_rate", "clip", "checkpoint_every", "max_skipped")),
    *(f"validation.{k}" for k in ("every", "runs", "task")),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_key_is_named(name):
    with pytest.raises(UserError, match=f"'{name}'"):
        require_settings(changed(name))


def test_a_key_that_is_written_wrongly_is_listed():
    config = changed("outer.clip")
    config["outer"]["clpi"] = 1.0
    with pytest.raises(UserError, match="clpi"):
        require_settings(config)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("outer.learning_rate", float("nan")),
        ("outer.learning_rate", float("inf")),
        ("outer.learning_rate", -1e-3),
        ("inner.learning_rate", float("nan")),
        ("inner.learning_rate", -0.1),
        ("inner.learning_rate", "0.1"),
        ("inner.default_rate", 0.0),
        ("outer.clip", 0.0),
        ("outer.clip", -1.0),
        ("outer.averaging", 1.0),
        ("inner.rate_spread", 0.5),
        ("outer.clip", float("nan")),
        ("outer.steps", 0),
        ("outer.steps", 10.0),
        ("outer.steps", True),
        ("outer.max_skipped", 0),
        ("outer.checkpoint_every", 0),
        ("seed", 2**64),
        ("seed", 2**32),
        ("seed", -1),
        ("inner.normalize", 1),
        ("validation.runs", "3"),
        ("validation.runs", 0),
        ("validation.every", -1),
        ("outer", 3),
        ("task", "mlp"),
        ("task", {"widths": (3,)}),
    ],
)
def test_values_that_cannot_be_are_refused(name, value):
    with pytest.raises(UserError) as raised:
        require_settings(changed(name, value))
    assert name in str(raised.value)
    assert repr(value) in str(raised.value)


def test_values_that_are_no_plain_data_are_refused():
    with pytest.raises(UserError, match="plain data"):
        require_settings(changed("seed", 3) | {"more": object()})


def test_large_values_within_their_range_are_accepted():
    require_settings(changed("seed", 2**32 - 1))
    require_settings(changed("outer.clip", float("inf")))
