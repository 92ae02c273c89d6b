"""Update rules: theta -> optax transformation, their parts, and files of learned optimizers."""

from lopt.rules.files import LearnedOptimizer, load, optimizer, save
from lopt.rules.registry import RULES
from lopt.rules.rotated import scale_by_rotated
from lopt.rules.rotated_rule import RotatedRule
from lopt.rules.rule import Rule
from lopt.rules.unf.features import FEATURES, Feature
from lopt.rules.unf.inputs import NORMALIZATIONS, TIMES
from lopt.rules.unf.paper import univ_nfn
from lopt.rules.unf.rule import UNFRule
from lopt.rules.unf.steps import STEPS, Normalized, Residual, Step

__all__ = [
    "FEATURES",
    "NORMALIZATIONS",
    "RULES",
    "STEPS",
    "TIMES",
    "Feature",
    "LearnedOptimizer",
    "Normalized",
    "Residual",
    "RotatedRule",
    "Rule",
    "Step",
    "UNFRule",
    "load",
    "optimizer",
    "save",
    "scale_by_rotated",
    "univ_nfn",
]
