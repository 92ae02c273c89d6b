"""What each axis of a tensor is to it: an input, an output, a place, or the axis of a vector."""

from collections.abc import Sequence

import jax

from lopt.symmetry.axes import Axes, groups_of
from lopt.symmetry.spec import PermutationSpec


def axis_roles(spec: PermutationSpec) -> list[tuple[str, ...]]:
    """The role of each axis of each tensor, in the order of `spec.entries`.

    It is what `Axes.roles` say, if they do, and by convention otherwise: the last axis of a matrix
    or a kernel is its output side, the one before its input side; those before are spatial if they
    are fixed, and inputs if not. The only axis of a vector is a role of its own. Axes that belong
    together, as heads and their width do, are one side: a tensor `("stream", "heads", "width")` has
    the roles that `("stream", "heads*width")` has. They are recognized by a group that never comes
    last and is on several tensors, one of them with three axes or more: `heads` below. Where f is
    fixed and the others are true:

    ================================ ===================================
    groups of the axes               roles
    ================================ ===================================
    ``out``                          vector
    ``heads, width``                 vector, vector
    ``in, out``                      input, output
    ``in, heads, width``             input, output, output
    ``heads, width, out``            input, input, output
    ``f1, f2, in, out``              spatial, spatial, input, output
    ``layers, in, out``              input, input, output
    ``f1, in, out``                  spatial, input, output
    ================================ ===================================

    >>> attention = {"q": Axes("in", "heads", "width"), "b": Axes("heads", "width")}
    >>> axis_roles(PermutationSpec(attention, {"in": 6, "heads": 2, "width": 3}))
    [('vector', 'vector'), ('input', 'output', 'output')]
    >>> axes = {"kernel": Axes("height", "width", "in", "out"), "bias": Axes("out")}
    >>> sizes = {"height": 3, "width": 3, "in": 8, "out": 8}
    >>> axis_roles(PermutationSpec(axes, sizes, fixed=("height", "width")))
    [('vector',), ('spatial', 'spatial', 'input', 'output')]
    """
    leading = _leading(spec)
    return [axes.roles or _roles(axes, leading, spec.fixed) for _, axes in spec.entries]


def with_sides(
    spec: PermutationSpec, sides: Sequence[tuple[set[int], set[int]] | None]
) -> PermutationSpec:
    """A spec in which tensors whose sides are not those of the convention have roles of their own.

    Args:
      spec: of which tensors.
      sides: for each tensor, the axes that it is read along and those that it writes, or None. An
        axis that is neither is spatial if it is fixed, and an input if not.
    """
    leaves = []
    for (_, axes), roles, of_tensor in zip(spec.entries, axis_roles(spec), sides, strict=True):
        read, written = of_tensor or (set(), set())
        fits = all(roles[i] != "output" for i in read) and all(
            roles[i] == "output" for i in written
        )
        own = [
            "input" if i in read else "output" if i in written else _beside(axis, spec.fixed)
            for i, axis in enumerate(axes)
        ]
        leaves.append(axes if fits else Axes(*axes, roles=own))
    axes = jax.tree.unflatten(jax.tree.structure(spec.axes), leaves)
    return PermutationSpec(axes, spec.sizes, spec.fixed)


def _beside(axis: object, fixed: frozenset[str]) -> str:
    return "spatial" if axis in fixed else "input"


def by_side(roles: Sequence[str]) -> tuple[int, ...]:
    """The axes in the order of a matrix: spatial ones and inputs first, then outputs.

    >>> by_side(("output", "input", "spatial", "spatial"))
    (2, 3, 1, 0)
    """
    order = ("spatial", "input", "vector", "output")
    return tuple(sorted(range(len(roles)), key=lambda i: order.index(roles[i])))


def _leading(spec: PermutationSpec) -> set[str]:
    """The true groups on several tensors, one of three axes or more, and on no last axis."""
    last = {name for _, axes in spec.entries if axes for name in groups_of(axes[-1])}
    ranks: dict[str, list[int]] = {}
    for _, axes in spec.entries:
        for name in {name for axis in axes for name in groups_of(axis)}:
            ranks.setdefault(name, []).append(len(axes))
    return {
        name
        for name in spec.groups
        if name not in last and len(ranks.get(name, ())) > 1 and max(ranks[name]) > 2
    }


def _roles(axes: Axes, leading: set[str], fixed: frozenset[str]) -> tuple[str, ...]:
    sides: list[int] = []
    together = False
    for axis in axes:
        if together:
            sides[-1] += 1
        else:
            sides.append(1)
        together = axis in leading
    if len(sides) < 2:
        return ("vector",) * len(axes)
    roles: list[str] = []
    for side in sides[:-2]:
        space = "input" not in roles and axes[len(roles)] in fixed
        roles += ["spatial" if space else "input"] * side
    return (*roles, *["input"] * sides[-2], *["output"] * sides[-1])
