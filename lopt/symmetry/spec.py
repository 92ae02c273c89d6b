"""Permutation specs: which neuron group indexes each axis of each parameter."""

import json
from collections.abc import Iterable, Mapping, Sequence, Set
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict
from jaxtyping import Array, Int, PyTree

from lopt.base.checks import MAPPING, TEXT, integer, sequence
from lopt.base.errors import UserError, suggest
from lopt.base.printed import printable, some
from lopt.symmetry.axes import Axes, groups_of, permuted_indices, size_of
from lopt.symmetry.paths import Path, arranged, leaves_with_path, name_of
from lopt.symmetry.roles import axis_roles, bias_of_each

_SIZE = integer(0, 2**31 - 1)


class SpecError(UserError):
    """A spec and params that do not fit together."""


class PermutationSpec:
    """The neuron groups of a weight space.

    Permuting all axes of one true group by one permutation leaves the network's function as it
    was. A *fixed* group (inputs, outputs, a vocabulary, spatial positions) names axes that are
    indexed alike although permuting them changes the function.

    Attributes:
      axes: a pytree of `Axes`, one leaf per tensor, with the structure of the params.
      sizes: the size of each group.
      fixed: the names of the groups that are not symmetries.
      biases: for the path of each tensor that has one, the path of its bias: a tensor that is added
        to what it writes. None where they are as the convention has it,
        `lopt.symmetry.roles.bias_of_each`.

    Two specs are equal if they are the same up to the names of their groups, and tell the same
    roles and biases, be it by convention.

    Example:
      >>> import jax.numpy as jnp
      >>> params = {"w1": jnp.ones((3, 8)), "b1": jnp.ones(8), "w2": jnp.ones((8, 2))}
      >>> axes = {"w1": Axes("in", "h"), "b1": Axes("h"), "w2": Axes("h", "out")}
      >>> spec = PermutationSpec.for_params(axes, params, fixed=("in", "out"))
      >>> spec.sizes
      {'h': 8, 'in': 3, 'out': 2}
    """

    def __init__(
        self,
        axes: PyTree[Axes],
        sizes: Mapping[str, int],
        fixed: Iterable[str] = (),
        biases: Mapping[Path, Path] | None = None,
    ):
        """See the class.

        Raises:
          UserError: if sizes are not a mapping from names to integers, or `fixed` is not a sequence
            or a set of names.
          SpecError: if a leaf of `axes` is not `Axes`, an axis names a group that has no size,
            `fixed` one that is not there, or `biases` a tensor.
        """
        self.axes = axes
        self.sizes = {
            TEXT("each name of a group in sizes", name): _SIZE(
                f"the size of the group {name!r}", size
            )
            for name, size in MAPPING("sizes", sizes).items()
        }
        names = list(fixed) if isinstance(fixed, Set) else fixed
        self.fixed = frozenset(sequence(TEXT)("fixed", names))
        self.biases = None if biases is None else dict(biases)
        paths = dict(self.entries)
        for path in (p for pair in (self.biases or {}).items() for p in pair):
            if path not in paths:
                raise SpecError(f"biases name {name_of(path)}, which is no tensor of the spec")
        for path, tensor_axes in self.entries:
            if not isinstance(tensor_axes, Axes):
                raise SpecError(
                    f"{name_of(path)}: {tensor_axes!r} does not tell the groups of a tensor; "
                    'write lopt.Axes("input", "hidden"), a group for each axis'
                )
            for name in (n for axis in tensor_axes for n in groups_of(axis)):
                if name not in self.sizes:
                    raise SpecError(f"{name_of(path)}: the group {name!r} has no size")
        for name in self.fixed:
            if name not in self.sizes:
                raise SpecError(f"fixed group {name!r} is on no axis; {suggest(name, self.sizes)}")

    @classmethod
    def for_params(
        cls, axes: PyTree[Axes], params: PyTree[Array], fixed: Iterable[str] = ()
    ) -> "PermutationSpec":
        """A spec written by hand: the sizes are read off `params` (arrays or shapes).

        Raises:
          SpecError: if structures or ranks differ, or one group would have two sizes. The size of
            a group that occurs only in composite axes cannot be read off and must be given to the
            constructor.
        """
        sizes: dict[str, int] = {}
        shapes = {path: np.shape(leaf) for path, leaf in leaves_with_path(params)}
        for path, tensor_axes in leaves_with_path(axes):
            for i, axis in enumerate(tensor_axes if isinstance(tensor_axes, Axes) else ()):
                if isinstance(axis, str) and i < len(shapes.get(path, ())):
                    size = sizes.setdefault(axis, shapes[path][i])
                    if size != shapes[path][i]:
                        raise SpecError(
                            f"{name_of(path)} axis {i}: the group {axis!r} has size "
                            f"{shapes[path][i]} here and {size} elsewhere"
                        )
        spec = cls(axes, sizes, fixed)
        spec.validate(params)
        return spec

    @cached_property
    def entries(self) -> tuple[tuple[Path, Axes], ...]:
        """(path, axes) of each tensor, in the order of the tree's leaves."""
        return tuple(leaves_with_path(self.axes))

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the true groups."""
        return tuple(name for name in self.sizes if name not in self.fixed)

    @property
    def where(self) -> dict[str, list[str]]:
        """The axes that carry each group, such as `params/Dense_0/kernel.1`."""
        found: dict[str, list[str]] = {name: [] for name in self.sizes}
        for path, axes in self.entries:
            for i, axis in enumerate(axes):
                for name in dict.fromkeys(groups_of(axis)):
                    found[name].append(f"{name_of(path)}.{i}")
        return found

    def shape(self, axes: Axes) -> tuple[int, ...]:
        """The shape of a tensor that has these axes."""
        return tuple(size_of(axis, self.sizes) for axis in axes)

    def validate(self, params: PyTree[Array], trailing: int = 0) -> None:
        """Check that params have the tensors and the shapes that the spec describes.

        Args:
          params: a pytree of arrays or of shapes (`jax.ShapeDtypeStruct`). Its tensors have the
            paths of the spec's; the containers may be others, as `nnx` has two for its params.
            Tensors without elements may be left out.
          trailing: how many axes, such as channels, each tensor has behind those of the spec.

        Raises:
          SpecError: naming the first path that differs, the axis and both sizes.
        """
        for path, axes, leaf in self._matched(params):
            shape = np.shape(leaf)
            if trailing and len(shape) == len(axes):
                raise SpecError(
                    f"{name_of(path)} has the {len(axes)} axes of the spec and no channels, shape "
                    f"{shape}; add a channel axis behind them, x[..., None]"
                )
            if len(shape) != len(axes) + trailing:
                raise SpecError(
                    f"{name_of(path)}: the spec has {len(axes)} axes {axes} and the tensor has "
                    f"{len(shape) - trailing}, shape {shape}"
                )
            for i, axis in enumerate(axes):
                if shape[i] != size_of(axis, self.sizes):
                    raise SpecError(
                        f"{name_of(path)} axis {i}: the group {str(axis)!r} has size "
                        f"{size_of(axis, self.sizes)} and the tensor has {shape[i]}"
                    )

    def _matched(self, params: PyTree[Array], some: bool = False) -> list[tuple[Path, Axes, Array]]:
        """(path, axes, leaf) of each leaf of params, in their order; `some` of the spec's do."""
        leaves, expected = leaves_with_path(params), dict(self.entries)
        found = {path for path, _ in leaves}
        for path, axes in expected.items():
            if path not in found and 0 not in self.shape(axes) and not some:
                raise SpecError(f"{name_of(path)} is in the spec and not in the params")
        for path, _ in leaves:
            if path not in expected:
                raise SpecError(f"{name_of(path)} is in the params and not in the spec")
        return [(path, expected[path], leaf) for path, leaf in leaves]

    def like(self, params: PyTree[Array]) -> "PermutationSpec":
        """The spec of the tensors that params have, which may be some of its own.

        Args:
          params: a pytree of arrays, without those that `optax.masked` leaves out, for instance.

        Returns:
          A spec with the structure of params and the groups that are on them.

        Raises:
          SpecError: as `validate`, but for tensors of the spec that params do not have.
        """
        axes = {path: found for path, found, _ in self._matched(params, some=True)}
        used = {name for found in axes.values() for axis in found for name in groups_of(axis)}
        biases = self.biases
        if biases is not None:
            biases = {p: bias for p, bias in biases.items() if p in axes and bias in axes}
        spec = PermutationSpec(
            jax.tree.unflatten(jax.tree.structure(params), list(axes.values())),
            {name: size for name, size in self.sizes.items() if name in used},
            self.fixed & used,
            biases,
        )
        spec.validate(params)
        return spec

    def sample(self, key: Array) -> dict[str, Int[Array, " size"]]:
        """A random permutation of each true group."""
        keys = jax.random.split(key, max(len(self.groups), 1))
        return {
            name: jax.random.permutation(k, self.sizes[name])
            for name, k in zip(self.groups, keys, strict=False)
        }

    def permute(
        self, params: PyTree[Array], permutations: Mapping[str, Int[Array, " size"]]
    ) -> PyTree[Array]:
        """Params with each axis gathered by its groups' permutations.

        Groups that have no permutation stay; so do axes behind those of the spec (channels).

        Raises:
          SpecError: if a permutation is for a group that the spec does not have, or params have
            other tensors.
        """
        for name in permutations:
            if name not in self.sizes:
                raise SpecError(f"no group {name!r} to permute; {suggest(name, self.sizes)}")

        def permute_one(axes: Axes, x: Array) -> Array:
            for i, axis in enumerate(axes):
                if any(name in permutations for name in groups_of(axis)):
                    x = jnp.take(x, permuted_indices(axis, self.sizes, permutations), axis=i)
            return x

        permuted = [permute_one(axes, x) for _, axes, x in self._matched(params)]
        return jax.tree.unflatten(jax.tree.structure(params), permuted)

    def to_json(self) -> str:
        """A text from which `from_json` makes an equal spec, given params of the same structure."""
        return json.dumps(
            {
                "tensors": [
                    [path, [str(a) for a in axes], *([axes.roles] if axes.roles else [])]
                    for path, axes in self.entries
                ],
                "sizes": self.sizes,
                "fixed": sorted(self.fixed),
                **({} if self.biases is None else {"biases": list(self.biases.items())}),
            }
        )

    @classmethod
    def from_json(cls, text: str, like: PyTree[Any] | None = None) -> "PermutationSpec":
        """Read a spec from its text.

        Args:
          text: what `to_json` returned.
          like: params, to take the structure of; otherwise the spec is a tree of dicts.

        Raises:
          SpecError: if `like` has other paths; the first that differs is named.
        """
        data = json.loads(text)
        tensors = {
            tuple(path): Axes(*axes, roles=roles[0] if roles else None)
            for path, axes, *roles in data["tensors"]
        }
        biases = data.get("biases")
        if biases is not None:
            biases = {tuple(path): tuple(bias) for path, bias in biases}
        # A bare tensor has an empty path.
        tree = tensors[()] if set(tensors) == {()} else unflatten_dict(tensors)
        spec = cls(tree, data["sizes"], data["fixed"], biases)
        if like is None:
            return spec
        spec._matched(like)
        return cls(arranged(spec.axes, like), spec.sizes, spec.fixed, biases)

    @cached_property
    def _canonical(self) -> tuple:
        used = [n for _, axes in self.entries for axis in axes for n in groups_of(axis)]
        names = {name: str(i) for i, name in enumerate(dict.fromkeys(used))}
        return (
            tuple(
                (path, Axes(*axes, roles=roles).renamed(names))
                for (path, axes), roles in zip(self.entries, axis_roles(self), strict=True)
            ),
            tuple((self.sizes[name], name in self.fixed) for name in names),
            frozenset(bias_of_each(self).items()),
        )

    def resembles(self, other: "PermutationSpec") -> bool:
        """Whether two specs differ in nothing but the sizes and the names of their groups."""
        (axes, groups, _), (others, their_groups, _) = self._canonical, other._canonical
        return axes == others and [f for _, f in groups] == [f for _, f in their_groups]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PermutationSpec) and self._canonical == other._canonical

    def __hash__(self) -> int:
        return hash(self._canonical)

    def __repr__(self) -> str:
        return f"PermutationSpec({len(self.entries)} tensors, {len(self.groups)} groups)"

    def __str__(self) -> str:
        told = self.biases or {}
        rows: list[tuple[str, ...]] = [("tensor", "shape", "groups", "bias" if told else "")]
        for path, axes in self.entries:
            groups = ", ".join(map(str, axes))
            groups += f" ({', '.join(axes.roles)})" if axes.roles else ""
            bias = name_of(told[path]) if path in told else ""
            rows.append((name_of(path), "×".join(map(str, self.shape(axes))), groups, bias))
        kinds, where = ("true", "fixed"), self.where
        of_groups = [("group", "size", "", "where")]
        of_groups += [
            (name, str(n), kinds[name in self.fixed], some(where[name], 6, " "))
            for name, n in self.sizes.items()
        ]
        return f"{_table(rows)}\n\n{_table(of_groups)}"


def require_spec(spec: Any) -> PermutationSpec:
    """A spec as it is; raises `SpecError` for anything else, such as a dict of axes."""
    if not isinstance(spec, PermutationSpec):
        raise SpecError(
            f"spec is a {type(spec).__name__}, not a PermutationSpec; infer one with "
            "lopt.infer_spec(loss, params, batch), or write it with PermutationSpec.for_params"
        )
    return spec


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    rows = [tuple(map(printable, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
