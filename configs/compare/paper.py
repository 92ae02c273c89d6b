"""The paper's optimizers, of two meta-seeds, on the small task that they were meta-trained on.

`--config=configs/compare/paper.py:rnn` takes that of configs/paper/small/rnn.py; `:rnn,1` one
meta-seed. See docs/results.md.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

from lopt.base import describe
from lopt.base.errors import UserError, suggest

SMALL = Path(__file__).parents[1] / "paper" / "small"

NETWORKS = {"UNF": "hybrid", "Deep Sets": "deep_sets"}


def get_config(given: str = "mlp,2") -> ConfigDict:
    """The config, with the name of a config of meta-training and how many meta-seeds there are.

    Raises:
      UserError: for another name, or a number of meta-seeds that is not one.
    """
    name, _, seeds = given.partition(",")
    names = [path.stem for path in SMALL.glob("*.py")]
    if name not in names:
        raise UserError(f"no small experiment {name!r}; {suggest(name, names)}")
    if seeds and not (seeds.isdecimal() and int(seeds)):
        raise UserError(
            f"the number of meta-seeds, after the comma, must be 1 or more, not {seeds!r}"
        )
    meta_training = runpy.run_path(str(SMALL / f"{name}.py"))["get_config"]()
    files = {
        f"{words} {seed}": f"runs/paper/{name}-{network}-{seed}/optimizer.safetensors"
        for words, network in NETWORKS.items()
        for seed in range(int(seeds or 2))
    }
    return ConfigDict(
        {
            "optimizers": {"adam": "adam", "sgdm": "sgdm", "untrained": "untrained", **files},
            "tasks": (describe(meta_training.task.to_dict()),),
            "steps": meta_training.estimator.horizon,
            "seeds": 5,
            "rates": 5,
            "schedules": ("constant", "cosine"),
            "reference": "adam",
            "measure": "final_loss",
        }
    )
