"""The walk through a traced function that symmetries and uses of tensors are both found by.

A walk pushes a value for each variable through the equations of a jaxpr, and of the functions
within. Values are the symbols of axes in `interpret.SymbolWalk`, and the tensors that something is
made of in `uses.walk.UseWalk`. The *handler* of a primitive is a function of the equation and of
the value of each operand, and returns the value of each output.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from jax.extend import core

from lopt.symmetry.constants import Constant
from lopt.symmetry.jaxprs import has_values, needed_for, open_jaxpr, shape_of

V = TypeVar("V")

Shape = tuple[int, ...]

Handler = Callable[..., Sequence[Any]]


class Handlers(dict[str, Handler]):
    """Handlers by the name of their primitive."""

    def of(self, *names: str) -> Callable[[Handler], Handler]:
        """A decorator that adds a handler of these primitives."""

        def add(handler: Handler) -> Handler:
            self.update(dict.fromkeys(names, handler))
            return handler

        return add


@dataclass(frozen=True)
class Equation:
    """One equation of a traced function, as a handler sees it.

    Attributes:
      name: the primitive's name.
      params: the primitive's static parameters.
      in_shapes: the shape of each operand.
      out_shapes: the shape of each output.
      live: for each output, whether the function depends on it.
      constants: each operand that is known; `None` for one that is not.
      walk: what pushes values through an inner jaxpr; for primitives that call functions.
    """

    name: str
    params: dict[str, Any]
    in_shapes: tuple[Shape, ...]
    out_shapes: tuple[Shape, ...]
    live: tuple[bool, ...]
    constants: tuple[Constant | None, ...]
    walk: Any


class Walk(Generic[V]):
    """Pushes values through jaxprs; subclasses say of which kind."""

    def __init__(self, handlers: Mapping[str, Handler]):
        self._handlers = handlers

    def __call__(
        self,
        jaxpr: core.ClosedJaxpr | core.Jaxpr,
        operands: Sequence[V],
        live: Sequence[bool] | None = None,
        constants: Sequence[Constant | None] = (),
    ) -> list[V]:
        """The value of each output of a jaxpr; of one that is not `live`, it means nothing.

        `constants` are arguments that are known, and the same whenever the function is called.
        """
        jaxpr, consts = open_jaxpr(jaxpr)
        live = [True] * len(jaxpr.outvars) if live is None else live
        equations, _ = needed_for(jaxpr, live)
        reads = [v for eqn, _ in equations for v in eqn.invars] + jaxpr.outvars
        times = Counter(v for v in reads if isinstance(v, core.Var))
        known = dict(zip(jaxpr.constvars, map(Constant, consts), strict=True))
        known |= {v: c for v, c in zip(jaxpr.invars, constants, strict=False) if c is not None}
        values: dict[Any, V] = {}

        def store(variables: Sequence[core.Var], found: Sequence[V]) -> None:
            for variable, value in zip(variables, found, strict=True):
                values[variable] = self.stored(value, times[variable])

        def constant(atom: core.Var | core.Literal) -> Constant | None:
            return Constant(atom.val) if isinstance(atom, core.Literal) else known.get(atom)

        def read(atom: core.Var | core.Literal) -> V:
            of_atom = constant(atom)
            if of_atom is not None:
                return self.constant(of_atom)
            found = values.get(atom) if has_values(atom) else None
            return self.nothing(shape_of(atom)) if found is None else found

        store(jaxpr.invars, operands)
        for eqn, live_out in equations:
            equation = self._equation(eqn, live_out, tuple(map(constant, eqn.invars)))
            result = self.computed(eqn, equation)
            if result is None:
                store(eqn.outvars, self.apply(equation, [read(v) for v in eqn.invars]))
            else:
                known[eqn.outvars[0]] = result
        return [
            read(atom) if on else self.nothing(shape_of(atom))
            for atom, on in zip(jaxpr.outvars, live, strict=True)
        ]

    def _equation(
        self, eqn: core.JaxprEqn, live: tuple[bool, ...], constants: tuple[Constant | None, ...]
    ) -> Equation:
        return Equation(
            name=eqn.primitive.name,
            params=eqn.params,
            in_shapes=tuple(map(shape_of, eqn.invars)),
            out_shapes=tuple(map(shape_of, eqn.outvars)),
            live=live,
            constants=constants,
            walk=self,
        )

    # What follows depends on what values are, as do the methods that `primitives.control` calls.

    def apply(self, equation: Equation, operands: Sequence[V]) -> Sequence[V]:
        """The value of each output of an equation."""
        return self._handlers.get(equation.name, self.unknown)(equation, *operands)

    def unknown(self, equation: Equation, *operands: V) -> Sequence[V]:
        """The value of each output of a primitive without a handler."""
        raise NotImplementedError

    def computed(self, eqn: core.JaxprEqn, equation: Equation) -> Constant | None:
        """The only output of an equation, if it is a constant that is worth knowing."""
        return None

    def stored(self, value: V, times: int) -> V:
        """A value as it is read, in so many places."""
        return value

    def constant(self, constant: Constant) -> V:
        """The value of a constant."""
        raise NotImplementedError

    def nothing(self, shape: Shape) -> V:
        """The value of an array that does not matter."""
        raise NotImplementedError
