"""How a traced function uses its tensors, which tells what they are."""

from collections.abc import Sequence
from typing import Any

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
    others = [Value(data=not _is_key(aval)) for aval in jaxpr.in_avals[len(tensors) :]]
    UseWalk(HANDLERS, evidence)(jaxpr, [*views, *others])
    return evidence


def _is_key(aval: Any) -> bool:
    return jax.dtypes.issubdtype(aval.dtype, jax.dtypes.prng_key)
