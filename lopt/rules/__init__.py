"""Update rules: what a learned optimizer reads, the network over it, the step that it takes."""

from lopt.rules.direction import Direction
from lopt.rules.directions import DIRECTIONS
from lopt.rules.features import FEATURES, Feature
from lopt.rules.files import LearnedOptimizer, load, optimizer, save
from lopt.rules.gates import GatesRule
from lopt.rules.inputs import NORMALIZATIONS, TIMES
from lopt.rules.paper import univ_nfn
from lopt.rules.registry import RULES
from lopt.rules.rule import Rule
from lopt.rules.steps import STEPS, Normalized, Residual, Step
from lopt.rules.unf_rule import UNFRule

__all__ = [
    "DIRECTIONS",
    "FEATURES",
    "NORMALIZATIONS",
    "RULES",
    "STEPS",
    "TIMES",
    "Direction",
    "Feature",
    "GatesRule",
    "LearnedOptimizer",
    "Normalized",
    "Residual",
    "Rule",
    "Step",
    "UNFRule",
    "load",
    "optimizer",
    "save",
    "univ_nfn",
]
