"""The neuron groups of one tensor's axes, and the small algebra that composite axes need."""

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, Union

import jax.numpy as jnp
from jaxtyping import Array, Int

from lopt.base.checks import instance, named, sequence
from lopt.base.errors import UserError

Axis = Union[str, "Product", "Sum"]
T = TypeVar("T")

ROLES = ("input", "output", "spatial", "vector", "entry", "stack")
"""The roles of axes: a matrix reads along its inputs and over space and writes its
outputs; single entries of a table are looked up, or added at one place each; each index of a stack
is a tensor of its own, as of layers in a scan, members of an ensemble, and experts."""


@dataclass(frozen=True)
class Product:
    """A row-major merge of several axes into one, as of attention heads and their width."""

    factors: tuple[Any, ...]

    def __str__(self) -> str:
        return "*".join(f"({f})" if isinstance(f, Sum) else str(f) for f in self.factors)


@dataclass(frozen=True)
class Sum:
    """A concatenation of several axes into one, as of an LSTM cell's input and state."""

    parts: tuple[Any, ...]

    def __str__(self) -> str:
        return "+".join(str(p) for p in self.parts)


_AXIS = instance(str | Product | Sum, 'text such as "hidden" or "heads*width"')


class Axes:
    """The group of each axis of one tensor: a leaf of the tree `PermutationSpec.axes`.

    An axis is the name of a group, or a composite of several: `"heads*width"` merges two axes
    in row-major order, `"input+state"` concatenates them; parentheses group.

    Attributes:
      roles: what each axis is to the tensor, of `ROLES`, where that is not as the order of the axes
        has it by convention: `lopt.symmetry.roles.axis_roles`.

    >>> Axes("input", "heads*width")
    Axes('input', 'heads*width')
    >>> Axes("hidden", "input", roles=("output", "input"))
    Axes('hidden', 'input', roles=('output', 'input'))
    >>> len(Axes())
    0
    """

    __slots__ = ("_axes", "roles")

    def __init__(self, *axes: Axis, roles: Sequence[str] | None = None):
        """See the class.

        Raises:
          UserError: for an axis that is no text or cannot be read, and for roles that are not one
            for each axis, each of `ROLES`.
        """
        for axis in axes:
            _AXIS("an axis", axis)
        self._axes = tuple(parse_axis(a) if isinstance(a, str) else a for a in axes)
        self.roles = None if roles is None else sequence(named("role", ROLES))("roles", roles)
        if self.roles is not None and len(self.roles) != len(self):
            raise UserError(f"{len(self)} axes have {len(self.roles)} roles; give one for each")

    def __iter__(self) -> Iterator[Axis]:
        return iter(self._axes)

    def __len__(self) -> int:
        return len(self._axes)

    def __getitem__(self, index: int) -> Axis:
        return self._axes[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Axes) and (self._axes, self.roles) == (other._axes, other.roles)

    def __hash__(self) -> int:
        return hash((self._axes, self.roles))

    def __repr__(self) -> str:
        roles = [f"roles={self.roles}"] if self.roles is not None else []
        return f"Axes({', '.join([*(repr(str(a)) for a in self), *roles])})"

    def renamed(self, names: Mapping[Any, str]) -> "Axes":
        """The same axes with their groups renamed."""
        return Axes(*(rename(axis, names) for axis in self), roles=self.roles)


def parse_axis(text: str) -> Axis:
    """An axis from its text, the inverse of `str`; raises `UserError` for text that is no axis."""
    tokens = re.findall(r"[+*()]|[^+*()]+", text)
    axis = _parse(tokens, text)
    if tokens:
        raise UserError(f"cannot read the axis {text!r}: unexpected {tokens[0]!r}")
    return axis


# The operators by precedence, the weakest first.
_OPERATORS: tuple[tuple[str, Any], ...] = (("+", Sum), ("*", Product))


# A parser by recursive descent: each function removes what it reads from the tokens.
def _parse(tokens: list[str], text: str, level: int = 0) -> Axis:
    if level == len(_OPERATORS):
        return _parse_operand(tokens, text)
    sign, kind = _OPERATORS[level]
    operands = [_parse(tokens, text, level + 1)]
    while tokens[:1] == [sign]:
        del tokens[0]
        operands.append(_parse(tokens, text, level + 1))
    return operands[0] if len(operands) == 1 else kind(tuple(operands))


def _parse_operand(tokens: list[str], text: str) -> Axis:
    if not tokens or tokens[0] in "+*)":
        raise UserError(f"cannot read the axis {text!r}: a name is missing")
    first = tokens.pop(0)
    if first != "(":
        return first
    axis = _parse(tokens, text)
    if not tokens:
        raise UserError(f"cannot read the axis {text!r}: a parenthesis is not closed")
    del tokens[0]
    return axis


def fold(
    axis: Any,
    leaf: Callable[[Any], T],
    product: Callable[[Any], Any],
    total: Callable[[Any], Any],
) -> T:
    """Combine an axis from its groups up: all that recurs over composite axes is this.

    >>> fold(parse_axis("a*(b+c)"), {"a": 2, "b": 3, "c": 4}.__getitem__, math.prod, sum)
    14
    """
    if isinstance(axis, Product):
        return product([fold(f, leaf, product, total) for f in axis.factors])
    if isinstance(axis, Sum):
        return total([fold(p, leaf, product, total) for p in axis.parts])
    return leaf(axis)


def groups_of(axis: Axis) -> tuple[str, ...]:
    """The group names in an axis, in the order in which they occur, repeats included."""

    def joined(names: list[tuple]) -> tuple:
        return tuple(itertools.chain(*names))

    return fold(axis, lambda name: (name,), joined, joined)


def size_of(axis: Axis, sizes: Mapping[str, int]) -> int:
    """How many indices an axis has."""
    return fold(axis, sizes.__getitem__, math.prod, sum)


def rename(axis: Axis, names: Mapping[str, str]) -> Axis:
    """The same axis with its groups renamed."""
    leaf: Callable[[str], Axis] = names.__getitem__
    return fold(axis, leaf, lambda fs: Product(tuple(fs)), lambda ps: Sum(tuple(ps)))


def permuted_indices(
    axis: Axis, sizes: Mapping[str, int], permutations: Mapping[str, Int[Array, " size"]]
) -> Int[Array, " axis"]:
    """The indices that gather an axis when its groups are permuted; other groups stay."""

    def leaf(name: str) -> Array:
        return jnp.asarray(permutations[name]) if name in permutations else jnp.arange(sizes[name])

    def merged(factors: list[Array]) -> Array:
        indices = factors[0]
        for inner in factors[1:]:
            indices = (indices[:, None] * len(inner) + inner[None, :]).reshape(-1)
        return indices

    def joined(parts: list[Array]) -> Array:
        starts = itertools.accumulate((len(p) for p in parts), initial=0)
        return jnp.concatenate([start + p for start, p in zip(starts, parts, strict=False)])

    return fold(axis, leaf, merged, joined)
