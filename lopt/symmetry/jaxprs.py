"""Jaxprs: the functions within, and what their live outputs depend on."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax.extend import core

from lopt.symmetry.families import CALLS, WATCHING


def open_jaxpr(jaxpr: core.ClosedJaxpr | core.Jaxpr) -> tuple[core.Jaxpr, Sequence[Any]]:
    """A jaxpr and its constants."""
    return (jaxpr.jaxpr, jaxpr.consts) if isinstance(jaxpr, core.ClosedJaxpr) else (jaxpr, ())


def shape_of(atom: Any) -> tuple[int, ...]:
    """The shape of a jaxpr's variable or literal."""
    return np.shape(atom.aval)


def has_values(atom: core.Var | core.Literal) -> bool:
    """Whether it is a variable with elements: an array without any depends on nothing."""
    return isinstance(atom, core.Var) and 0 not in shape_of(atom)


def live_inputs(jaxpr: core.Jaxpr | core.ClosedJaxpr, live: Sequence[bool]) -> list[bool]:
    """Which inputs the live outputs depend on."""
    jaxpr, _ = open_jaxpr(jaxpr)
    _, needed = needed_for(jaxpr, live)
    return [v in needed for v in jaxpr.invars]


def needed_for(
    jaxpr: core.Jaxpr, live: Sequence[bool]
) -> tuple[list[tuple[core.JaxprEqn, tuple[bool, ...]]], set[core.Var | core.Literal]]:
    """The equations and values that live outputs depend on, equations with their live outputs."""
    needed = {v for v, on in zip(jaxpr.outvars, live, strict=True) if on and has_values(v)}
    found = []
    for eqn in reversed(jaxpr.eqns):
        out = tuple(v in needed for v in eqn.outvars)
        if not any(out) and not eqn.effects:
            continue
        found.append((eqn, out))
        liveness = LIVENESS.get(eqn.primitive.name)
        used = liveness(eqn.params, out) if liveness else [True] * len(eqn.invars)
        needed |= {v for v, on in zip(eqn.invars, used, strict=False) if on and has_values(v)}
    return found[::-1], needed


def _of_call(function: str) -> Callable[[dict[str, Any], Sequence[bool]], list[bool]]:
    return lambda params, live: live_inputs(params[function], live)


def _of_branches(params: dict[str, Any], live: Sequence[bool]) -> list[bool]:
    """A branch is chosen by the index, and any branch may be."""
    branches = [live_inputs(branch, live) for branch in params["branches"]]
    return [True, *(any(column) for column in zip(*branches, strict=True))]


def scan_live_outputs(params: dict[str, Any], live: Sequence[bool]) -> list[bool]:
    """The live outputs of a scan's body: those of the scan, and the carries that they need."""
    consts, count = params["num_consts"], params["num_carry"]
    live = list(live)
    while True:
        inputs = live_inputs(params["jaxpr"], live)[consts : consts + count]
        wider = [a or b for a, b in zip(live, inputs, strict=False)] + live[count:]
        if wider == live:
            return live
        live = wider


def _of_while(params: dict[str, Any], live: Sequence[bool]) -> list[bool]:
    """How often a loop runs may depend on any of its carries."""
    return [True] * (params["cond_nconsts"] + params["body_nconsts"] + len(live))


def _of_solve(params: dict[str, Any], live: Sequence[bool]) -> list[bool]:
    read = iter(live_inputs(params["jaxprs"].solve, live))
    return [on and next(read) for on in solving(params)]


def solving(params: dict[str, Any]) -> list[bool]:
    """Which operands of a linear solve go to the function that solves; others serve derivatives."""
    lengths, solve = params["const_lengths"], params["jaxprs"].solve
    before = lengths.matvec + lengths.vecmat
    sides = len(solve.in_avals) - lengths.solve
    return (
        [False] * before
        + [True] * lengths.solve
        + [False] * (sum(lengths) - before - lengths.solve)
        + [True] * sides
    )


LIVENESS: dict[str, Callable[[dict[str, Any], Sequence[bool]], list[bool]]] = {
    **{name: _of_call(function) for name, function in CALLS.items()},
    **dict.fromkeys(WATCHING, lambda params, live: []),
    "cond": _of_branches,
    "custom_linear_solve": _of_solve,
    "scan": lambda params, live: live_inputs(params["jaxpr"], scan_live_outputs(params, live)),
    "while": _of_while,
}
"""Which operands the live outputs of a primitive depend on, given its parameters; else on all."""
