"""From symbols to a spec: fixed runs are put together, and groups get names."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax

from lopt.symmetry.axes import Axes, Axis, Product, groups_of, rename
from lopt.symmetry.spec import Path, PermutationSpec, name_of
from lopt.symmetry.symbols import Atom, Symbol, factors, parts, resolve

Moment = tuple[float, int, int]


def name_groups(
    tree: Any, symbols: Sequence[Sequence[Symbol]], order: Callable[[Symbol], float]
) -> PermutationSpec:
    """The spec that a tree of params has when its axes have these symbols.

    Args:
      tree: the params, or anything with their structure.
      symbols: the symbols of the axes of each leaf.
      order: when the function first reads an axis, given its symbol.

    Returns:
      A spec. A group is named after the module of the tensor that introduces it, which is the
      first that the function reads; a fixed one also tells why it is fixed.
    """
    paths = [path for path, _ in jax.tree.leaves_with_path(tree)]
    simplify = _Simplify()
    simple = [[simplify(symbol) for symbol in axes] for axes in symbols]
    first: dict[Atom, tuple[Moment, Path]] = {}
    for i, (path, axes) in enumerate(zip(paths, simple, strict=True)):
        moment = min((order(symbol) for symbol in symbols[i]), default=math.inf)
        for j, axis in enumerate(axes):
            for atom in groups_of(axis):
                here = ((moment, i, j), path)
                first[atom] = min(first.get(atom, here), here, key=lambda pair: pair[0])
    introduced = sorted(first, key=lambda atom: first[atom][0])
    names = _names({atom: first[atom][1] for atom in introduced})
    leaves = [Axes(*(rename(axis, names) for axis in axes)) for axes in simple]
    return PermutationSpec(
        jax.tree.unflatten(jax.tree.structure(tree), leaves),
        {names[atom]: atom.size for atom in introduced},
        [names[atom] for atom in introduced if atom.fixed],
    )


class _Simplify:
    """Reads symbols as axes over atoms; adjacent fixed factors, or parts, become one atom."""

    def __init__(self):
        self._runs: dict[tuple, Atom] = {}

    def __call__(self, symbol: Symbol) -> Axis:
        symbol = resolve(symbol)
        if isinstance(symbol, Atom):
            return symbol
        kind = type(symbol)
        children = factors(symbol) if kind is Product else parts(symbol)
        merged: list[Axis] = []
        run: list[Atom] = []
        for child in map(self, children):
            if isinstance(child, Atom) and child.fixed:
                run.append(child)
                continue
            merged += [*self._one(kind, run), child]
            run = []
        merged += self._one(kind, run)
        return merged[0] if len(merged) == 1 else kind(tuple(merged))

    def _one(self, kind: type, run: list[Atom]) -> list[Atom]:
        if len(run) < 2:
            return run
        n = math.prod(a.size for a in run) if kind is Product else sum(a.size for a in run)
        return [self._runs.setdefault((kind, *run), Atom(n, run[0].fixed))]


def _names(introduced_by: dict[Atom, Path]) -> dict[Atom, str]:
    names: dict[Atom, str] = {}
    for atom, path in introduced_by.items():
        name, number = _name(atom, path), 1
        unique = name
        while unique in names.values():
            number += 1
            unique = f"{name}.{number}"
        names[atom] = unique
    return names


def _name(atom: Atom, path: Path) -> str:
    if atom.fixed in ("input", "output"):
        return atom.fixed
    suffix = atom.fixed or atom.role
    module = re.sub(r"[+*()]", "_", module_of(path))
    return f"{module}.{suffix}" if suffix else module


def module_of(path: Path) -> str:
    """The path of the module that a tensor belongs to; of a bare tensor, its own name.

    >>> module_of((jax.tree_util.DictKey("params"), jax.tree_util.DictKey("Dense_0"),
    ...            jax.tree_util.DictKey("kernel")))
    'Dense_0'
    """
    keys = list(path)
    if len(keys) > 1 and name_of(keys[-1:]) == "value":
        keys = keys[:-1]
    if len(keys) > 1 and name_of(keys[:1]) == "params":
        keys = keys[1:]
    return name_of(keys[:-1] or keys) or "params"
