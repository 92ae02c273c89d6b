"""The evaluation plan of the exact layer: plain data, made once for each spec.

An equivariant linear map from one tensor to another is a set partition of the axes of both
(Zhou, Finn & Harrison, arXiv 2402.05232). Restricted to the input's axes, a partition says which
diagonals to take and which of them to average; restricted to the output's, where to broadcast and
which diagonals to write on; in between, it matches the axes that are kept. So a basis term is

    broadcast to the output  ∘  channels in × channels out  ∘  reduction of the input

and it is named by a reduction and a broadcast that have the same kept axes, their *signature*.
The plan therefore has, for each signature, ONE matmul: of all reductions with this signature,
concatenated along channels, with the coefficients of all broadcasts from it.

Tensors with the same groups are *bundled* first: concatenated along channels, they share every
reduction and every broadcast.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from lopt.symmetry import PermutationSpec, block_groups

Groups = tuple[str, ...]
Block = tuple[int, ...]


@dataclass(frozen=True)
class Bundle:
    """Tensors that have the same groups, up to the order of their axes."""

    groups: Groups
    names: tuple[str, ...]  # in the order of their channels
    transposes: tuple[tuple[int, ...], ...]  # of each tensor's axes, to give `groups`


@dataclass(frozen=True)
class Reduction:
    """A reduction of a bundle; read the other way, a broadcast to it."""

    bundle: int
    kept: tuple[Block, ...]  # blocks that remain as one axis each, by their first axis
    averaged: tuple[Block, ...]  # blocks that are averaged; in the other direction, broadcast over
    groups: Groups  # of each kept block
    size: int  # how many elements of each channel remain
    parent: int | None  # the reduction that it is made from; None for the bundle itself
    axes: Block  # the one axis of the parent that is averaged, or the two of the diagonal; or none


@dataclass(frozen=True)
class Matmul:
    """All basis terms of one signature."""

    groups: Groups  # the signature
    inputs: tuple[tuple[int, tuple[int, ...]], ...]  # (reduction, transpose to the signature)
    outputs: tuple[tuple[int, tuple[int, ...]], ...]  # (reduction, transpose from the signature)
    size: int  # how many rows the matmul has


@dataclass(frozen=True)
class Plan:
    """The reductions and matmuls of an exact layer.

    Attributes:
      bundles: the tensors, gathered by their groups.
      reductions: all reductions of all bundles, each behind its parent.
      matmuls: one for each signature.
    """

    bundles: tuple[Bundle, ...]
    reductions: tuple[Reduction, ...]
    matmuls: tuple[Matmul, ...]

    def width(self, reduction: int) -> int:
        """How many tensors lie side by side in a reduction's channels."""
        return len(self.bundles[self.reductions[reduction].bundle].names)

    def inputs_of(self, matmul: Matmul) -> int:
        """How many tensors lie side by side in a matmul's input channels."""
        return sum(self.width(i) for i, _ in matmul.inputs)

    def outputs_of(self, matmul: Matmul) -> int:
        """How many tensors lie side by side in a matmul's output channels."""
        return sum(self.width(i) for i, _ in matmul.outputs)

    def is_identity(self, source: int, target: int, order: tuple[int, ...]) -> bool:
        """Whether the terms from a reduction to another map each element to its own place."""
        return (
            source == target
            and self.reductions[source].parent is None
            and order == tuple(range(len(order)))
        )

    @property
    def terms(self) -> int:
        """How many basis terms there are."""
        return sum(self.inputs_of(m) * self.outputs_of(m) for m in self.matmuls)

    def terms_into(self, bundle: int) -> int:
        """How many basis terms end in each tensor of a bundle."""
        return sum(
            self.inputs_of(m)
            for m in self.matmuls
            for i, _ in m.outputs
            if self.reductions[i].bundle == bundle
        )

    @property
    def tensors(self) -> int:
        """How many tensors there are."""
        return sum(len(b.names) for b in self.bundles)

    def coefficients(self, features_in: int, features_out: int, use_bias: bool = True) -> int:
        """How many meta-parameters a layer with these channels has."""
        biases = self.tensors * features_out if use_bias else 0
        return self.terms * features_in * features_out + biases

    def __str__(self) -> str:
        lines = [
            f"{self.terms} basis terms between {self.tensors} tensors: {len(self.bundles)} bundles,"
            f" {len(self.reductions)} reductions, {len(self.matmuls)} matmuls",
            "",
            "bundles",
        ]
        for b in self.bundles:
            lines.append(f"  ({', '.join(b.groups)})  {' '.join(b.names)}")
        lines += ["", "reductions"]
        for i, r in enumerate(self.reductions):
            lines.append(f"  {i}: {self._describe(r)}")
        lines += ["", "matmuls"]
        for m in self.matmuls:
            shape = f"{m.size}×{self.inputs_of(m)}c by {self.inputs_of(m)}c×{self.outputs_of(m)}c"
            sources = " ".join(str(i) for i, _ in m.inputs)
            targets = " ".join(str(i) for i, _ in m.outputs)
            lines.append(f"  ({', '.join(m.groups)})  {shape}: {sources} -> {targets}")
        return "\n".join(lines)

    def _describe(self, r: Reduction) -> str:
        shape = f"({', '.join(r.groups)})"
        if r.parent is None:
            return f"{shape} = {' '.join(self.bundles[r.bundle].names)}"
        verb = "mean" if len(r.axes) == 1 else "diagonal"
        return f"{shape} = {verb} of {r.parent} over {', '.join(map(str, r.axes))}"


