"""The primitives that call functions: calls, branches and loops. Both walks go through them so.

A walk says what depends on its kind of values:

- `either(values)`: the value of what is one of several;
- `rows(xs, shapes, count)`: the axis of a scan's steps, and what each step has of the arrays `xs`;
- `stacked(steps, rows)`: the arrays that a scan makes of what each step returns;
- `loop(step, carry, live, variables)`: the values of a loop's carry and of what its body returns
  beside it. `step` makes the body's outputs of those of the carry, `live` tells which of them
  matter, and `variables` are each carry's before and after a step.
"""

from collections.abc import Sequence
from itertools import compress
from typing import Any

from lopt.symmetry.families import CALLS, WATCHING
from lopt.symmetry.jaxprs import open_jaxpr, scan_live_outputs, solving
from lopt.symmetry.walk import Equation, Handlers

HANDLERS = Handlers()


@HANDLERS.of(*CALLS)
def call(equation: Equation, *operands: Any) -> list[Any]:
    """A function, as if its equations stood here."""
    function = equation.params[CALLS[equation.name]]
    return equation.walk(function, operands, equation.live, equation.constants)


@HANDLERS.of("custom_linear_solve")
def linear_solve(equation: Equation, *operands: Any) -> list[Any]:
    """The outputs of the function that solves."""
    given = [*compress(operands, solving(equation.params))]
    return equation.walk(equation.params["jaxprs"].solve, given, equation.live)


@HANDLERS.of("cond")
def cond(equation: Equation, index: Any, *operands: Any) -> list[Any]:
    """The outputs of one of the branches."""
    branches = [
        equation.walk(branch, operands, equation.live) for branch in equation.params["branches"]
    ]
    return [equation.walk.either(outputs) for outputs in zip(*branches, strict=True)]


@HANDLERS.of("scan")
def scan(equation: Equation, *operands: Any) -> list[Any]:
    """The carry after the steps, and what each of them returns beside it."""
    params, walk = equation.params, equation.walk
    consts, carry, xs = _partition(operands, params["num_consts"], params["num_carry"])
    live = scan_live_outputs(params, equation.live)
    shapes = equation.in_shapes[len(consts) + len(carry) :]
    steps, rows = walk.rows(xs, shapes, params["length"])

    def step(carry: Sequence[Any]) -> list[Any]:
        return walk(params["jaxpr"], [*consts, *carry, *rows], live)

    variables = _carries(params["jaxpr"], len(consts), len(carry))
    carry, outputs = walk.loop(step, carry, live, variables)
    return [*carry, *walk.stacked(steps, outputs)]


@HANDLERS.of("while")
def while_loop(equation: Equation, *operands: Any) -> list[Any]:
    """The carry after the last step."""
    params, walk = equation.params, equation.walk
    cond_consts, body_consts, carry = _partition(
        operands, params["cond_nconsts"], params["body_nconsts"]
    )

    def step(carry: Sequence[Any]) -> list[Any]:
        walk(params["cond_jaxpr"], [*cond_consts, *carry])
        return walk(params["body_jaxpr"], [*body_consts, *carry])

    variables = _carries(params["body_jaxpr"], len(body_consts), len(carry))
    return walk.loop(step, carry, [True] * len(carry), variables)[0]


@HANDLERS.of(*WATCHING)
def watch(equation: Equation, *operands: Any) -> list[Any]:
    """Nothing comes of it."""
    return []


def _carries(body: Any, start: int, count: int) -> list[tuple[Any, Any]]:
    """The variables of a loop's carry before and after a step."""
    jaxpr, _ = open_jaxpr(body)
    return list(zip(jaxpr.invars[start : start + count], jaxpr.outvars[:count], strict=True))


def _partition(operands: Sequence[Any], *counts: int) -> list[list[Any]]:
    groups, rest = [], list(operands)
    for n in counts:
        groups.append(rest[:n])
        rest = rest[n:]
    return [*groups, rest]
