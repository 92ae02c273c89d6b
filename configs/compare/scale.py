"""Language models a hundred and a thousand times as large as the largest of meta-training.

GPTs of 1.1e6 params for 300 steps and of 1.0e7 for 60, on program text, one seed.
`--config=configs/compare/scale.py:FILES` takes names of pretrained optimizers and files, with
commas between them. Under an hour on one core.
"""

from ml_collections import ConfigDict

TEXT = "text(size=1000000, tokens=characters(limit=96))"

STEPS = {
    f"transformer(data={TEXT}, width=128, depth=5, heads=4, length=48, batch_size=8)": 300,
    f"transformer(data={TEXT}, width=320, depth=8, heads=5, length=48, batch_size=8)": 60,
}


def get_config(files: str = "base") -> ConfigDict:
    """The config, with the learned optimizers."""
    return ConfigDict(
        {
            "optimizers": ("adamw", "muon", *filter(None, files.split(","))),
            "tasks": tuple(STEPS),
            "steps": tuple(STEPS.values()),
            "seeds": 1,
            "rates": 7,
            "schedules": ("cosine",),
            "weight_decays": (),
            "reference": "adamw",
            "measure": "final_loss",
            "time_steps": True,
        }
    )
