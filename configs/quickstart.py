"""A rotated rule for an MLP on digits: the demo, two minutes on two cores.

`--config=configs/quickstart.py:es` takes full ES in place of PES.
"""

from ml_collections import ConfigDict

from lopt.base import config
from lopt.meta import ESTIMATORS, OBJECTIVES
from lopt.rules import RULES
from lopt.tasks import TASKS

HORIZON = 200


def get_config(estimator: str = "pes") -> ConfigDict:
    """The config, with "pes" or "es" as the estimator."""
    return ConfigDict(
        {
            "seed": 0,
            "task": config(TASKS, "mlp", data="digits", widths=(32,), batch_size=64),
            "rule": config(RULES, "rotated"),
            "inner": {
                "learning_rate": 0.03,
                "schedule": "linear",
                "normalize": False,
                "objective": config(OBJECTIVES, "log", power=0.5, floor=0.003),
            },
            "estimator": config(ESTIMATORS, estimator, pairs=8, horizon=HORIZON, sigma=0.02),
            "outer": {
                "steps": 1000,
                "learning_rate": 5e-3,
                "clip": 1.0,
                "checkpoint_every": 200,
                "max_skipped": 50,
            },
        }
    )
