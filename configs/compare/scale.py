"""Language models a hundred or a thousand times as large as the largest of meta-training.

`--config=configs/compare/scale.py:SIZE` takes 1e6, a GPT of 1.1e6 params for 300 steps with seven
trials for each tuned optimizer (some 20 minutes on one core), or 1e7, one of 1.0e7 params for 60
steps with three (longer); on program text, one seed.
"""

from ml_collections import ConfigDict

from lopt.base.errors import UserError, suggest

TEXT = "text(size=1000000, tokens=characters(limit=96))"

SIZES = {
    "1e6": {
        "tasks": (
            f"transformer(data={TEXT}, width=128, depth=5, heads=4, length=48, batch_size=8)",
        ),
        "steps": 300,
        "rates": 7,
    },
    "1e7": {
        "tasks": (
            f"transformer(data={TEXT}, width=320, depth=8, heads=5, length=48, batch_size=8)",
        ),
        "steps": 60,
        "rates": 3,
    },
}


def get_config(size: str = "1e6") -> ConfigDict:
    """The config of a size in `SIZES`.

    Raises:
      UserError: for another size.
    """
    if size not in SIZES:
        raise UserError(f"no size {size!r}; {suggest(size, SIZES)}")
    return ConfigDict(
        {
            "optimizers": ("adamw", "muon", "untrained", "base"),
            **SIZES[size],
            "seeds": 1,
            "schedules": ("cosine", "linear"),
            "weight_decays": (),
            "reference": "adamw",
            "measure": "final_loss",
            "time_steps": True,
        }
    )
