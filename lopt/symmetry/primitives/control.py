"""The primitives that call functions: calls, branches and loops."""

from collections.abc import Sequence
from itertools import compress
from typing import Any

from lopt.symmetry.interpret import (
    Dims,
    Equation,
    LiveRule,
    live_inputs,
    register_liveness,
    register_primitive,
)
from lopt.symmetry.symbols import Atom, join

CALLS = {
    "call": "call_jaxpr",
    "closed_call": "call_jaxpr",
    "composite": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_partitioning": "call",
    "custom_vjp_call": "call_jaxpr",
    "custom_vmap_call": "call",
    "eval_jaxpr": "jaxpr",
    "jit": "jaxpr",
    "linear_call": "callee",
    "remat2": "jaxpr",
    "remat_opt": "fwd_jaxpr",
}
"""The parameter that holds the function."""


@register_primitive(*CALLS)
def call(equation: Equation, *operands: Dims) -> list[Dims]:
    """A function, as if its equations stood here."""
    function = equation.params[CALLS[equation.name]]
    return equation.walk(function, operands, equation.live, equation.constants)


def _call_liveness(function: str) -> LiveRule:
    """A call reads what its function reads."""
    return lambda params, live: live_inputs(params[function], live)


for _name, _function in CALLS.items():
    register_liveness(_name)(_call_liveness(_function))


@register_primitive("custom_linear_solve")
def linear_solve(equation: Equation, *operands: Dims) -> list[Dims]:
    """What the function returns that solves; the products only serve derivatives."""
    params = equation.params
    given = [*compress(operands, _solves(params))]
    return equation.walk(params["jaxprs"].solve, given, equation.live)


@register_liveness("custom_linear_solve")
def linear_solve_liveness(params: dict[str, Any], live: Sequence[bool]) -> list[bool]:
    """Only what solves is called."""
    read = iter(live_inputs(params["jaxprs"].solve, live))
    return [on and next(read) for on in _solves(params)]


def _solves(params: dict[str, Any]) -> list[bool]:
    """Which operands of a linear solve go to the function that solves: its own and the last."""
    lengths, solve = params["const_lengths"], params["jaxprs"].solve
    before = lengths.matvec + lengths.vecmat
    sides = len(solve.in_avals) - lengths.solve
    return (
        [False] * before
        + [True] * lengths.solve
        + [False] * (sum(lengths) - before - lengths.solve)
        + [True] * sides
    )


@register_primitive("cond")
def cond(equation: Equation, index: Dims, *operands: Dims) -> list[Dims]:
    """What the branches return is one."""
    branches = [
        equation.walk(branch, operands, equation.live) for branch in equation.params["branches"]
    ]
    return [join_values(outputs) for outputs in zip(*branches, strict=True)]


@register_liveness("cond")
def cond_liveness(params: dict[str, Any], live: Sequence[bool]) -> list[bool]:
    """A branch is chosen by the index, and any branch may be."""
    branches = [live_inputs(branch, live) for branch in params["branches"]]
    return [True, *(any(column) for column in zip(*branches, strict=True))]


@register_primitive("scan")
def scan(equation: Equation, *operands: Dims) -> list[Dims]:
    """The carry keeps its symbols from step to step; the order of the steps matters."""
    params = equation.params
    consts, carry, xs = _partition(operands, params["num_consts"], params["num_carry"])
    live = scan_live_outputs(params, equation.live)
    step = Atom(params["length"], "steps")
    join([step, *(x[0] for x in xs)])
    slices = [x[1:] for x in xs]

    def body(carry: list[Dims]) -> list[Dims]:
        return equation.walk(params["jaxpr"], [*consts, *carry, *slices], live)

    carry, outputs = fixed_point(body, carry, live)
    return [*carry, *((step, *y) for y in outputs)]


@register_liveness("scan")
def scan_liveness(params: dict[str, Any], live: Sequence[bool]) -> list[bool]:
    """A scan reads what its body reads, in any step."""
    return live_inputs(params["jaxpr"], scan_live_outputs(params, live))


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


@register_primitive("while")
def while_loop(equation: Equation, *operands: Dims) -> list[Dims]:
    """The carry keeps its symbols from step to step."""
    params = equation.params
    cond_consts, body_consts, carry = _partition(
        operands, params["cond_nconsts"], params["body_nconsts"]
    )

    def body(carry: list[Dims]) -> list[Dims]:
        equation.walk(params["cond_jaxpr"], [*cond_consts, *carry])
        return equation.walk(params["body_jaxpr"], [*body_consts, *carry])

    return fixed_point(body, carry, [True] * len(carry))[0]


@register_liveness("while")
def while_liveness(params: dict[str, Any], live: Sequence[bool]) -> list[bool]:
    """How often a loop runs may depend on any of its carries."""
    return [True] * (params["cond_nconsts"] + params["body_nconsts"] + len(live))


def fixed_point(
    body: Any, carry: Sequence[Dims], live: Sequence[bool]
) -> tuple[list[Dims], list[Dims]]:
    """The symbols of a loop's carry, and of what its body returns beside it.

    An axis along which the carry does not vary before the loop may vary after a step: then the
    body is walked again with the symbol that it got.
    """
    count = len(carry)
    carry = list(carry)
    while True:
        outputs = body(carry)
        joined = [
            join_values([before, after]) if on else before
            for before, after, on in zip(carry, outputs[:count], live, strict=False)
        ]
        if [_varies(c) for c in joined] == [_varies(c) for c in carry]:
            return joined, outputs[count:]
        carry = joined


def join_values(values: Sequence[Dims]) -> Dims:
    """Unify values axis by axis."""
    return tuple(join(column) for column in zip(*values, strict=True))


def _varies(dims: Dims) -> tuple[bool, ...]:
    return tuple(symbol is not None for symbol in dims)


def _partition(operands: Sequence[Dims], *counts: int) -> list[list[Dims]]:
    groups, rest = [], list(operands)
    for n in counts:
        groups.append(rest[:n])
        rest = rest[n:]
    return [*groups, rest]
