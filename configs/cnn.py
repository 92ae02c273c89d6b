"""A relational UNF for a convolutional classifier of digits."""

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
            "task": config(TASKS, "cnn", data="digits", widths=(8, 16), batch_size=32),
            "rule": config(RULES, "unf", layers="relational", widths=(16,)),
            "inner": {"learning_rate": 0.02, "schedule": "cosine", "normalize": False},
            "estimator": config(ESTIMATORS, "pes", pairs=4, truncation=20, horizon=200, sigma=0.01),
            "outer": {
                "steps": 1000,
                "learning_rate": 2e-3,
                "clip": 1.0,
                "checkpoint_every": 100,
                "max_skipped": 50,
            },
            "validation": {
                "task": config(TASKS, "cnn", data="photos", widths=(6, 12), batch_size=32),
                "every": 200,
                "runs": 4,
            },
        }
    )
