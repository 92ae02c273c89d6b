"""A language model a hundred times as large as the largest of meta-training, for 300 steps.

A GPT of 1.1e6 params on program text, one seed. `--config=configs/compare/scale.py:FILES` takes
names of pretrained optimizers and files, with commas between them. Ten minutes on one core.
"""

from ml_collections import ConfigDict

TEXT = "text(size=1000000, tokens=characters(limit=96))"


def get_config(files: str = "base") -> ConfigDict:
    """The config, with the learned optimizers."""
    return ConfigDict(
        {
            "optimizers": ("adamw", "muon", *filter(None, files.split(","))),
            "tasks": (
                f"transformer(data={TEXT}, width=128, depth=5, heads=4, length=48, batch_size=8)",
            ),
            "steps": 300,
            "seeds": 1,
            "rates": 5,
            "schedules": ("cosine",),
            "weight_decays": (),
            "reference": "adamw",
            "measure": "final_loss",
            "time_steps": True,
        }
    )
