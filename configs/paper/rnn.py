"""The paper's character RNN on LM1B.

Appendix C of Zhou, Finn & Harrison (NeurIPS 2024, arXiv 2402.05232):
an IRNN of 64 units, embedding 32; three Deep Set layers and one UNF layer of 32 channels;
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
            "task": config(
                TASKS,
                "rnn",
                data="lm1b(tokens=characters)",
                cell="irnn",
                widths=(64,),
                embedding=32,
                length=16,
                batch_size=64,
            ),
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
