"""A walk over a jaxpr that propagates axis symbols, and the registry of rules that it follows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.extend import core

from lopt.base.errors import UserError
from lopt.symmetry.constants import Constant, computed
from lopt.symmetry.symbols import Atom, Symbol, atoms, fix, mark_read, settle, size

Dims = tuple[Symbol | None, ...]
"""The symbol of each axis of a value; `None` for an axis along which it does not vary."""


class InferenceError(UserError):
    """A function, params or a rule from which no spec can be inferred."""


@dataclass(frozen=True)
class Equation:
    """One equation of a traced function, as a rule sees it.

    Attributes:
      name: the primitive's name.
      params: the primitive's static parameters.
      in_shapes: the shape of each operand.
      out_shapes: the shape of each output.
      live: for each output, whether the function depends on it.
      constants: each operand that is known; `None` for one that is not.
      walk: what propagates symbols through an inner jaxpr; for primitives that call functions.
    """

    name: str
    params: dict[str, Any]
    in_shapes: tuple[tuple[int, ...], ...]
    out_shapes: tuple[tuple[int, ...], ...]
    live: tuple[bool, ...]
    constants: tuple[Constant | None, ...]
    walk: "Walk"


Rule = Callable[..., Sequence[Dims]]
LiveRule = Callable[[dict[str, Any], Sequence[bool]], Sequence[bool]]

_rules: dict[str, Rule] = {}
_live_rules: dict[str, LiveRule] = {}

# These hand a value on, in parts or in whole: what nothing else reads is not read.
_TRANSPARENT = {
    "slice",
    "split",
    "unstack",
    "reshape",
    "transpose",
    "squeeze",
    "broadcast_in_dim",
    "convert_element_type",
    "copy",
}


def register_primitive(*names: str) -> Callable[[Rule], Rule]:
    """Teach `infer_spec` how primitives act on the symmetries of their operands.

    A rule is a function `rule(equation, *operands)`. Each operand is a tuple with one symbol per
    axis, or `None` for an axis along which the operand does not vary; the rule returns a list of
    such tuples, one per output. It makes the symmetries of the operands agree by calling

    - `join(symbols)`: these axes are indexed alike; returns their common symbol;
    - `fix(symbol, why)`: the order of this axis matters;
    - `split(symbol, sizes)` and `merge(symbols)`: a reshape, in row-major order;
    - `cut(symbol, sizes)` and `concatenate(symbols)`: slices, and the opposite;

    from `lopt.symmetry.symbols`. `Atom(size)` is a new symbol, `Atom(size, "why")` a fixed one. A
    rule is sound if, whenever the operands are permuted by their symbols, the outputs are permuted
    by theirs.

    Args:
      *names: names of primitives, as a jaxpr shows them. An earlier rule is replaced.

    Returns:
      A decorator that registers a rule and returns it.

    Example:
      >>> @register_primitive("my_softmax")
      ... def keep_all_axes(equation, x):
      ...     return [x]
    """

    def register(rule: Rule) -> Rule:
        for name in names:
            _rules[name] = rule
        return rule

    return register


def register_liveness(*names: str) -> Callable[[LiveRule], LiveRule]:
    """Register which operands of a call its live outputs depend on; by default all of them."""

    def register(rule: LiveRule) -> LiveRule:
        for name in names:
            _live_rules[name] = rule
        return rule

    return register


class Walk:
    """Propagates symbols through jaxprs.

    Attributes:
      unknown: the primitives without a rule that were met, and took symmetries away.
      order: the atoms of the operands, by the moment at which they were first read.
    """

    def __init__(self):
        self.unknown: dict[str, None] = {}
        self.order: dict[Symbol, int] = {}

    def __call__(
        self,
        jaxpr: core.ClosedJaxpr | core.Jaxpr,
        operands: Sequence[Dims],
        live: Sequence[bool] | None = None,
        constants: Sequence[Constant | None] = (),
    ) -> list[Dims]:
        """Propagate the operands' symbols through a jaxpr.

        Args:
          jaxpr: the function.
          operands: the symbols of each of its arguments.
          live: which of its outputs matter; all, if left out.
          constants: arguments that are known, and the same whenever the function is called.

        Returns:
          The symbols of each output; of one that does not matter, they mean nothing.
        """
        jaxpr, consts = open_jaxpr(jaxpr)
        live = [True] * len(jaxpr.outvars) if live is None else live
        dims: dict[core.Var, Dims] = dict(zip(jaxpr.invars, operands, strict=True))
        known = dict(zip(jaxpr.constvars, map(Constant, consts), strict=True))
        known |= {v: c for v, c in zip(jaxpr.invars, constants, strict=False) if c is not None}
        for eqn, live_out in live_equations(jaxpr, live):
            values = tuple(_constant(v, known) for v in eqn.invars)
            result = computed(eqn, values)
            if result is not None:
                known[eqn.outvars[0]] = result
                continue
            read = [_dims_of(v, dims, known) for v in eqn.invars]
            equation = Equation(
                name=eqn.primitive.name,
                params=eqn.params,
                in_shapes=tuple(shape_of(v) for v in eqn.invars),
                out_shapes=tuple(shape_of(v) for v in eqn.outvars),
                live=live_out,
                constants=values,
                walk=self,
            )
            self._note(equation, read)
            outputs = self._apply(equation, read)
            for output in outputs:
                settle(output)
            dims |= zip(eqn.outvars, outputs, strict=True)
        return [
            _dims_of(var, dims, known) if on else _any_dims(var)
            for var, on in zip(jaxpr.outvars, live, strict=True)
        ]

    def _note(self, equation: Equation, operands: Sequence[Dims]) -> None:
        if equation.name in _live_rules:
            return
        for symbol in (s for operand in operands for s in operand):
            if isinstance(symbol, Atom):
                self.order.setdefault(symbol, len(self.order))
            if equation.name not in _TRANSPARENT:
                mark_read(symbol)

    def _apply(self, equation: Equation, operands: Sequence[Dims]) -> Sequence[Dims]:
        rule = _rules.get(equation.name)
        if rule is not None:
            outputs = rule(equation, *operands)
            _check(equation, outputs)
            return outputs
        if fix_all(operands, equation.name):
            self.unknown[equation.name] = None
        return [fixed_dims(shape, equation.name) for shape in equation.out_shapes]


def _check(equation: Equation, outputs: Sequence[Dims]) -> None:
    found = [tuple(None if s is None else size(s) for s in dims) for dims in outputs]
    fits = len(found) == len(equation.out_shapes) and all(
        len(sizes) == len(shape) and all(n in (None, m) for n, m in zip(sizes, shape, strict=True))
        for sizes, shape, live in zip(found, equation.out_shapes, equation.live, strict=True)
        if live
    )
    if not fits:
        raise InferenceError(
            f"the rule of {equation.name} returns axes of sizes {found}, "
            f"and its outputs have shapes {list(equation.out_shapes)}"
        )


def open_jaxpr(jaxpr: core.ClosedJaxpr | core.Jaxpr) -> tuple[core.Jaxpr, Sequence[Any]]:
    """A jaxpr and its constants."""
    return (jaxpr.jaxpr, jaxpr.consts) if isinstance(jaxpr, core.ClosedJaxpr) else (jaxpr, ())


def live_equations(
    jaxpr: core.Jaxpr, live: Sequence[bool]
) -> list[tuple[core.JaxprEqn, tuple[bool, ...]]]:
    """The equations on which the live outputs depend, each with its own live outputs.

    An array without elements depends on nothing.
    """
    return _liveness(jaxpr, live)[0]


def live_inputs(jaxpr: core.Jaxpr | core.ClosedJaxpr, live: Sequence[bool]) -> list[bool]:
    """Which inputs the live outputs depend on."""
    jaxpr, _ = open_jaxpr(jaxpr)
    needed = _liveness(jaxpr, live)[1]
    return [v in needed for v in jaxpr.invars]


def _liveness(jaxpr: core.Jaxpr, live: Sequence[bool]) -> tuple[list, set[core.Var | core.Literal]]:
    needed = {v for v, on in zip(jaxpr.outvars, live, strict=True) if on and _has_values(v)}
    kept = []
    for eqn in reversed(jaxpr.eqns):
        out = tuple(v in needed for v in eqn.outvars)
        if not any(out) and not eqn.effects:
            continue
        kept.append((eqn, out))
        rule = _live_rules.get(eqn.primitive.name)
        used = rule(eqn.params, out) if rule else [True] * len(eqn.invars)
        needed |= {v for v, on in zip(eqn.invars, used, strict=False) if on and _has_values(v)}
    return kept[::-1], needed


def _has_values(atom: core.Var | core.Literal) -> bool:
    return isinstance(atom, core.Var) and 0 not in shape_of(atom)


def _constant(atom: core.Var | core.Literal, known: dict[core.Var, Constant]) -> Constant | None:
    return Constant(atom.val) if isinstance(atom, core.Literal) else known.get(atom)


def _dims_of(
    atom: core.Var | core.Literal, dims: dict[Any, Dims], known: dict[core.Var, Constant]
) -> Dims:
    constant = _constant(atom, known)
    if constant is not None:
        return constant.dims()
    return dims.get(atom, _any_dims(atom)) if _has_values(atom) else _any_dims(atom)


def shape_of(atom: Any) -> tuple[int, ...]:
    """The shape of a jaxpr's variable or literal."""
    return np.shape(atom.aval)


def _any_dims(atom: core.Var | core.Literal) -> Dims:
    """No symbols: `None` for each axis of a value."""
    return (None,) * len(shape_of(atom))


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
