"""Arrays that are known while a function is traced: positions, and masks made of them.

A mask such as `i == j` is made of two counts, each of which has an order, and has none itself:
permuting both of its axes alike leaves it as it is. Only its values show that. So integers that
depend on constants alone are computed, as NumPy does it, and an array of constants is looked at
where it meets one that is not.
"""

import itertools
import operator
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jax.extend import core

from lopt.symmetry.outside import Outside
from lopt.symmetry.symbols import Atom, Symbol, fix

_LARGE = 2**22
"""Arrays of more elements than a mask of 2048 by 2048 positions are not computed: each is compared
with permuted copies, which takes time."""


class Constant:
    """An array whose values are known, or a tracer if a function is traced within another one."""

    def __init__(self, value: Any):
        self.value = value

    def dims(self) -> tuple[Symbol | None, ...]:
        """New symbols for its axes.

        It may be permuted in any way along axes along which it does not vary, and alike along axes
        that are permuted together without a change. Others are fixed.
        """
        shape = np.shape(self.value)
        dims: list[Symbol | None] = [None] * len(shape)
        for axes in self._varying:
            atom = Atom(shape[axes[0]])
            if len(axes) == 1:
                fix(atom, "constant")
                if self._is_one_for_each:
                    atom.causes = {
                        Outside("constant", f"a constant of shape {shape}", id(self.value))
                    }
            for i in axes:
                dims[i] = atom
        return tuple(dims)

    @cached_property
    def _varying(self) -> list[tuple[int, ...]]:
        """The axes along which the value varies, in tuples as `_together` gives them."""
        if not self._has_numbers:
            return [(i,) for i in range(np.ndim(self.value))]
        value = np.asarray(self.value)
        return _together(value, [i for i in range(value.ndim) if _varies(value, i)])

    @property
    def _is_one_for_each(self) -> bool:
        """Whether it has a number for each index of one axis, as statistics have for units."""
        dtype = getattr(self.value, "dtype", None)
        return len(self._varying) == 1 and jax.dtypes.issubdtype(dtype, np.inexact)

    @property
    def _has_numbers(self) -> bool:
        dtype = getattr(self.value, "dtype", None)
        return not (
            isinstance(self.value, jax.core.Tracer | jax.Ref)
            or jax.dtypes.issubdtype(dtype, jax.dtypes.extended)
        )

    @property
    def counts(self) -> bool:
        """Whether it has whole numbers, or truth values."""
        return self._has_numbers and np.asarray(self.value).dtype.kind in "biu"


def _varies(value: np.ndarray, axis: int) -> bool:
    return value.shape[axis] > 0 and not (value == value.take([0], axis=axis)).all()


def _together(value: np.ndarray, axes: Sequence[int]) -> list[tuple[int, ...]]:
    """The axes in tuples: those in one may be permuted alike without changing the value."""
    found, rest = [], list(axes)
    for count in range(len(rest), 1, -1):
        for some in itertools.combinations(rest, count):
            if set(some) <= set(rest) and _is_symmetric(value, some):
                found.append(some)
                rest = [i for i in rest if i not in some]
    return [*found, *((i,) for i in rest)]


def _is_symmetric(value: np.ndarray, axes: Sequence[int]) -> bool:
    n = value.shape[axes[0]]
    if any(value.shape[i] != n for i in axes):
        return False
    swap = np.r_[1, 0, 2:n]
    # A swap of two indices and a cycle of all of them generate every permutation.
    for order in (swap, np.roll(np.arange(n), 1)):
        moved = value
        for i in axes:
            moved = moved.take(order, axis=i)
        if not (moved == value).all():
            return False
    return True


def computed(eqn: core.JaxprEqn, operands: Sequence[Constant | None]) -> Constant | None:
    """The result of an equation whose operands are known whole numbers; `None` for any other."""
    compute = _COMPUTE.get(eqn.primitive.name)
    if compute is None:
        return None
    known = [np.asarray(x.value) for x in operands if x is not None and x.counts]
    if len(known) < len(operands):
        return None
    out: Any = eqn.outvars[0].aval
    if out.dtype.kind not in "biuf" or out.size > _LARGE:
        return None
    with np.errstate(over="ignore"):
        value = compute(eqn.params, *known)
    return Constant(np.broadcast_to(value.astype(out.dtype), out.shape))


def _iota(params: dict[str, Any]) -> np.ndarray:
    ones = [1] * len(params["shape"])
    ones[params["dimension"]] = -1
    return np.arange(params["shape"][params["dimension"]]).reshape(ones)


def _broadcast(params: dict[str, Any], x: np.ndarray) -> np.ndarray:
    sizes = [1] * len(params["shape"])
    for n, i in zip(x.shape, params["broadcast_dimensions"], strict=True):
        sizes[i] = n
    return x.reshape(sizes)


def _reshape(params: dict[str, Any], x: np.ndarray) -> np.ndarray:
    order = params["dimensions"]
    return (x if order is None else x.transpose(order)).reshape(params["new_sizes"])


def _elementwise(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    return lambda params, *operands: function(*operands)


_COMPUTE: dict[str, Callable[..., np.ndarray]] = {
    "iota": _iota,
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "squeeze": lambda params, x: x.squeeze(params["dimensions"]),
    "transpose": lambda params, x: x.transpose(params["permutation"]),
    "convert_element_type": lambda params, x: x,
    "max": _elementwise(np.maximum),
    "min": _elementwise(np.minimum),
    "and": _elementwise(operator.and_),
    "or": _elementwise(operator.or_),
    "not": _elementwise(operator.invert),
    **{
        name: _elementwise(getattr(operator, name))
        for name in ("add", "sub", "mul", "abs", "eq", "ne", "lt", "le", "gt", "ge")
    },
}
