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
    with pytest.raises(UserError, match=f"the config has no '{name}'"):
        require_settings(changed(name))


def test_a_key_that_is_written_wrongly_is_listed():
    config = changed("outer.clip")
    config["outer"]["clpi"] = 1.0
    with pytest.raises(UserError, match=r"'outer\.clip'; did you mean clpi"):
        require_settings(config)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("outer.learning_rate", float("nan"), "must be a positive finite number, not nan"),
        ("outer.learning_rate", float("inf"), "must be a positive finite number"),
        ("outer.learning_rate", -1e-3, "must be a positive finite number"),
        ("inner.learning_rate", float("nan"), "must be a positive finite number"),
        ("inner.learning_rate", -0.1, "must be a positive finite number"),
        ("inner.learning_rate", "0.1", "must be a positive finite number, not '0.1'"),
        ("inner.default_rate", 0.0, "must be a positive finite number, not 0.0"),
        ("outer.clip", 0.0, "must be a positive number, not 0.0"),
        ("outer.clip", -1.0, "must be a positive number, not"),
        ("outer.averaging", 1.0, "must be a number from 0 to below 1, not 1.0"),
        ("inner.rate_spread", 0.5, "must be a finite number of at least 1, not 0.5"),
        ("outer.clip", float("nan"), "must be a positive number, not"),
        ("outer.steps", 0, "must be a positive integer, not 0"),
        ("outer.steps", 10.0, "must be a positive integer, not 10.0"),
        ("outer.steps", True, "must be a positive integer"),
        ("outer.max_skipped", 0, "must be a positive integer"),
        ("outer.checkpoint_every", 0, "must be a positive integer"),
        ("seed", 2**64, "must be an integer from 0 to 4,294,967,295"),
        ("seed", 2**32, "must be an integer from 0 to 4,294,967,295"),
        ("seed", -1, "must be an integer from 0 to 4,294,967,295"),
        ("inner.normalize", 1, "must be True or False"),
        ("validation.runs", "3", "must be a positive integer"),
        ("validation.runs", 0, "must be a positive integer"),
        ("validation.every", -1, "must be an integer of at least 0"),
        ("outer", 3, "outer must be a mapping, not 3"),
        ("task", "mlp", "task must be the config of a part"),
        ("task", {"widths": (3,)}, "task must be the config of a part"),
    ],
)
def test_values_that_cannot_be_are_refused(name, value, words):
    with pytest.raises(UserError) as raised:
        require_settings(changed(name, value))
    assert name in str(raised.value)
    assert words in str(raised.value)


def test_values_that_are_no_plain_data_are_refused():
    with pytest.raises(UserError, match=r"a config must be plain data: .*object"):
        require_settings(changed("seed", 3) | {"more": object()})


def test_large_values_within_their_range_are_accepted():
    require_settings(changed("seed", 2**32 - 1))
    require_settings(changed("outer.clip", float("inf")))
