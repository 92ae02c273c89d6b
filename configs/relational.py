"""A relational UNF, a network over every parameter, on the task of the quickstart.

`--config=configs/relational.py:es` takes full ES in place of PES.
"""

from ml_collections import ConfigDict

from lopt.base import config
from lopt.meta import ESTIMATORS
from lopt.rules import RULES
from lopt.tasks import TASKS

HORIZON = 200


def get_config(estimator: str = "pes") -> ConfigDict:
    """The config, with "pes" or "es" as the estimator."""
    return ConfigDict(
        {
            "seed": 0,
            "task": config(TASKS, "mlp", data="digits", widths=(32,), batch_size=64),
            "rule": config(RULES, "unf", layers="relational", widths=(16,)),
            "inner": {"learning_rate": 0.02, "schedule": "cosine", "normalize": False},
            "estimator": config(ESTIMATORS, estimator, pairs=8, horizon=HORIZON, sigma=0.01),
            "outer": {
                "steps": 2000,
                "learning_rate": 5e-3,
                "clip": 1.0,
                "checkpoint_every": 200,
                "max_skipped": 50,
            },
        }
    )
