"""The update rules by name."""

from lopt.base.parts import Parts
from lopt.rules.gates import GatesRule
from lopt.rules.paper import univ_nfn
from lopt.rules.rule import Rule
from lopt.rules.unf_rule import UNFRule

RULES = Parts("rule", Rule, gates=GatesRule, unf=UNFRule, univ_nfn=univ_nfn)
"""The update rules that a config or a file can name."""
