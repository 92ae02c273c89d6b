"""Universal neural functionals: equivariant and invariant networks over any weight space."""

from lopt.unf.exact import ExactLayer
from lopt.unf.layer import Layer
from lopt.unf.network import UNF, InvariantUNF
from lopt.unf.plan import Plan, plan_for
from lopt.unf.pointwise import PointwiseLayer
from lopt.unf.relational import RelationalLayer

__all__ = [
    "UNF",
    "ExactLayer",
    "InvariantUNF",
    "Layer",
    "Plan",
    "PointwiseLayer",
    "RelationalLayer",
    "plan_for",
]
