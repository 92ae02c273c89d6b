"""The paper's character RNN on LM1B: an IRNN of 64 units, embedding 32.

See `_settings.py`.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

from lopt.base import config
from lopt.tasks import TASKS

SETTINGS = runpy.run_path(str(Path(__file__).with_name("_settings.py")))


def get_config() -> ConfigDict:
    """The config."""
    task = config(
        TASKS,
        "rnn",
        data="lm1b(tokens=characters)",
        cell="irnn",
        widths=(64,),
        embedding=32,
        length=16,
        batch_size=64,
    )
    return SETTINGS["meta_training"](task)