def plan_for(spec: PermutationSpec) -> Plan:
    """The plan of the exact layer over a spec.

    Example:
      >>> from lopt.symmetry import Axes
      >>> spec = PermutationSpec({"w": Axes("n", "n"), "b": Axes("n")}, {"n": 4})
      >>> plan_for(spec).terms  # Bell(4) + 2 Bell(3) + Bell(2)
      27
    """
    return _make_plan(tuple(block_groups(spec).items()), tuple(spec.sizes.items()))


@lru_cache(maxsize=64)
def _make_plan(blocks: tuple[tuple[str, Groups], ...], sizes: tuple[tuple[str, int], ...]) -> Plan:
    bundles = _bundle(blocks)
    reductions: list[Reduction] = []
    for i, bundle in enumerate(bundles):
        reductions += _lattice(i, bundle, dict(sizes), len(reductions))
    return Plan(bundles, tuple(reductions), _matmuls(reductions))


def _bundle(blocks: tuple[tuple[str, Groups], ...]) -> tuple[Bundle, ...]:
    bundles = []
    for members in _alike([groups for _, groups in blocks]):
        tensors = [blocks[i] for i in members]
        (_, first), *_ = tensors
        bundles.append(
            Bundle(
                groups=first,
                names=tuple(name for name, _ in tensors),
                transposes=tuple(_alignment(groups, first) for _, groups in tensors),
            )
        )
    return tuple(bundles)


def _alike(named: Sequence[Groups]) -> list[list[int]]:
    """The indices of those that have the same groups, up to the order of their axes."""
    found: dict[Groups, list[int]] = {}
    for i, groups in enumerate(named):
        found.setdefault(tuple(sorted(groups)), []).append(i)
    return list(found.values())


def _alignment(groups: Groups, target: Groups) -> tuple[int, ...]:
    """The transpose that brings axes with these groups into the target's order."""
    places: dict[str, Iterator[int]] = {
        g: iter([i for i, h in enumerate(groups) if h == g]) for g in groups
    }
    return tuple(next(places[g]) for g in target)


def _lattice(index: int, bundle: Bundle, sizes: Mapping[str, int], offset: int) -> list[Reduction]:
    """All reductions of a bundle, the least reduced first."""
    groups = bundle.groups

    def size(kept: tuple[Block, ...]) -> int:
        return math.prod(sizes[groups[block[0]]] for block in kept)

    states: list[State] = []
    for blocks in _partitions(groups):
        for mask in itertools.product((True, False), repeat=len(blocks)):
            dropped = [not keep for keep in mask]
            kept, averaged = (tuple(itertools.compress(blocks, m)) for m in (mask, dropped))
            states.append((kept, averaged))
    states.sort(key=lambda state: (-len(state[0]), -len(state[1])))
    places = {state: offset + i for i, state in enumerate(states)}
    reductions = []
    for kept, averaged in states:
        parents = list(_parents(kept, averaged))
        parent, axes = min(parents, key=lambda p: size(p[0][0])) if parents else (None, ())
        reductions.append(
            Reduction(
                bundle=index,
                kept=kept,
                averaged=averaged,
                groups=tuple(groups[block[0]] for block in kept),
                size=size(kept),
                parent=None if parent is None else places[parent],
                axes=axes,
            )
        )
    return reductions


State = tuple[tuple[Block, ...], tuple[Block, ...]]


def _parents(kept: tuple[Block, ...], averaged: tuple[Block, ...]) -> Iterator[tuple[State, Block]]:
    """The states from which one step leads to this one, with its axes."""
    for block in averaged:
        larger = tuple(sorted((*kept, block)))
        rest = tuple(b for b in averaged if b != block)
        yield (larger, rest), (larger.index(block),)
    for block in kept:
        if len(block) > 1:
            first, second = block[:-1], block[-1:]
            larger = tuple(sorted((*(b for b in kept if b != block), first, second)))
            yield (larger, averaged), (larger.index(first), larger.index(second))


def _partitions(groups: Groups) -> Iterator[tuple[Block, ...]]:
    """Set partitions of the axes into blocks of one group each, blocks by their first axis."""

    def extend(blocks: tuple[Block, ...], axis: int) -> Iterator[tuple[Block, ...]]:
        if axis == len(groups):
            yield blocks
            return
        for i, block in enumerate(blocks):
            if groups[block[0]] == groups[axis]:
                yield from extend((*blocks[:i], (*block, axis), *blocks[i + 1 :]), axis + 1)
        yield from extend((*blocks, (axis,)), axis + 1)

    yield from extend((), 0)


def _matmuls(reductions: list[Reduction]) -> tuple[Matmul, ...]:
    matmuls = []
    for members in _alike([r.groups for r in reductions]):
        largest = min(members, key=lambda i: (reductions[i].parent is not None, i))
        signature = reductions[largest].groups
        matmuls.append(
            Matmul(
                groups=signature,
                inputs=tuple((i, _alignment(reductions[i].groups, signature)) for i in members),
                outputs=tuple(
                    (i, order)
                    for i in members
                    for order in _alignments(signature, reductions[i].groups)
                ),
                size=reductions[largest].size,
            )
        )
    return tuple(matmuls)


def _alignments(groups: Groups, target: Groups) -> Iterator[tuple[int, ...]]:
    """All transposes that bring axes with these groups into the target's order."""
    first = _alignment(groups, target)
    for order in itertools.permutations(range(len(groups))):
        if all(groups[a] == groups[b] for a, b in zip(first, order, strict=True)):
            yield order
