"""Which tensor is another one's bias."""

from typing import TYPE_CHECKING

from lopt.symmetry.paths import Path
from lopt.symmetry.roles import axis_roles

if TYPE_CHECKING:
    from lopt.symmetry.spec import PermutationSpec


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
