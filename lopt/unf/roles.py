"""Stacks of tensors of one kind, and which axes share a group: the relational layer's view."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lopt.symmetry import PermutationSpec, block_groups
from lopt.symmetry.blocks import all_blocks, parts_of
from lopt.symmetry.roles import COARSE_ROLES, coarse_roles


@dataclass(frozen=True)
class Stack:
    """Tensors of the same shape and roles."""

    names: tuple[str, ...]
    shape: tuple[int, ...]  # of each tensor
    roles: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]  # of each axis, in each tensor


def block_roles(spec: PermutationSpec) -> dict[str, tuple[str, ...]]:
    """The roles of each block's axes, those of the tensor's axes that they are parts of."""
    found: dict[str, tuple[str, ...]] = {}
    for (_, axes, blocks), roles in zip(all_blocks(spec), coarse_roles(spec), strict=True):
        of_blocks = [tuple(roles[i] for i, _ in part) for part in parts_of(axes)]
        found |= {name: some for (name, _), some in zip(blocks, of_blocks, strict=True)}
    return {name: found[name] for name in block_groups(spec)}


@lru_cache(maxsize=64)
def stacks_for(spec: PermutationSpec) -> tuple[Stack, ...]:
    """The tensors of a weight space, gathered by shape and roles, in the order of their leaves."""
    all_roles = block_roles(spec)
    found: dict[tuple, list[tuple[str, tuple[str, ...]]]] = {}
    for name, groups in block_groups(spec).items():
        shape = tuple(spec.sizes[g] for g in groups)
        found.setdefault((shape, all_roles[name]), []).append((name, groups))
    return tuple(
        Stack(
            names=tuple(name for name, _ in tensors),
            shape=shape,
            roles=roles,
            groups=tuple(zip(*(groups for _, groups in tensors), strict=True)),
        )
        for (shape, roles), tensors in found.items()
    )


@dataclass(frozen=True)
class Role:
    """The axes that have one role."""

    sides: tuple[tuple[int, int], ...]  # (stack, axis), in the order of their units
    index: np.ndarray  # for each unit of each of them, the row of its group's features


@dataclass(frozen=True)
class Relations:
    """Who shares a group."""

    shapes: tuple[tuple[int, ...], ...]  # (tensors, *shape) of each stack
    roles: tuple[Role, ...]  # in the order of `COARSE_ROLES`
    # For each group, (role, first unit, size) of each axis that has it.
    groups: tuple[tuple[tuple[int, int, int], ...], ...]


@lru_cache(maxsize=64)
def relations_of(stacks: tuple[Stack, ...]) -> Relations:
    """Who shares a group, for the stacks of one weight space."""
    members: dict[str, list[tuple[int, int, int]]] = {}
    sides: list[list[tuple[int, int]]] = []
    units: list[list[str]] = []
    for r, role in enumerate(COARSE_ROLES):
        sides.append(
            [(i, k) for i, s in enumerate(stacks) for k, x in enumerate(s.roles) if x == role]
        )
        units.append([])
        start = 0
        for i, k in sides[-1]:
            size = stacks[i].shape[k]
            for group in stacks[i].groups[k]:
                members.setdefault(group, []).append((r, start, size))
                units[-1].append(group)
                start += size
    sizes = {group: axes[0][2] for group, axes in members.items()}
    starts = dict(zip(sizes, np.cumsum([0, *sizes.values()]), strict=False))
    roles = tuple(
        Role(
            tuple(s),
            np.concatenate([[], *(starts[g] + np.arange(sizes[g]) for g in u)]).astype(int),
        )
        for s, u in zip(sides, units, strict=True)
    )
    return Relations(
        shapes=tuple((len(s.names), *s.shape) for s in stacks),
        roles=roles,
        groups=tuple(tuple(m) for m in members.values()),
    )
