"""A relational UNF for a transformer that models the characters of program text."""

from typing import Any

from ml_collections import ConfigDict

from lopt.base import config
from lopt.meta import ESTIMATORS
from lopt.rules import RULES
from lopt.tasks import TASKS


def get_config() -> ConfigDict:
    """The config."""
    return ConfigDict(
        {
            "seed": 0,
            "task": _task(width=16, depth=1),
            "rule": config(RULES, "unf", layers="relational", widths=(16,)),
            "inner": {"learning_rate": 0.01, "schedule": "cosine", "normalize": False},
            "estimator": config(ESTIMATORS, "pes", pairs=8, truncation=20, horizon=200, sigma=0.01),
            "outer": {
                "steps": 1000,
                "learning_rate": 5e-3,
                "clip": 1.0,
                "checkpoint_every": 100,
                "max_skipped": 50,
            },
            "validation": {
                "task": _task(width=8, depth=2),
                "every": 100,
                "runs": 4,
            },
        }
    )


def _task(**model: Any) -> ConfigDict:
    data = "text(size=200_000, tokens=characters(limit=96))"
    return config(TASKS, "transformer", data=data, heads=2, length=16, batch_size=8, **model)
