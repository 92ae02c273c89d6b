"""The walk over a jaxpr that follows tensors to where they are used: its values are their views."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

from lopt.symmetry.constants import Constant
from lopt.symmetry.dimensions import without
from lopt.symmetry.jaxprs import shape_of
from lopt.symmetry.uses.evidence import Evidence
from lopt.symmetry.uses.views import Value, View, covering, wide_axes
from lopt.symmetry.walk import Equation, Handler, Walk


class UseWalk(Walk[Value]):
    """Follows the views of tensors, and notes what is done with them.

    Nothing here decides whether a symmetry holds. A primitive that is not known ends the view of a
    tensor, so that less is found of what it is.

    Attributes:
      evidence: where uses are noted.
    """

    def __init__(self, handlers: Mapping[str, Handler], evidence: Evidence):
        """A walk with these handlers."""
        self._handlers = handlers
        self.evidence = evidence

    def apply(self, equation: Equation, operands: Sequence[Value]) -> Sequence[Value]:
        """The value of each output; without a handler all that is known is whether it is data."""
        handler = self._handlers.get(equation.name)
        if handler is not None:
            return handler(equation, *operands)
        return [Value(any(x.data for x in operands))] * len(equation.out_shapes)

    def stored(self, value: Value, times: int) -> Value:
        """What is read in several places is the sum of no products any more."""
        return value.without_sums() if times > 1 else value

    def constant(self, constant: Constant) -> Value:
        """Arrays are data, single numbers are not."""
        return Value(data=np.ndim(constant.value) > 0)

    def nothing(self, shape: Sequence[int]) -> Value:
        """Data, of which nothing is known."""
        return Value(data=True)

    def either(self, values: Sequence[Value]) -> Value:
        """What all branches return alike; data, if they differ."""
        return values[0] if len(set(values)) == 1 else Value(data=True)

    def rows(
        self, xs: Sequence[Value], shapes: Sequence[Sequence[int]], count: int
    ) -> tuple[None, list[Value]]:
        """The arrays without their first axis, over which the loop runs."""
        self.evidence.scan(xs)
        rows = [x.moved(without(len(s), [0])) for x, s in zip(xs, shapes, strict=True)]
        return None, [row.without_sums() for row in rows]

    def stacked(self, step: None, rows: Sequence[Value]) -> list[Value]:
        """Data: what a layer writes."""
        return [Value(data=True)] * len(rows)

    def loop(
        self,
        step: Callable[[Sequence[Value]], list[Value]],
        carry: Sequence[Value],
        live: Sequence[bool],
        variables: Sequence[tuple[core.Var, core.Var | core.Literal]],
    ) -> tuple[list[Value], list[Value]]:
        """A carry that the loop hands on unchanged is as before it; others are data.

        A whole number that began as none is a counter, and a matrix that began as a tensor is one
        that the loop trains.
        """
        found = []
        for value, (before, after) in zip(carry, variables, strict=True):
            shape = shape_of(before)
            if before is after:
                found.append(value)
            elif len(wide_axes(shape)) > 1 and covering(value, shape):
                found.append(Value(True, value.changed().views))
            else:
                found.append(Value(value.data or not _is_number(before.aval)))
        return found, step(found)[len(found) :]


def _is_number(aval: Any) -> bool:
    return aval.shape == () and jax.dtypes.issubdtype(aval.dtype, np.integer)


def whole_view(tensor: int, rank: int) -> Value:
    """A tensor as it is."""
    return Value(views=(View(tensor, tuple(frozenset([i]) for i in range(rank))),))


def argument(aval: Any) -> Value:
    """Any other argument: data, unless it is a random key."""
    return Value(data=not jax.dtypes.issubdtype(aval.dtype, jax.dtypes.prng_key))
