"""GRU encoder-decoders that answer sums, and predictors of their success from their weights.

`--config=configs/predict/rnn_zoo.py:paper` has the size of the paper's zoo: 10,000 networks of
width 128 and networks of 16 channels that read them, which want an accelerator.
"""

from ml_collections import ConfigDict

from lopt.base import config
from lopt.predict import PREDICTORS


def get_config(size: str = "small") -> ConfigDict:
    """The config, "small", which takes half an hour of a core, or of the size of the "paper"."""
    widths, runs, channels = {
        "small": ((32, 48), (400, 16), 8),
        "paper": ((128, 192), (2000, 100), 16),
    }[size]

    def unf(layers: str | tuple[str, ...]) -> ConfigDict:
        init = "pointwise_first"
        return config(PREDICTORS, "unf", layers=layers, channels=channels, kernel_init=init)

    return ConfigDict(
        {
            "zoo": {
                "widths": widths,
                "runs": runs,
                "snapshots": 5,
                "steps": 1400,
                "every": 100,
                "batch_sizes": (64, 64, 64, 128, 64, 64, 256, 64, 64, 64, 128, 64),
                "together": 16,
                "numbers": 20,
                "unseen": 100,
                "learning_rate": (1e-4, 1e-2),
                "init_scale": (0.5, 2.0),
                "share": (0.5, 1.0),
                "seed": 0,
            },
            "predict": {
                "predictors": {
                    "unf": unf(("pointwise", "pointwise", "relational")),
                    "unf_exact": unf("exact"),
                    "unf_relational": unf("relational"),
                    "deep_sets": unf("pointwise"),
                    "stat_nn": config(PREDICTORS, "stat_nn"),
                    "neurons": config(PREDICTORS, "neurons"),
                },
                "budget": {
                    "learning_rates": (1e-3,),
                    "epochs": 10,
                    "batch_size": 8,
                    "patience": 3,
                    "validation": 0.15,
                },
                "seeds": 3,
                "test": 0.2,
                "sizes": (250, 500, 1000, sum(runs[:1]) * 4),
                "loss": "cross_entropy",
            },
            "target": "test_success",
        }
    )
