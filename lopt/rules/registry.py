"""The update rules by name."""

from lopt.own import name_of_class
from lopt.parts import Parts
from lopt.rules.gates import GatesRule
from lopt.rules.rule import Rule
from lopt.rules.unf_rule import UNFRule

RULES = Parts("rule", Rule, gates=GatesRule, unf=UNFRule)
"""The update rules that a config or a file can name."""


def name_of(rule: Rule) -> str:
    """The name of a rule's class: in `RULES`, or `module:class` if it is the user's own."""
    ours = (name for name, kind in RULES.items() if kind is type(rule))
    return next(ours, None) or name_of_class(type(rule))
