"""How a traced function uses its tensors, which tells what they are."""

from collections.abc import Sequence

import jax
from jax.extend import core

from lopt.symmetry.primitives import control
from lopt.symmetry.uses import places, products
from lopt.symmetry.uses.evidence import Evidence
from lopt.symmetry.uses.views import Value, View
from lopt.symmetry.uses.walk import UseWalk

HANDLERS = control.HANDLERS | places.HANDLERS | products.HANDLERS
"""The handler of each primitive through which tensors are followed."""


def find_uses(jaxpr: core.ClosedJaxpr, tensors: Sequence[tuple[int, ...]]) -> Evidence:
    """Evidence of how a function uses its first arguments, tensors of these shapes."""
    evidence = Evidence(tensors)
    whole = [tuple(frozenset([i]) for i in range(len(shape))) for shape in tensors]
    views = [Value(views=(View(t, places),)) for t, places in enumerate(whole)]
    keys = [jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) for x in jaxpr.in_avals]
    others = [Value(data=not is_key) for is_key in keys[len(tensors) :]]
    UseWalk(HANDLERS, evidence)(jaxpr, [*views, *others])
    return evidence
