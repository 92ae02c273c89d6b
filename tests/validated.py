"""A config: a relational rule, with a validation on an MLP of other widths."""

import runpy

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = runpy.run_path("configs/relational.py")["get_config"]()
    with config.unlocked():
        config.validation = {"task": "mlp(widths=(6, 5), batch_size=8)", "every": 30, "runs": 3}
    return config
