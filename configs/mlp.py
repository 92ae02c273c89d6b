"""A relational UNF for an MLP of two hidden layers on digits."""

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
            "task": config(TASKS, "mlp", data="digits", widths=(32, 32), batch_size=64),
            "rule": config(RULES, "unf", layers="relational", widths=(16,)),
            "inner": {"learning_rate": 0.02, "schedule": "cosine", "normalize": False},
            "estimator": config(ESTIMATORS, "pes", pairs=8, truncation=25, horizon=200, sigma=0.01),
            "outer": {
                "steps": 2000,
                "learning_rate": 5e-3,
                "clip": 1.0,
                "checkpoint_every": 100,
                "max_skipped": 50,
            },
            "validation": {
                "task": config(TASKS, "mlp", data="digits", widths=(24, 24, 24), batch_size=64),
                "every": 100,
                "runs": 4,
            },
        }
    )
