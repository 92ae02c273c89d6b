"""The paper's Transformer on the characters of program text, one block of half the width.

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
    task = config(
        TASKS,
        "transformer",
        data="text(size=200_000, tokens=characters(limit=64))",
        width=16,
        depth=1,
        heads=4,
        length=8,
        batch_size=8,
    )
    return SETTINGS["small"](task, horizon=300, steps=600)
