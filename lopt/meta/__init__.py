"""Meta-training: estimators of the meta-gradient and the loop around them."""

from lopt.base.parts import Parts
from lopt.meta.es import ES
from lopt.meta.estimator import Estimator, Metrics, Problem
from lopt.meta.loop import MetaState, MetaTraining, Report
from lopt.meta.nres import NRES
from lopt.meta.objectives import OBJECTIVES, Objective
from lopt.meta.pes import PES
from lopt.meta.tbptt import TBPTT
from lopt.meta.validation import Best, Validation, ValidationLoss

ESTIMATORS = Parts("estimator", Estimator, es=ES, pes=PES, nres=NRES, tbptt=TBPTT)
"""The estimators that a config can name."""

__all__ = [
    "ES",
    "ESTIMATORS",
    "NRES",
    "OBJECTIVES",
    "PES",
    "TBPTT",
    "Best",
    "Estimator",
    "MetaState",
    "MetaTraining",
    "Metrics",
    "Objective",
    "Problem",
    "Report",
    "Validation",
    "ValidationLoss",
]
