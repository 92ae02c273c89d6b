"""The paper's CNN on CIFAR-10 at 16×16.

Appendix C of Zhou, Finn & Harrison (NeurIPS 2024, arXiv 2402.05232):
convolutions of 16 and 32 channels; three Deep Set layers and one UNF layer of 32 channels;
50,000 meta-steps of PES on 16 runs of 2,000 inner steps. The paper does not say its outer learning
rate; this one is ours.
"""

from ml_collections import ConfigDict

from lopt.meta import ESTIMATORS
from lopt.parts import config
from lopt.rules import RULES
from lopt.tasks import TASKS


def get_config() -> ConfigDict:
    """The config."""
    return ConfigDict(
        {
            "seed": 0,
            "task": config(TASKS, "cnn", data="cifar10(side=16)", widths=(16, 32), batch_size=128),
            "rule": config(
                RULES,
                "unf",
                layers=("pointwise", "pointwise", "pointwise", "exact"),
                widths=(32, 32, 32),
                features=(
                    "weight",
                    "gradient",
                    "momentum(decays=(0.1, 0.5, 0.9, 0.99, 0.999, 0.9999))",
                ),
                nominal="momentum(decays=(0.9,))",
                step="residual(beta=1e-4)",
            ),
            "inner": {"learning_rate": 0.1, "schedule": "constant", "normalize": False},
            "estimator": config(
                ESTIMATORS, "pes", pairs=8, truncation=50, horizon=2000, sigma=0.01
            ),
            "outer": {
                "steps": 50_000,
                "learning_rate": 1e-4,
                "clip": 1.0,
                "checkpoint_every": 1000,
                "max_skipped": 50,
            },
        }
    )
