"""Learned optimizers beside tuned baselines: sweeps over learning rates, reports, pictures."""

from lopt.compare.baselines import BASELINES, LEARNING_RATES
from lopt.compare.report import markdown, plot, table
from lopt.compare.results import Results
from lopt.compare.trials import Trial, run_trials

__all__ = [
    "BASELINES",
    "LEARNING_RATES",
    "Results",
    "Trial",
    "markdown",
    "plot",
    "run_trials",
    "table",
]
