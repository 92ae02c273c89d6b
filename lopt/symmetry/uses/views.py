"""The tensors that a value in a traced function is made of, and where in it they lie."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

Places = tuple[frozenset[int], ...]


@dataclass(frozen=True)
class View:
    """A tensor, or a part of one, in a value."""

    tensor: int
    # For each axis of the tensor, the value's axes along which it lies: none where it was summed
    # or picked from, several where it was split.
    places: Places
    # (axis, start) where it is one part of a concatenation, or was cut out of a whole.
    parts: frozenset[tuple[int, int]] = frozenset()
    plain: bool = True  # whether these are the tensor's own entries, and not computed from them
    use: int = 0  # which of its tensor's products, or sums with products, it is

    @property
    def covered(self) -> frozenset[int]:
        """The value's axes along which some axis of the tensor lies."""
        return frozenset().union(*self.places)

    def moved(self, to: Sequence[Iterable[int]]) -> "View":
        """The view after axis i of the value became the axes `to[i]`."""
        places = tuple(frozenset(j for i in old for j in to[i]) for old in self.places)
        parts = frozenset((j, start) for i, start in self.parts for j in to[i])
        return replace(self, places=places, parts=parts)

    def along(self, axes: Iterable[int]) -> frozenset[int]:
        """The axes of the tensor that lie along these axes of the value, and along no other."""
        axes = frozenset(axes)
        return frozenset(i for i, places in enumerate(self.places) if places and places <= axes)


class Value(NamedTuple):
    """A value in a traced function."""

    data: bool = False  # depends on an argument or on an array that the function closes over
    # Of tensors. A value that is data keeps them while they lie along all of its axes, as frozen
    # weights do to which others are added; activations have axes of their own.
    views: tuple[View, ...] = ()
    counts: int | None = None  # the axis along which it is 0, 1, 2, ...
    one_hot: int | None = None  # the axis along which it is one at one index, and else zero
    # The products of tensors with data that it is a sum of: views of the axes not summed over.
    products: tuple[View, ...] = ()
    vectors: tuple[View, ...] = ()  # tensors that were added to the products
    factors: tuple[View, ...] = ()  # tensors that were multiplied into it entry by entry
    composite: bool = False  # a product of tensors, as LoRA's factors are

    def moved(self, to: Sequence[Iterable[int]]) -> "Value":
        """The value after its axis i became the axes `to[i]`."""

        def axis(i: int | None) -> int | None:
            found = () if i is None else tuple(to[i])
            return found[0] if len(found) == 1 else None

        moved = self._with_views(lambda view: view.moved(to))
        return moved._replace(counts=axis(self.counts), one_hot=axis(self.one_hot))

    def cut_to(self, parts: frozenset[tuple[int, int]]) -> "Value":
        """The value's part from these (axis, start) on; it counts no longer."""
        cut = self._with_views(lambda view: replace(view, parts=view.parts | parts))
        return cut._replace(counts=None, one_hot=None)

    def _with_views(self, function: Callable[[View], View]) -> "Value":
        def of(views: tuple[View, ...]) -> tuple[View, ...]:
            return tuple(map(function, views))

        return self._replace(
            views=of(self.views),
            products=of(self.products),
            vectors=of(self.vectors),
            factors=of(self.factors),
        )

    def without_sums(self) -> "Value":
        """The value as it is read elsewhere, too: what is added after that is no bias of it."""
        return self._replace(products=(), vectors=())

    def changed(self) -> "Value":
        """The value after something was computed from each entry."""
        views = tuple(replace(v, plain=False) for v in self.views)
        return Value(self.data, views, composite=self.composite)


def covering(value: Value, shape: Sequence[int]) -> bool:
    """Whether the views of a value lie along all of its axes, but for those of size one."""
    wide = wide_axes(shape)
    covered = frozenset().union(*(v.covered for v in value.views))
    return bool(wide) and wide <= covered


def wide_axes(shape: Sequence[int]) -> frozenset[int]:
    """The axes that are not of size one."""
    return frozenset(i for i, n in enumerate(shape) if n != 1)


def unique(values: Iterable[View], key: Callable[[View], object]) -> tuple[View, ...]:
    """The first of those views that have one key."""
    found: dict[object, View] = {}
    for view in values:
        found.setdefault(key(view), view)
    return tuple(found.values())
