"""Tables for the command line: of all tasks, of all data, of one task's params."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lopt.base.parts import Parts, build, describe
from lopt.base.printed import printable
from lopt.data import DATASETS, TEXTS
from lopt.data.tfds import find
from lopt.symmetry.paths import leaves_with_path, name_of
from lopt.tasks.registry import TASKS


def task_table() -> Table:
    """Every task: what it is, its arguments with their defaults, how many params those give."""
    table = Table("task", "arguments", "params", "data", title="tasks")
    for name in TASKS:
        task = build(TASKS, name)
        params, _ = jax.eval_shape(task.init, jax.random.key(0))
        source = task.source.partition(", sha")[0]
        _add_row(table, name, _arguments(TASKS[name]), f"{_size(params):,}", source)
    return table


def data_table() -> Table:
    """Every data set, its arguments with their defaults, and whether it is here."""
    table = Table("data", "arguments", "here", title="data sets and texts")
    for parts in (DATASETS, TEXTS):
        for name in parts:
            _add_row(table, name, _arguments(parts[name]), _whereabouts(parts, name))
    return table


def show(part: str) -> RenderableType:
    """A task's params with their neuron groups, and the groups."""
    task = build(TASKS, part)
    params, _ = jax.eval_shape(task.init, jax.random.key(0))
    spec = task.spec
    shapes = dict(leaves_with_path(params))
    tensors = Table("tensor", "shape", "params", "neuron groups")
    for path, axes in spec.entries:
        shape = shapes[path].shape
        _add_row(
            tensors,
            name_of(path),
            "×".join(map(str, shape)),
            f"{np.prod(shape, dtype=int):,}",
            ", ".join(map(str, axes)),
        )
    groups = Table("group", "size", "")
    for name, size in spec.sizes.items():
        _add_row(groups, name, str(size), "fixed" if name in spec.fixed else "true")
    title = f"{describe(part)}: {_size(params):,} params in {len(shapes)} tensors"
    return Group(Text(printable(title)), tensors, Text(), groups)


def _add_row(table: Table, *cells: str) -> None:
    """Add a row of texts as they are: rich takes brackets in a plain one for markup."""
    table.add_row(*(Text(printable(cell)) for cell in cells))


def _size(params: Any) -> int:
    return sum(int(np.prod(p.shape)) for p in jax.tree.leaves(params))


def _arguments(make: Callable[..., Any]) -> str:
    def words() -> Iterator[str]:
        for name, parameter in inspect.signature(make).parameters.items():
            bare = parameter.default is parameter.empty
            yield name if bare else f"{name}={parameter.default!r}"

    return ", ".join(words())


def _whereabouts(parts: Parts, name: str) -> str:
    if name == "tfds":
        return "if prepared"
    bound = getattr(parts[name], "args", None)
    if not bound:
        return "yes"
    return "yes" if find(*bound) else "no"
