"""Update rules: what a learned optimizer reads, the network over it, the step that it takes."""

from lopt.parts import Parts
from lopt.rules.directions import DIRECTIONS, Direction, Normalized, Residual
from lopt.rules.features import FEATURES, Feature
from lopt.rules.files import LearnedOptimizer, load, optimizer, save
from lopt.rules.rule import UNFRule

RULES = Parts("rule", unf=UNFRule)
"""The update rules that a config can name."""

__all__ = [
    "DIRECTIONS",
    "FEATURES",
    "RULES",
    "Direction",
    "Feature",
    "LearnedOptimizer",
    "Normalized",
    "Residual",
    "UNFRule",
    "load",
    "optimizer",
    "save",
]
