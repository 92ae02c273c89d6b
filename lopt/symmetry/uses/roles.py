"""What each tensor of a spec is, as its uses in a function tell."""

from collections.abc import Mapping

import jax

from lopt.symmetry.axes import Axes
from lopt.symmetry.biases import conventional_biases
from lopt.symmetry.roles import conventional_roles
from lopt.symmetry.spec import PermutationSpec
from lopt.symmetry.uses.evidence import Evidence, Uses

Sides = tuple[frozenset[int], frozenset[int]]


def sides_of(evidence: Evidence) -> list[Sides | None]:
    """For each tensor the axes that it is read along and those that it writes, if that is known."""
    mains = [uses.main for uses in evidence.of]
    return [None if main is None else (main.read, main.written) for main in mains]


def with_uses(spec: PermutationSpec, evidence: Evidence) -> PermutationSpec:
    """A spec with the roles of its axes, where the convention has others, and with its biases.

    - A tensor of which the function sums over axes in a product with data is a matrix: these are
      its inputs, and the others its outputs, but for those of a window.
    - An axis of which single entries are looked up is one of entries: by a gather, a slice at a
      computed position, a product with a one-hot vector. So are the fixed axes of a tensor that is
      added to data and never multiplied: one row for each position.
    - An axis over which a loop runs, which both operands of a product have, or of which single
      entries are matrices or are taken one by one, is a stack of separate tensors. So is, in other
      tensors, an axis of its group, as long as no matrix is read along that group: the first layer
      of an ensemble writes one axis more than the others where all members see the same data.
    - Any other tensor is a vector, but for those that only other tensors were multiplied with: of
      them the convention tells.
    """
    biases = _biases(evidence)
    stacks = _stacks(spec, evidence, biases)
    vectors = set(biases.values())
    leaves = []
    for t, ((_, axes), by_rule) in enumerate(
        zip(spec.entries, conventional_roles(spec), strict=True)
    ):
        uses = evidence.of[t]
        roles = _roles(uses, axes, spec, stacks[t], t in vectors)
        if uses.mixed and set(roles) == {"vector"}:
            roles = by_rule
        leaves.append(axes if roles == by_rule else Axes(*axes, roles=roles))
    found = PermutationSpec(
        jax.tree.unflatten(jax.tree.structure(spec.axes), leaves), spec.sizes, spec.fixed
    )
    paths = [path for path, _ in spec.entries]
    told = {paths[t]: paths[bias] for t, bias in biases.items()}
    if told == conventional_biases(found):
        return found
    return PermutationSpec(found.axes, spec.sizes, spec.fixed, told)


def _biases(evidence: Evidence) -> dict[int, int]:
    """For each matrix that has one its bias; a table that is also a matrix has none."""
    found = {
        t: evidence.bias(t)
        for t, uses in enumerate(evidence.of)
        if uses.main and (not uses.told or _picks_matrices(uses))
    }
    return {t: bias for t, bias in found.items() if bias is not None}


def _stacks(
    spec: PermutationSpec, evidence: Evidence, biases: Mapping[int, int]
) -> list[frozenset[int]]:
    """The axes of each tensor along which it is a stack of separate tensors."""
    own = [_own_stack(t, evidence) for t in range(len(evidence.of))]
    # Vectors at a counter's index are stacked if matrices are, as many of them, at some counter's.
    counted = {
        evidence.shapes[t][i] for t, uses in enumerate(evidence.of) for i in own[t] & uses.picked
    }
    own = [
        stack | {i for i in uses.picked - uses.told if uses.main is None and shape[i] in counted}
        for stack, uses, shape in zip(own, evidence.of, evidence.shapes, strict=True)
    ]
    groups = {axes[i] for (_, axes), stack in zip(spec.entries, own, strict=True) for i in stack}
    for (_, axes), stack, uses in zip(spec.entries, own, evidence.of, strict=True):
        # Weights of a mixture of members read along their axis, too, and write nothing.
        read = uses.main.read - stack if uses.main and uses.main.written else ()
        groups -= {axes[i] for i in read} | {part for i in read for part in _within(axes[i])}
    found = []
    for (_, axes), stack, uses in zip(spec.entries, own, evidence.of, strict=True):
        shared = frozenset(i for i, axis in enumerate(axes) if axis in groups) - uses.picked
        left = frozenset(range(len(axes))) - shared
        main = uses.main
        # A router of experts writes their axis and no other: it stays one matrix.
        whole = main.read & left and main.written & left if main else bool(left)
        found.append(stack | shared if whole else stack)
    for matrix, bias in biases.items():
        of_matrix = {spec.entries[matrix][1][i] for i in found[matrix]}
        axes = spec.entries[bias][1]
        found[bias] |= {i for i, axis in enumerate(axes) if axis in of_matrix}
        looked_up = found[matrix] & evidence.of[matrix].picked
        sizes = {evidence.shapes[matrix][i] for i in looked_up}
        shape, picked = evidence.shapes[bias], evidence.of[bias].picked
        found[bias] |= {i for i in picked if shape[i] in sizes}
    return found


def _within(axis: object) -> tuple:
    return getattr(axis, "factors", ()) or getattr(axis, "parts", ())


def _picks_matrices(uses: Uses) -> bool:
    """Whether what is left of a tensor after a look-up is read and written."""
    main = uses.main
    return main is not None and bool(main.read - uses.picked and main.written - uses.picked)


def _own_stack(tensor: int, evidence: Evidence) -> frozenset[int]:
    """The axes of which this tensor's own uses tell that each index is a tensor."""
    uses = evidence.of[tensor]
    main = uses.main
    used = main.read | main.written if main else frozenset()
    stack = set(main.stacked if main else ()) | (uses.cut - used)
    if _picks_matrices(uses):
        stack |= uses.picked - used
    for scan in uses.scans:
        matrices = any(evidence.of[t].main for t in scan.tensors)
        # A row for each step of data is a position's; one for each step beside matrices, a layer's.
        if matrices or not scan.data:
            stack.add(scan.axis)
    return frozenset(stack)


def _roles(
    uses: Uses, axes: Axes, spec: PermutationSpec, stack: frozenset[int], is_bias: bool
) -> tuple[str, ...]:
    rank, shape = len(axes), spec.shape(axes)
    roles = ["stack" if i in stack else "vector" for i in range(rank)]
    rest = [i for i in range(rank) if i not in stack]
    wide = [i for i in rest if shape[i] != 1]
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
        places = [i for i in wide if axes[i] in spec.fixed]
        if 0 < len(places) < len(wide):
            for i in rest:
                roles[i] = "entry" if i in places else "output" if i in wide else "spatial"
    return tuple(roles)
