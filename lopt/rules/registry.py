"""The update rules by name."""

from lopt.base.parts import Parts
from lopt.rules.rotated_rule import RotatedRule
from lopt.rules.rule import Rule
from lopt.rules.unf.paper import univ_nfn
from lopt.rules.unf.rule import UNFRule

RULES = Parts("rule", Rule, rotated=RotatedRule, unf=UNFRule, univ_nfn=univ_nfn)
"""The update rules that a config or a file can name."""
