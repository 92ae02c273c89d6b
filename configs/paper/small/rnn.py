"""The paper's IRNN, half as wide, on program text, for four minutes of a core.

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
        "rnn",
        data="text(size=200_000, tokens=characters(limit=64))",
        cell="irnn",
        widths=(32,),
        embedding=16,
        length=16,
        batch_size=16,
    )
    return SETTINGS["small"](task, horizon=300, steps=1200)
