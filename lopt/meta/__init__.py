"""Meta-training: estimators of the meta-gradient and the loop around them."""

from lopt.meta.es import ES
from lopt.meta.estimator import Estimator, Problem
from lopt.meta.loop import MetaState, Report, begin, meta_train
from lopt.meta.pes import PES
from lopt.parts import Parts

ESTIMATORS = Parts("estimator", es=ES, pes=PES)
"""The estimators that a config can name."""

__all__ = [
    "ES",
    "ESTIMATORS",
    "PES",
    "Estimator",
    "MetaState",
    "Problem",
    "Report",
    "begin",
    "meta_train",
]
