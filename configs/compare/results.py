"""Learned optimizers of three meta-seeds on the task that they were meta-trained on.

`--config=configs/compare/results.py:cnn` takes that of configs/cnn.py; see docs/results.md.
"""

import runpy

from ml_collections import ConfigDict

from lopt.base import describe

RULES = {"UNF": "relational", "Deep Sets": "pointwise"}
SEEDS = 3


def get_config(name: str = "mlp") -> ConfigDict:
    """The config, with the name of a config of meta-training."""
    meta_training = runpy.run_path(f"configs/{name}.py")["get_config"]()
    files = {
        f"{words} {seed}": f"runs/results/{name}-{layers}-{seed}/optimizer.safetensors"
        for words, layers in RULES.items()
        for seed in range(SEEDS)
    }
    return ConfigDict(
        {
            "optimizers": {"adam": "adam", "sgdm": "sgdm", "untrained": "untrained", **files},
            "tasks": (describe(meta_training.task.to_dict()),),
            "steps": meta_training.estimator.horizon,
            "seeds": 16,
            "rates": 17,
            "schedules": ("constant", "cosine"),
            "reference": "adam",
            "measure": "mean_loss",
        }
    )
