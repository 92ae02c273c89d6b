"""The paper's MLP on FashionMNIST at 8×8: one hidden layer of 32.

The paper speaks of three layers; the sizes of theta in its table 3 are those for two layers of
weights, as in learned_optimization's `ImageMLP_FashionMnist8_Relu32`. See `_settings.py`.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

from lopt.base import config
from lopt.tasks import TASKS

SETTINGS = runpy.run_path(str(Path(__file__).with_name("_settings.py")))


def get_config() -> ConfigDict:
    """The config."""
    task = config(TASKS, "mlp", data="fashion_mnist(side=8)", widths=(32,), batch_size=128)
    return SETTINGS["meta_training"](task)
