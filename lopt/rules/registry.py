"""The update rules by name."""

from lopt.parts import Parts
from lopt.rules.gates import GatesRule
from lopt.rules.rule import Rule
from lopt.rules.unf_rule import UNFRule

RULES = Parts("rule", gates=GatesRule, unf=UNFRule)
"""The update rules that a config or a file can name."""


def name_of(rule: Rule) -> str:
    """The name of a rule's class in `RULES`."""
    return next(name for name, kind in RULES.items() if kind is type(rule))
