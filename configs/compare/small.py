"""Optimizers on six small tasks over the four architectures; about twenty minutes on two cores.

`--config=configs/compare/small.py:runs/quickstart/optimizer.safetensors` also takes learned
optimizers, their files with commas between them.
"""

from ml_collections import ConfigDict

TASKS = {
    "mlp(widths=(64, 32))": 800,
    "autoencoder(widths=(32, 8))": 800,
    "cnn(widths=(8, 16), batch_size=32)": 400,
    "vit(width=16, depth=1, batch_size=32)": 400,
    "rnn(cell=gru, widths=(32,), length=16)": 400,
    "transformer(width=16, depth=1, heads=2, length=16)": 400,
}
"""The tasks, and how many steps a run of each has."""

OPTIMIZERS = (
    "adamw",
    "sgdm",
    "nadamw",
    "lion",
    "muon",
    "muon_default",
    "schedule_free_adamw",
    "prodigy",
    "tensor_normalized_adam",
    "untrained",
)


def get_config(files: str = "") -> ConfigDict:
    """The config, with the files of learned optimizers."""
    return ConfigDict(
        {
            "optimizers": (*OPTIMIZERS, *filter(None, files.split(","))),
            "tasks": tuple(TASKS),
            "steps": tuple(TASKS.values()),
            "seeds": 3,
            "rates": 7,
            "schedules": ("cosine",),
            "weight_decays": (),
            "reference": "adamw",
            "measure": "final_loss",
            "time_steps": True,
        }
    )
