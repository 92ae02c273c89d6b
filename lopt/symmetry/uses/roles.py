"""The roles of axes and the biases of tensors, told from their uses in a function."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax

from lopt.symmetry.axes import Axes, Axis, Product, Sum
from lopt.symmetry.roles import conventional_biases, conventional_roles
from lopt.symmetry.spec import PermutationSpec
from lopt.symmetry.uses.evidence import Evidence, Uses

Sides = tuple[frozenset[int], frozenset[int]]


def sides_of(evidence: Evidence) -> list[Sides | None]:
    """For each tensor the axes that it is read along and those that it writes, if that is known."""
    mains = [uses.main for uses in evidence.of]
    return [None if main is None else (main.read, main.written) for main in mains]


@dataclass
class _Tensor:
    axes: Axes
    shape: tuple[int, ...]
    uses: Uses
    stack: frozenset[int] = frozenset()

    def picks_matrices(self) -> bool:
        """Whether what is left after a look-up is read and written."""
        main, picked = self.uses.main, self.uses.picked
        return main is not None and bool(main.read - picked and main.written - picked)


def with_uses(spec: PermutationSpec, evidence: Evidence) -> PermutationSpec:
    """A spec with the roles of its axes, where the convention has others, and with its biases.

    The definitions of tables, stacks, matrices and vectors are under "What a tensor is" in
    docs/symmetry.md. The fixed axes of a tensor that is added to data and never multiplied are
    entries: it has one row for each position. An axis of a stack's group is a stack's in other
    tensors, too, as long as no matrix is read along that group: the first layer of an ensemble
    writes one axis more than the others where all members see the same data. Of tensors that only
    other tensors were multiplied with, the convention tells.
    """
    entries = zip(spec.entries, evidence.shapes, evidence.of, strict=True)
    tensors = [_Tensor(axes, shape, uses) for (_, axes), shape, uses in entries]
    biases = _biases(tensors, evidence)
    _find_stacks(tensors, biases)
    leaves = []
    for t, (tensor, by_convention) in enumerate(
        zip(tensors, conventional_roles(spec), strict=True)
    ):
        roles = _roles(tensor, spec.fixed, is_bias=t in biases.values())
        if tensor.uses.mixed and set(roles) == {"vector"}:
            roles = by_convention
        leaves.append(tensor.axes if roles == by_convention else Axes(*tensor.axes, roles=roles))
    axes = jax.tree.unflatten(jax.tree.structure(spec.axes), leaves)
    found = PermutationSpec(axes, spec.sizes, spec.fixed)
    paths = [path for path, _ in spec.entries]
    told = {paths[t]: paths[bias] for t, bias in biases.items()}
    if told == conventional_biases(found):
        return found
    return PermutationSpec(axes, spec.sizes, spec.fixed, told)


def _biases(tensors: Sequence[_Tensor], evidence: Evidence) -> dict[int, int]:
    """For each matrix that has one its bias; a table that is also a matrix has none."""
    found = {
        t: evidence.bias(t)
        for t, tensor in enumerate(tensors)
        if tensor.uses.main and (not tensor.uses.told or tensor.picks_matrices())
    }
    return {t: bias for t, bias in found.items() if bias is not None}


def _find_stacks(tensors: Sequence[_Tensor], biases: Mapping[int, int]) -> None:
    """Note the axes of each tensor along which it is a stack of separate tensors."""
    for tensor in tensors:
        tensor.stack = _own_stack(tensor, tensors)
    # Vectors at a counter's index are stacked if matrices are, as many of them, at some counter's.
    counted = {x.shape[i] for x in tensors for i in x.stack & x.uses.picked}
    for x in tensors:
        if x.uses.main is None:
            x.stack |= {i for i in x.uses.picked - x.uses.told if x.shape[i] in counted}
    _share_stacks(tensors)
    for t, b in biases.items():
        matrix, bias = tensors[t], tensors[b]
        groups = {matrix.axes[i] for i in matrix.stack}
        sizes = {matrix.shape[i] for i in matrix.stack & matrix.uses.picked}
        bias.stack |= {i for i, axis in enumerate(bias.axes) if axis in groups}
        bias.stack |= {i for i in bias.uses.picked if bias.shape[i] in sizes}


def _own_stack(tensor: _Tensor, tensors: Sequence[_Tensor]) -> frozenset[int]:
    """The axes of which a tensor's own uses tell that each index is a tensor."""
    uses, main = tensor.uses, tensor.uses.main
    used = main.read | main.written if main else frozenset()
    stack = set(main.stacked if main else ()) | (uses.cut - used)
    if tensor.picks_matrices():
        stack |= uses.picked - used
    for scan in uses.scans:
        matrices = any(tensors[t].uses.main for t in scan.tensors)
        # A row for each step of data is a position's; one for each step beside matrices, a layer's.
        if matrices or not scan.data:
            stack.add(scan.axis)
    return frozenset(stack)


def _share_stacks(tensors: Sequence[_Tensor]) -> None:
    """Note that an axis of a stack's group is a stack's in other tensors, too."""
    groups = {x.axes[i] for x in tensors for i in x.stack}
    for x in tensors:
        # Weights of a mixture of members read along their axis, too, and write nothing.
        read = x.uses.main.read - x.stack if x.uses.main and x.uses.main.written else ()
        groups -= {axis for i in read for axis in _with_parts(x.axes[i])}
    for x in tensors:
        shared = frozenset(i for i, axis in enumerate(x.axes) if axis in groups) - x.uses.picked
        left, main = frozenset(range(len(x.axes))) - shared, x.uses.main
        # A router of experts writes their axis and no other: it stays one matrix.
        if main.read & left and main.written & left if main else left:
            x.stack |= shared


def _with_parts(axis: Axis) -> tuple[Axis, ...]:
    if isinstance(axis, Product):
        return (axis, *axis.factors)
    return (axis, *axis.parts) if isinstance(axis, Sum) else (axis,)


def _roles(tensor: _Tensor, fixed: frozenset[str], is_bias: bool) -> tuple[str, ...]:
    uses, stack = tensor.uses, tensor.stack
    roles = ["stack" if i in stack else "vector" for i in range(len(tensor.axes))]
    rest = [i for i in range(len(tensor.axes)) if i not in stack]
    wide = [i for i in rest if tensor.shape[i] != 1]
    picked = (uses.picked | {s.axis for s in uses.scans}) - stack
    main = uses.main or (uses.writing if not is_bias else None)
    if picked:
        if any(i not in picked for i in wide):
            for i in rest:
                roles[i] = "entry" if i in picked else "output"
    elif main and (uses.main or set(wide) - main.written):
        read = main.read if uses.main else set(rest) - main.written
        for i in rest:
            roles[i] = "input" if i in read else "output"
            if i not in read and i not in main.written and uses.main and main.written:
                roles[i] = "spatial"
    elif uses.sums and not is_bias and len(wide) > 1:
        places = [i for i in wide if tensor.axes[i] in fixed]
        if 0 < len(places) < len(wide):
            for i in rest:
                roles[i] = "entry" if i in places else "output" if i in wide else "spatial"
    return tuple(roles)
