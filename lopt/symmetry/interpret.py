"""The walk over a jaxpr that finds symmetries: its values are the symbols of axes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jax.extend import core

from lopt.base.errors import UserError
from lopt.symmetry.constants import Constant, computed
from lopt.symmetry.dimensions import Places
from lopt.symmetry.families import TRANSPARENT
from lopt.symmetry.jaxprs import LIVENESS
from lopt.symmetry.symbols import Atom, Symbol, atoms, fix, join, mark_read, settle, size
from lopt.symmetry.walk import Equation, Handler, Shape, Walk

Dims = tuple[Symbol | None, ...]
"""The symbol of each axis of a value; `None` for an axis along which it does not vary."""


class InferenceError(UserError):
    """A function, params or a handler from which no spec can be inferred."""


class SymbolWalk(Walk[Dims]):
    """Propagates the symbols of axes."""

    def __init__(self, handlers: Mapping[str, Handler]):
        super().__init__(handlers)
        # The primitives without a handler that took symmetries away.
        self.lost: dict[str, None] = {}
        # The atoms of the operands, by the moment at which they were first read.
        self.order: dict[Symbol, int] = {}

    def apply(self, equation: Equation, operands: Sequence[Dims]) -> Sequence[Dims]:
        if equation.name not in LIVENESS:
            self._note(equation, operands)
        outputs = super().apply(equation, operands)
        _check(equation, outputs)
        return outputs

    def unknown(self, equation: Equation, *operands: Dims) -> Sequence[Dims]:
        if fix_all(operands, equation.name):
            self.lost[equation.name] = None
        return [fixed_dims(shape, equation.name) for shape in equation.out_shapes]

    def _note(self, equation: Equation, operands: Sequence[Dims]) -> None:
        for symbol in (s for operand in operands for s in operand):
            if isinstance(symbol, Atom):
                self.order.setdefault(symbol, len(self.order))
            if equation.name not in TRANSPARENT:
                mark_read(symbol)

    def computed(self, eqn: core.JaxprEqn, equation: Equation) -> Constant | None:
        return computed(eqn, equation.constants)

    def stored(self, value: Dims, times: int) -> Dims:
        settle(value)
        return value

    def constant(self, constant: Constant) -> Dims:
        return constant.dims()

    def nothing(self, shape: Shape) -> Dims:
        return (None,) * len(shape)

    def either(self, values: Sequence[Dims]) -> Dims:
        return join_values(values)

    def rows(
        self, xs: Sequence[Dims], shapes: Sequence[Shape], count: int
    ) -> tuple[Symbol, list[Dims]]:
        steps = Atom(count, "steps")
        join([steps, *(x[0] for x in xs)])
        return steps, [x[1:] for x in xs]

    def stacked(self, steps: Any, rows: Sequence[Dims]) -> list[Dims]:
        return [(steps, *row) for row in rows]

    def loop(
        self,
        step: Callable[[Sequence[Dims]], list[Dims]],
        carry: Sequence[Dims],
        live: Sequence[bool],
        variables: Sequence[Any],
    ) -> tuple[list[Dims], list[Dims]]:
        # An axis along which the carry does not vary before the loop may vary after a step: then
        # the body is walked again with the symbol that it got.
        count = len(carry)
        while True:
            outputs = step(carry)
            joined = [
                join_values([before, after]) if on else before
                for before, after, on in zip(carry, outputs[:count], live, strict=False)
            ]
            if [*map(_varies, joined)] == [*map(_varies, carry)]:
                return joined, outputs[count:]
            carry = joined


def _varies(dims: Dims) -> tuple[bool, ...]:
    return tuple(symbol is not None for symbol in dims)


def _check(equation: Equation, outputs: Sequence[Dims]) -> None:
    found = [tuple(None if s is None else size(s) for s in dims) for dims in outputs]
    fits = len(found) == len(equation.out_shapes) and all(
        len(sizes) == len(shape) and all(n in (None, m) for n, m in zip(sizes, shape, strict=True))
        for sizes, shape, live in zip(found, equation.out_shapes, equation.live, strict=True)
        if live
    )
    if not fits:
        raise InferenceError(
            f"the handler of {equation.name} returns axes of sizes {found}, "
            f"and its outputs have shapes {list(equation.out_shapes)}"
        )


def moved(dims: Dims, to: Places, rank: int) -> Dims:
    """The symbols of a value whose axes went to these places; it does not vary along others."""
    out: list[Symbol | None] = [None] * rank
    for symbol, places in zip(dims, to, strict=True):
        for j in places:
            out[j] = symbol
    return tuple(out)


def join_values(values: Sequence[Dims]) -> Dims:
    """Unify values axis by axis."""
    return tuple(join(column) for column in zip(*values, strict=True))


def fix_all(operands: Sequence[Dims], why: str) -> bool:
    """Fix every axis of every operand; returns whether any was not fixed before."""
    symbols = [s for operand in operands for s in operand if s is not None]
    lost = any(not atom.fixed and atom.size > 1 for s in symbols for atom in atoms(s))
    for symbol in symbols:
        fix(symbol, why)
    return lost


def fixed_dims(shape: Sequence[int], why: str) -> Dims:
    """New symbols for a shape, each fixed."""
    return tuple(Atom(n, why) for n in shape)


def joined_if_whole(
    symbols: Sequence[Symbol | None], whole: bool, n: int, why: str
) -> Symbol | None:
    """The symbol of axes that an operation takes whole; otherwise all are fixed, and it is new."""
    if whole:
        return join(symbols)
    for symbol in symbols:
        fix(symbol, why)
    return Atom(n, why)
