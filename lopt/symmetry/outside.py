"""Hidden units that values from outside of the params tell apart, although training need not.

A dropout mask and the statistics of a batch norm in evaluation have a value for each hidden unit.
They fix the units, rightly, and a model that is trained without them has these symmetries. So a
fixed atom knows its causes, and where all of them are such values, a warning says what to do.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from lopt.base.printed import some
from lopt.symmetry.paths import Path, name_of
from lopt.symmetry.symbols import Atom, Symbol, atoms


class FixedUnitsWarning(UserWarning):
    """Random numbers or statistics from outside of the params have fixed hidden units."""


@dataclass(frozen=True)
class Outside:
    """A cause for which an atom is fixed."""

    # "random"; "constant" or "statistic" of what has a value for each unit and nothing else;
    # "batch" of any other argument.
    kind: str
    name: str  # of the primitive, the argument's path, or the constant's shape
    key: int = 0  # tells constants of one shape apart, and has the order of the arguments


def of_argument(aval: Any, name: str, key: int) -> tuple[Atom, ...]:
    """A fixed atom for each axis of an argument: an input, or of integers a position."""
    if not jax.dtypes.issubdtype(aval.dtype, np.inexact):
        return tuple(Atom(n, "position", read=True) for n in aval.shape)
    # Batches have further axes, and so have tables that a model cannot do without.
    kind = "statistic" if sum(n > 1 for n in aval.shape) == 1 else "batch"
    causes = [Outside(kind, name, key)]
    return tuple(Atom(n, "input", read=True, causes=causes) for n in aval.shape)


def argument_name(causes: Iterable[Hashable]) -> str:
    """The name of the first argument that fixes an atom; empty if it has none."""
    given = [c for c in causes if isinstance(c, Outside) and c.kind in ("batch", "statistic")]
    if not given:
        return ""
    names = min(given, key=lambda cause: cause.key).name.split("/")
    return next((n for n in reversed(names) if not n.isdigit() and n != "args"), "")


def advice(paths: Sequence[Path], symbols: Sequence[Sequence[Symbol]]) -> str | None:
    """Advice on hidden units that only values from outside fix; `None` if there are none."""
    places: dict[Atom, list[tuple[int, str]]] = {}
    for path, axes in zip(paths, symbols, strict=True):
        for i, symbol in enumerate(axes if len(axes) > 1 else ()):
            for atom in atoms(symbol):
                places.setdefault(atom, []).append((i, f"{name_of(path)}.{i}"))
    # Matrices have a hidden group along different axes, since one writes it and another reads it.
    hidden = {atom: found for atom, found in places.items() if len({i for i, _ in found}) > 1}
    lost = {atom: found[0][1] for atom, found in hidden.items() if _only_outside(atom)}
    if not lost:
        return None
    causes = {c for atom in lost for c in atom.causes if isinstance(c, Outside)}
    random = some(sorted({c.name for c in causes if c.kind == "random"}), 3)
    values = some(sorted({c.name for c in causes if c.kind != "random"}), 3)
    where = some(sorted(set(lost.values())), 3)
    said = []
    if random:
        said.append(
            f"random numbers ({random}) fix the hidden units along {where}: infer the spec with "
            "dropout off (deterministic=True), and train with it on; noise of the model itself, as "
            "a VAE's, fixes units rightly"
        )
    if values:
        said.append(
            f"a value for each unit that is no param ({values}) fixes the hidden units along "
            f"{where}: infer the spec as in training (use_running_average=False), or pass "
            "statistics among the params"
        )
    return f"infer_spec: {'; '.join(said)}"


def _only_outside(atom: Atom) -> bool:
    """Whether an atom is fixed by random numbers, an argument or constants alone.

    A single constant is no statistic, which would be a mean and a variance; it may be a decay of
    heads, or another of the constants that a model has by itself.
    """
    outside = [cause for cause in atom.causes if isinstance(cause, Outside)]
    kinds = {cause.kind for cause in outside}
    enough = len(outside) == len(atom.causes) > (kinds == {"constant"})
    return enough and "batch" not in kinds
