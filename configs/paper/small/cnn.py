"""The paper's CNN on photographs at 8×8 in place of CIFAR-10 at 16×16, half as wide.

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
    task = config(TASKS, "cnn", data="photos(side=8, grey=False)", widths=(8, 16), batch_size=64)
    return SETTINGS["small"](task, horizon=300, steps=500)
