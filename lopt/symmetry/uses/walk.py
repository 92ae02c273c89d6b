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
from lopt.symmetry.uses.views import Value, covering, wide_axes
from lopt.symmetry.walk import Equation, Handler, Shape, Walk


class UseWalk(Walk[Value]):
    """Follows the views of tensors, and notes in `evidence` what is done with them.

    Nothing here decides whether a symmetry holds. A primitive that is not known ends the view of a
    tensor, so that less is found of what it is.
    """

    def __init__(self, handlers: Mapping[str, Handler], evidence: Evidence):
        super().__init__(handlers)
        self.evidence = evidence

    def unknown(self, equation: Equation, *operands: Value) -> Sequence[Value]:
        return [Value(any(x.data for x in operands))] * len(equation.out_shapes)

    def stored(self, value: Value, times: int) -> Value:
        return value.without_sums() if times > 1 else value

    def constant(self, constant: Constant) -> Value:
        return Value(data=np.ndim(constant.value) > 0)

    def nothing(self, shape: Shape) -> Value:
        return Value(data=True)

    def either(self, values: Sequence[Value]) -> Value:
        return values[0] if len(set(values)) == 1 else Value(data=True)

    def rows(
        self, xs: Sequence[Value], shapes: Sequence[Shape], count: int
    ) -> tuple[None, list[Value]]:
        self.evidence.scan(xs)
        rows = [x.moved(without(len(s), [0])) for x, s in zip(xs, shapes, strict=True)]
        return None, [row.without_sums() for row in rows]

    def stacked(self, steps: Any, rows: Sequence[Value]) -> list[Value]:
        return [Value(data=True)] * len(rows)

    def loop(
        self,
        step: Callable[[Sequence[Value]], list[Value]],
        carry: Sequence[Value],
        live: Sequence[bool],
        variables: Sequence[tuple[core.Var, core.Var | core.Literal]],
    ) -> tuple[list[Value], list[Value]]:
        found = [_carried(*of_one) for of_one in zip(carry, variables, strict=True)]
        return found, step(found)[len(found) :]


def _carried(value: Value, variables: tuple[Any, Any]) -> Value:
    """A loop's carry: as before it if the loop hands it on unchanged, otherwise data.

    A whole number that began as none is a counter, and a matrix that began as a tensor is one that
    the loop trains.
    """
    before, after = variables
    shape = shape_of(before)
    if before is after:
        return value
    if len(wide_axes(shape)) > 1 and covering(value, shape):
        return Value(True, value.changed().views)
    is_number = shape == () and jax.dtypes.issubdtype(before.aval.dtype, np.integer)
    return Value(value.data or not is_number)
