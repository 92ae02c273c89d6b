"""The paper's CNN on CIFAR-10 at 16×16: convolutions of 16 and 32 channels.

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
    task = config(TASKS, "cnn", data="cifar10(side=16)", widths=(16, 32), batch_size=128)
    return SETTINGS["meta_training"](task)
