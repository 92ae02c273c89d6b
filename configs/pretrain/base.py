"""The optimizer that ships as "base": the rotated rule, meta-trained on six small tasks.

About a quarter of an hour on one core. It needs FashionMNIST:
`python -m lopt.data.prepare fashion_mnist`.
"""

from ml_collections import ConfigDict

from lopt.base import config
from lopt.meta import ESTIMATORS, OBJECTIVES
from lopt.rules import RULES
from lopt.tasks import MIXTURES, TASKS

IMAGES = "fashion_mnist(side=8)"
TEXT = "text(size=300000, tokens=characters(limit=64))"

TASKS_HERE = (
    f"mlp(data={IMAGES}, widths=(32, 32), batch_size=64)",
    "mlp(widths=(32,), batch_size=64)",
    "autoencoder(data=photos, widths=(24, 6), batch_size=64)",
    f"mlp(data={IMAGES}, widths=(24, 24, 24), activation='tanh', batch_size=32)",
    f"cnn(data={IMAGES}, widths=(4, 8), batch_size=16)",
    f"transformer(data={TEXT}, width=32, depth=2, heads=2, length=16, batch_size=8)",
)


def get_config() -> ConfigDict:
    """The config."""
    return ConfigDict(
        {
            "seed": 0,
            "task": config(MIXTURES, "mixture", tasks=TASKS_HERE),
            "rule": config(RULES, "rotated"),
            "inner": {
                "learning_rate": 0.015,
                # Level with 0.015 on the tasks of ../compare/carry_over.py, and better on a GPT.
                "default_rate": 0.011,
                "schedule": "linear",
                "rate_spread": 2.0,
                "normalize": False,
                "objective": config(OBJECTIVES, "log", power=2.0, floor=0.01),
            },
            "estimator": config(
                ESTIMATORS, "nres", pairs=8, truncation=50, horizon=1600, shortest=100, sigma=0.03
            ),
            "outer": {
                "steps": 600,
                "learning_rate": 2e-3,
                "averaging": 0.99,
                "clip": 1.0,
                "checkpoint_every": 200,
                "max_skipped": 50,
            },
            "validation": {
                "task": config(TASKS, "residual_mlp", data=IMAGES),
                "every": 200,
                "runs": 4,
            },
        }
    )
