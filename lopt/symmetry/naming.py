"""From symbols to a spec: fixed runs are put together, and groups get names.

How groups are named, with examples of paths:

- A group is named after the module of the first tensor that has it, in the order in which the
  function reads them: the columns of `params/Dense_0/kernel` are `Dense_0`, and the rows of
  `params/Dense_1/kernel`, which are the same group, are `Dense_0` too.
- A bare tensor is its own module: the columns of `params["w1"]` are `w1`.
- A group that is on two axes of one tensor, as a recurrent kernel's, is a state and is named after
  the module around: `encoder/cell/hr/kernel` gives `encoder/cell`, and so for all gates.
- A fixed group has its reason behind a dot: rows of an embedding that are looked up are
  `Embed_0.entries`, a convolution's window is `Conv_0.space`.
- One that is an argument's axis or the result's is just `input` or `output`. So are others that
  matrices only read, or only write: a batch that is closed over is an input, and what a loss
  compares with labels is an output. `stack([x, t])` is a `stacked input`.
- Of several inputs each has the name of its argument, `context`; several outputs have those of
  their modules, `policy output` and `value output`.
- Two groups of one name are told apart by a number: `qkv`, `qkv.2`.
"""

import itertools
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from lopt.symmetry.axes import Axes, Product, groups_of, rename
from lopt.symmetry.outside import argument_name
from lopt.symmetry.paths import Path, leaves_with_path, name_of
from lopt.symmetry.spec import PermutationSpec
from lopt.symmetry.symbols import Atom, Symbol, factors, parts, resolve


def name_groups(
    tree: Any,
    symbols: Sequence[Sequence[Symbol]],
    order: Mapping[Symbol, int],
    sides: Sequence[tuple[frozenset[int], frozenset[int]] | None],
) -> PermutationSpec:
    """The spec, with names as above, of params whose leaves' axes have these symbols.

    `order` tells when the function first reads a symbol; `sides` the axes that each tensor is read
    along and those that it writes, where that is known.
    """
    paths = [path for path, _ in leaves_with_path(tree)]
    simplify = _Simplify()
    simple: list[list[Any]] = [[simplify(symbol) for symbol in axes] for axes in symbols]
    moments = [min((order.get(s, math.inf) for s in axes), default=math.inf) for axes in symbols]
    introduced: dict[Atom, str] = {}
    states: dict[Atom, set[str]] = {}
    for i in sorted(range(len(paths)), key=lambda i: moments[i]):
        module = module_of(paths[i])
        axes: list[tuple[Any, ...]] = [groups_of(axis) for axis in simple[i]]
        for atom in (atom for atoms in axes for atom in atoms):
            introduced.setdefault(atom, module)
            if sum(atom in atoms for atoms in axes) > 1:
                states.setdefault(atom, set()).add(parent_of(module))
    for atom, module in introduced.items():
        if parent_of(module) in states.get(atom, ()):
            introduced[atom] = parent_of(module) or module
    names: Any = _names(introduced, *_ends(simple, sides))
    leaves = [Axes(*(rename(axis, names) for axis in axes)) for axes in simple]
    return PermutationSpec(
        jax.tree.unflatten(jax.tree.structure(tree), leaves),
        {names[atom]: int(atom.size) for atom in introduced},
        [names[atom] for atom in introduced if atom.fixed],
    )


class _Simplify:
    """Reads symbols as axes over atoms; adjacent fixed factors, or parts, become one atom."""

    def __init__(self):
        self._runs: dict[tuple, Atom] = {}

    def __call__(self, symbol: Symbol) -> Any:
        symbol = resolve(symbol)
        if isinstance(symbol, Atom):
            return symbol
        kind: Any = type(symbol)
        children = factors(symbol) if kind is Product else parts(symbol)
        merged: list[Any] = []
        for fixed, group in itertools.groupby(map(self, children), _is_fixed):
            run = list(group)
            merged += self._one(kind, run) if fixed else run
        return merged[0] if len(merged) == 1 else kind(tuple(merged))

    def _one(self, kind: Any, run: list[Atom]) -> list[Atom]:
        if len(run) < 2:
            return run
        n = math.prod(a.size for a in run) if kind is Product else sum(a.size for a in run)
        why = next((a.fixed for a in run if a.fixed != "single"), "stacked")
        causes = {cause for a in run for cause in a.causes}
        return [self._runs.setdefault((kind, *run), Atom(n, why, causes=causes))]


def _is_fixed(axis: Any) -> bool:
    return isinstance(axis, Atom) and bool(axis.fixed)


def _ends(
    symbols: Sequence[Sequence[Any]], sides: Sequence[tuple[frozenset[int], frozenset[int]] | None]
) -> tuple[set[Any], set[Any]]:
    """The atoms that matrices only read along, and those that they only write.

    Where nothing tells, a matrix writes its last axis; what it is read along is not known then.
    """
    read: set[Any] = set()
    written: set[Any] = set()
    others: set[Any] = set()
    for axes, of_tensor in zip(symbols, sides, strict=True):
        for i, axis in enumerate(axes if len(axes) > 1 else ()):
            last = i in of_tensor[1] if of_tensor else i == len(axes) - 1
            (written if last else others).update(groups_of(axis))
            if of_tensor and i in of_tensor[0]:
                read.update(groups_of(axis))
    return read - written, written - others


_READ = {"constant": "input", "single": "input", "stacked": "stacked input", "random": "noise"}
"""The name of a fixed atom that matrices only read, by its reason."""

_WRITTEN = ("input", "output", "constant", "single")
"""The reasons for which an atom that matrices only write is called an output."""


def _names(introduced: dict[Atom, str], read: set[Atom], written: set[Atom]) -> dict[Atom, str]:
    labels = {a: _label(a, m, a in read, a in written) for a, m in introduced.items()}
    several = {label for label, n in Counter(labels.values()).items() if n > 1}
    # A layer with one output may have its bias apart: nothing says that they are one.
    of_one = {m for a, m in introduced.items() if a.size == 1 and labels[a] == "output"}
    names: dict[Atom, str] = {}
    for atom, module in introduced.items():
        name, number = labels[atom], 1
        if atom.fixed == "single" and module in of_one:
            name = "output"
        if name in several & {"input", "output"}:
            argument = argument_name(atom.causes) if name == "input" else ""
            name = _plain(argument) if argument else f"{_plain(module)} {name}"
        unique = name
        while unique in names.values():
            number += 1
            unique = f"{name}.{number}"
        names[atom] = unique
    return names


def _label(atom: Atom, module: str, read: bool, written: bool) -> str:
    if written and atom.fixed in _WRITTEN:
        return "output"
    if read and atom.fixed in _READ:
        return _READ[atom.fixed]
    if atom.fixed in ("input", "output"):
        return atom.fixed
    suffix = atom.fixed or atom.role
    return f"{_plain(module)}.{suffix}" if suffix else _plain(module)


def _plain(name: str) -> str:
    """A name without what would make it a composite axis."""
    return re.sub(r"[+*()]", "_", name)


def module_of(path: Path) -> str:
    """The path of the module that a tensor belongs to; of a bare tensor, its own name.

    >>> module_of(("params", "Dense_0", "kernel"))
    'Dense_0'
    """
    keys = path[1:] if len(path) > 1 and path[0] == "params" else path
    return name_of(keys[:-1] or keys) or "params"


def parent_of(module: str) -> str:
    """The module around a module; empty for one that stands alone.

    >>> parent_of("encoder/cell/hr"), parent_of("Dense_0")
    ('encoder/cell', '')
    """
    return module.rpartition("/")[0]
