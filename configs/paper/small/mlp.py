"""The paper's MLP on FashionMNIST at 8×8, for four minutes of a core.

`--config.rule.network=deep_sets` is the Deep Sets optimizer. See `small` in `../_settings.py`.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

from lopt.base import config
from lopt.tasks import TASKS

SETTINGS = runpy.run_path(str(Path(__file__).parents[1] / "_settings.py"))


def get_config() -> ConfigDict:
    """The config."""
    task = config(TASKS, "mlp", data="fashion_mnist(side=8)", widths=(32,), batch_size=128)
    return SETTINGS["small"](task, horizon=500, steps=2500)
