"""Architectures that no theta was meta-trained on, on the data sets of meta-training.

`--config=configs/compare/heldout.py:FILES` takes names of pretrained optimizers and files, with
commas between them. The tasks differ from those of `configs/pretrain/` in architecture, width or
length, and share their four data sets; one run is five times as long as the longest of
meta-training. Run it once for each theta that might ship, and say in docs/research-log.md that you
did; to choose among thetas there is `configs/compare/carry_over.py`. It needs FashionMNIST.
"""

from ml_collections import ConfigDict

IMAGES = "fashion_mnist(side=8)"
TEXT = "text(size=300000, tokens=characters(limit=64))"

STEPS = {
    f"mlp(data={IMAGES}, widths=(128,))": 1000,
    f"mlp(data={IMAGES}, widths=(24, 48, 24), activation=gelu, batch_size=32)": 1000,
    f"mlp(data={IMAGES}, widths=(32,))": 8000,
    "mlp(data=digits, widths=(64, 32))": 400,
    "autoencoder(data=photos, widths=(64, 16))": 1000,
    f"residual_mlp(data={IMAGES}, width=48, depth=5, batch_size=32)": 1000,
    f"cnn(data={IMAGES}, block=residual, widths=(8, 16), batch_size=16)": 600,
    f"vit(data={IMAGES}, patch=4, width=24, depth=3, heads=3, batch_size=32)": 1000,
    f"transformer(data={TEXT}, width=48, depth=2, heads=4, length=20, batch_size=16)": 600,
    f"rnn(data={TEXT}, cell=gru, widths=(32,), embedding=16, length=16, batch_size=16)": 600,
}

OPTIMIZERS = ("adamw", "muon", "untrained")


def get_config(files: str = "base") -> ConfigDict:
    """The config, with the learned optimizers."""
    return ConfigDict(
        {
            "optimizers": (*OPTIMIZERS, *filter(None, files.split(","))),
            "tasks": tuple(STEPS),
            "steps": tuple(STEPS.values()),
            "seeds": 3,
            "rates": 7,
            "schedules": ("cosine", "linear", "warmup_cosine"),
            "weight_decays": (),
            "reference": "adamw",
            "measure": "final_loss",
            "time_steps": True,
        }
    )
