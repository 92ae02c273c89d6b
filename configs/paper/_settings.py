"""What the configs of the paper share: its rule, and how it is meta-trained.

Section 4.2 and appendix B of Zhou, Finn & Harrison (NeurIPS 2024, arXiv 2402.05232): 50,000 steps
of Adam with PES over 16 runs, truncations of 50 steps, a deviation of 0.01, gradients clipped to a
norm of 1, and as the objective the training loss at the end of a run: here, that of its last
truncation. The paper does not say its outer learning rate; this one is ours.

The paper's momenta are sums, and the rule's, as those of its authors' code, averages: its alpha of
0.1 is a learning rate of 1 here, and its beta of 0.001 is the rule's 1e-4. The paper goes on to
meta-learn alpha, beta and the momentum's decay, which the published code keeps as they are.
"""

from ml_collections import ConfigDict

from lopt.base import config
from lopt.meta import ESTIMATORS, OBJECTIVES
from lopt.rules import RULES

TRUNCATION = 50


def meta_training(task: ConfigDict, horizon: int = 2000) -> ConfigDict:
    """The config of one of the paper's experiments.

    Args:
      task: what the optimizer is for.
      horizon: inner steps of a run.
    """
    end = config(OBJECTIVES, "end", part=TRUNCATION / horizon)
    return ConfigDict(
        {
            "seed": 0,
            "task": task,
            "rule": config(RULES, "univ_nfn"),
            "inner": {
                "learning_rate": 1.0,
                "schedule": "constant",
                "normalize": False,
                "objective": end,
            },
            "estimator": config(
                ESTIMATORS, "pes", pairs=8, truncation=TRUNCATION, horizon=horizon, sigma=0.01
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


def small(task: ConfigDict, horizon: int, steps: int) -> ConfigDict:
    """The same for minutes of a core: fewer and shorter steps, on shorter runs.

    The mean loss is minimized in place of the last one, since every truncation has a gradient of
    it, and beta is a hundred times as large, since theta has not the time to grow.

    Args:
      task: what the optimizer is for.
      horizon: inner steps of a run.
      steps: meta-steps.
    """
    full = meta_training(task, horizon)
    full.rule.beta = 0.01
    full.inner.objective = config(OBJECTIVES, "mean")
    full.estimator.truncation = 20
    full.outer.update(steps=steps, learning_rate=1e-3, checkpoint_every=100)
    return full
