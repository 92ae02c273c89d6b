"""Whether an optimizer carries over: two tasks as in `configs/pretrain/`, and four unlike them.

`--config=configs/compare/carry_over.py:FILES` takes names of pretrained optimizers and files, with
commas between them. About forty minutes on two cores; it needs FashionMNIST.
"""

from ml_collections import ConfigDict

IMAGES = "fashion_mnist(side=8)"

TASKS = (
    f"mlp(data={IMAGES}, widths=(32, 32))",
    "autoencoder(data=photos, widths=(32, 8))",
    f"mlp(data={IMAGES}, widths=(32, 32, 32, 32), activation=tanh)",
    f"residual_mlp(data={IMAGES}, width=32, depth=3)",
    f"cnn(data={IMAGES}, widths=(8, 16), batch_size=32)",
    f"vit(data={IMAGES}, patch=2, width=16, depth=2, heads=2, batch_size=32)",
)

OPTIMIZERS = ("adamw", "muon", "muon_default", "tensor_normalized_adam", "untrained")


def get_config(files: str = "base") -> ConfigDict:
    """The config, with the learned optimizers."""
    return ConfigDict(
        {
            "optimizers": (*OPTIMIZERS, *filter(None, files.split(","))),
            "tasks": TASKS,
            "steps": (1000,) * len(TASKS),
            "seeds": 3,
            "rates": 7,
            "schedules": ("cosine", "linear"),
            "weight_decays": (),
            "reference": "adamw",
            "measure": "final_loss",
            "time_steps": True,
        }
    )
