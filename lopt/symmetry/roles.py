"""The role of each axis in its tensor, such as an input or an output, and the biases of tensors."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lopt.symmetry.axes import Axes, groups_of
from lopt.symmetry.paths import Path

if TYPE_CHECKING:
    from lopt.symmetry.spec import PermutationSpec

COARSE_ROLES = ("input", "output", "spatial", "vector")
"""The roles that `coarse_roles` tells."""


def axis_roles(spec: "PermutationSpec") -> list[tuple[str, ...]]:
    """The role of each axis of each tensor, in the order of `spec.entries`.

    It is what `Axes.roles` say, if they do, and by convention otherwise: the last axis of a matrix
    or a kernel is its output side, the one before its input side; those before are spatial if they
    are fixed, and inputs if not. The only axis of a vector is a role of its own, and a tensor of
    three axes or more of which all but one have size one is a vector, too. Axes that belong
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

    The convention has neither tables, of which single entries are looked up, nor stacks of separate
    tensors: `infer_spec` finds both, and a spec by hand says so in its `Axes.roles`.

    >>> from lopt.symmetry import PermutationSpec
    >>> attention = {"q": Axes("in", "heads", "width"), "b": Axes("heads", "width")}
    >>> axis_roles(PermutationSpec(attention, {"in": 6, "heads": 2, "width": 3}))
    [('vector', 'vector'), ('input', 'output', 'output')]
    >>> axes = {"kernel": Axes("height", "width", "in", "out"), "bias": Axes("out")}
    >>> sizes = {"height": 3, "width": 3, "in": 8, "out": 8}
    >>> axis_roles(PermutationSpec(axes, sizes, fixed=("height", "width")))
    [('vector',), ('spatial', 'spatial', 'input', 'output')]
    """
    return [
        axes.roles or by_convention
        for (_, axes), by_convention in zip(spec.entries, conventional_roles(spec), strict=True)
    ]


def conventional_roles(spec: "PermutationSpec") -> list[tuple[str, ...]]:
    """The roles that `axis_roles` tells by convention, whatever `Axes.roles` say."""
    leading = _leading(spec)
    return [_roles(axes, spec.shape(axes), leading, spec.fixed) for _, axes in spec.entries]


def coarse_roles(spec: "PermutationSpec") -> list[tuple[str, ...]]:
    """Roles as networks over weights know them: entries are inputs, stacks as by convention."""
    found = []
    for roles, by_convention in zip(axis_roles(spec), conventional_roles(spec), strict=True):
        if "stack" in roles:
            roles = by_convention
        elif "output" not in roles:
            roles = ("vector",) * len(roles)
        found.append(tuple("input" if r == "entry" else r for r in roles))
    return found


def by_side(roles: Sequence[str]) -> tuple[int, ...]:
    """The axes in the order of a matrix: spatial ones and inputs first, then outputs.

    >>> by_side(("output", "input", "spatial", "spatial"))
    (2, 3, 1, 0)
    """
    order = ("stack", "spatial", "entry", "input", "vector", "output")
    return tuple(sorted(range(len(roles)), key=lambda i: order.index(roles[i])))


def bias_of_each(spec: "PermutationSpec") -> dict[Path, Path]:
    """For the path of each tensor that has a bias, the bias' path.

    It is what `PermutationSpec.biases` say, as `infer_spec` finds it. By convention, for a spec
    that was written by hand, a bias is the only vector in the same module that has the axes of the
    matrix' output side. A matrix of which two vectors could be the bias has none, nor has a table.

    >>> from lopt.symmetry import Axes, PermutationSpec
    >>> axes = {"bias": Axes("h"), "kernel": Axes("in", "h"), "out": Axes("h", "k")}
    >>> bias_of_each(PermutationSpec(axes, {"in": 3, "h": 4, "k": 5}))
    {('kernel',): ('bias',)}
    """
    return conventional_biases(spec) if spec.biases is None else spec.biases


def conventional_biases(spec: "PermutationSpec") -> dict[Path, Path]:
    """The biases that `bias_of_each` tells by convention, whatever the spec says."""
    entries = list(zip(spec.entries, axis_roles(spec), strict=True))
    vectors: dict[tuple, list[Path]] = {}
    for (path, axes), roles in entries:
        if len(axes) and set(roles) <= {"vector", "stack"}:
            vectors.setdefault((path[:-1], tuple(axes)), []).append(path)
    found: dict[Path, Path] = {}
    for (path, axes), roles in entries:
        written = tuple(
            axis for axis, role in zip(axes, roles, strict=True) if role in ("stack", "output")
        )
        beside = vectors.get((path[:-1], written), [])
        if "input" in roles and len(beside) == 1:
            found[path] = beside[0]
    return found


def _leading(spec: "PermutationSpec") -> set[str]:
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


def _roles(
    axes: Axes, shape: Sequence[int], leading: set[str], fixed: frozenset[str]
) -> tuple[str, ...]:
    # Axes of size one carry nothing, but a matrix with one output has one too.
    if len(axes) > 2 and sum(n != 1 for n in shape) < 2:
        return ("vector",) * len(axes)
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
