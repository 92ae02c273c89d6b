"""The paper's Transformer on LM1B, which predicts words: two blocks of width 32, four heads.

The paper does not say what its tokens are; here they are the 4,095 most frequent words. Its runs
have 5,000 steps. See `_settings.py`.
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
        "transformer",
        data="lm1b(tokens=words)",
        width=32,
        depth=2,
        heads=4,
        length=8,
        batch_size=8,
    )
    return SETTINGS["meta_training"](task, horizon=5000)
