"""A walk through a traced function that follows its tensors to where they are used."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

from lopt.symmetry.interpret import live_equations, open_jaxpr, shape_of
from lopt.symmetry.primitives.control import CALLS
from lopt.symmetry.uses.evidence import Evidence
from lopt.symmetry.uses.views import Value, View, covering, kept, wide_axes

Shape = tuple[int, ...]


class Equation:
    """One equation, as a handler sees it.

    Attributes:
      params: of the primitive.
      name: of the primitive.
      shapes: of the operands.
      outs: the shapes of the results.
      evidence: where uses are noted.
    """

    def __init__(self, eqn: core.JaxprEqn, evidence: Evidence):
        self.params: dict[str, Any] = eqn.params
        self.name = eqn.primitive.name
        self.shapes = [shape_of(v) for v in eqn.invars]
        self.outs = [shape_of(v) for v in eqn.outvars]
        self.evidence = evidence


Handler = Callable[..., Sequence[Value]]

_handlers: dict[str, Handler] = {}


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Register what follows the views of tensors through primitives."""

    def register(handler: Handler) -> Handler:
        _handlers.update(dict.fromkeys(names, handler))
        return handler

    return register


def find_uses(jaxpr: core.ClosedJaxpr, tensors: Sequence[Shape]) -> Evidence:
    """What a function does with its first arguments.

    Nothing here decides whether a symmetry holds. A primitive that is not known ends the view of a
    tensor, so that less is found of what it is.

    Args:
      jaxpr: of a function of tensors, and of further arguments.
      tensors: the shapes of the tensors.
    """
    evidence = Evidence(tensors)
    values = [
        Value(views=(View(t, tuple(frozenset([i]) for i in range(len(shape)))),))
        for t, shape in enumerate(tensors)
    ]
    arguments = [Value(data=not _is_key(a)) for a in jaxpr.in_avals[len(tensors) :]]
    _walk(jaxpr, [*values, *arguments], evidence)
    return evidence


def _is_key(aval: Any) -> bool:
    return jax.dtypes.issubdtype(aval.dtype, jax.dtypes.prng_key)


def _walk(
    jaxpr: core.ClosedJaxpr | core.Jaxpr, operands: Sequence[Value], evidence: Evidence
) -> list[Value]:
    jaxpr, consts = open_jaxpr(jaxpr)
    equations = [eqn for eqn, _ in live_equations(jaxpr, [True] * len(jaxpr.outvars))]
    times = Counter(
        v
        for v in (*(v for eqn in equations for v in eqn.invars), *jaxpr.outvars)
        if isinstance(v, core.Var)
    )
    values: dict[Any, Value] = dict(zip(jaxpr.invars, operands, strict=True))
    values |= {v: Value(data=np.ndim(c) > 0) for v, c in zip(jaxpr.constvars, consts, strict=True)}

    def read(atom: core.Var | core.Literal) -> Value:
        if isinstance(atom, core.Literal):
            return Value(data=np.ndim(atom.val) > 0)
        value = values.get(atom, Value(data=True))
        return value.without_sums() if times[atom] > 1 else value

    for eqn in equations:
        handler = _handlers.get(eqn.primitive.name, _unknown)
        found = handler(Equation(eqn, evidence), *map(read, eqn.invars))
        values |= zip(eqn.outvars, found, strict=True)
    return [read(atom) for atom in jaxpr.outvars]


def _unknown(equation: Equation, *operands: Value) -> list[Value]:
    data = any(x.data for x in operands)
    return [Value(data)] * len(equation.outs)


@handles(*CALLS)
def _call(equation: Equation, *operands: Value) -> list[Value]:
    return _walk(equation.params[CALLS[equation.name]], operands, equation.evidence)


@handles("cond")
def _cond(equation: Equation, index: Value, *operands: Value) -> list[Value]:
    found = [_walk(b, operands, equation.evidence) for b in equation.params["branches"]]
    return [same[0] if len(set(same)) == 1 else Value(True) for same in zip(*found, strict=True)]


@handles("while")
def _while(equation: Equation, *operands: Value) -> list[Value]:
    params = equation.params
    first, second = params["cond_nconsts"], params["body_nconsts"]
    carry = _carried(params["body_jaxpr"], second, operands[first + second :])
    _walk(params["body_jaxpr"], [*operands[first : first + second], *carry], equation.evidence)
    return carry


@handles("scan")
def _scan(equation: Equation, *operands: Value) -> list[Value]:
    params = equation.params
    consts, count = params["num_consts"], params["num_carry"]
    carry = _carried(params["jaxpr"], consts, operands[consts : consts + count])
    xs = operands[consts + count :]
    equation.evidence.scan(xs)
    rows = [
        x.moved(kept(len(shape), [0])).without_sums()
        for x, shape in zip(xs, equation.shapes[consts + count :], strict=True)
    ]
    _walk(params["jaxpr"], [*operands[:consts], *carry, *rows], equation.evidence)
    return [*carry, *[Value(True)] * (len(equation.outs) - count)]


def _carried(body: core.ClosedJaxpr, start: int, values: Sequence[Value]) -> list[Value]:
    """A loop's carries: those that it hands on unchanged are as before it, others are data.

    A whole number that began as none is a counter, and a matrix that began as a tensor is one that
    the loop trains.
    """
    jaxpr, _ = open_jaxpr(body)
    ins = jaxpr.invars[start : start + len(values)]
    found = []
    for value, before, after in zip(values, ins, jaxpr.outvars, strict=False):
        shape = shape_of(before)
        if before is after:
            found.append(value)
        elif len(wide_axes(shape)) > 1 and covering(value, shape):
            found.append(Value(True, value.changed().views))
        else:
            found.append(Value(value.data or not _is_number(before.aval)))
    return found


def _is_number(aval: Any) -> bool:
    return aval.shape == () and jax.dtypes.issubdtype(aval.dtype, np.integer)
