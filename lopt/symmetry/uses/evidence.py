"""Evidence of how a function uses each tensor: products, look-ups, loops and sums."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from lopt.symmetry.uses.views import Value, View, wide_axes

Axes = frozenset[int]


@dataclass
class Product:
    """One product of a tensor with data."""

    read: Axes  # that are summed over
    written: Axes  # that the result has
    stacked: Axes  # that both operands have, so that each index is a product of its own
    convolved: bool = False
    # Tensors that are added to the result before anything else reads it, in this order.
    biases: list[int] = field(default_factory=list)


class Scan(NamedTuple):
    """A loop over a tensor's axis."""

    axis: int
    tensors: frozenset[int]  # all that the loop runs over
    data: bool  # whether it runs over data as well


@dataclass
class Uses:
    """Evidence about one tensor, in the order in which the function has it."""

    products: list[Product] = field(default_factory=list)  # with data
    picked: set[int] = field(default_factory=set)  # axes that are looked up at computed positions
    told: set[int] = field(default_factory=set)  # those of them that data tell, and not a counter
    cut: set[int] = field(default_factory=set)  # axes that are indexed with literal numbers
    scans: list[Scan] = field(default_factory=list)
    mixed: bool = False  # multiplied with another tensor
    # For each time that it is added to data, the tensors of the products that it fits.
    sums: list[set[int]] = field(default_factory=list)

    @property
    def main(self) -> Product | None:
        """The product that tells the tensor's sides.

        Derivatives within the function read a tensor from its other side, and so does the power
        iteration of a spectral norm: one with a bias is the layer's own, and so is a convolution.
        Otherwise most of those with axes to sum over tell, and of as many, as in an autoencoder
        whose decoder is its encoder transposed, the first.
        """
        reading = [p for p in self.products if p.read]
        votes = Counter(p.read for p in reading)
        return max(
            reading, key=lambda p: (bool(p.biases), p.convolved, votes[p.read]), default=None
        )

    @property
    def writing(self) -> Product | None:
        """The first product that writes, for tensors that nothing reads along but other tensors."""
        return next((p for p in self.products if p.written), None)

    @property
    def biases(self) -> list[int]:
        """The tensors that are added to the products that agree with the main one."""
        main = self.main or self.writing
        alike = [p for p in self.products if main and p.read == main.read]
        found = [p.biases for p in alike if p.biases]
        # Two of one product have one gradient; of two products with their own, neither tells.
        return [b for b in found[0] if all(b in biases for biases in found)] if found else []


class Evidence:
    """The uses of all tensors of a function."""

    def __init__(self, shapes: Sequence[tuple[int, ...]]):
        self.shapes = list(shapes)
        self.of = [Uses() for _ in shapes]

    def product(
        self, weight: Value, read: Iterable[int], batch: Iterable[int], windows: Iterable[int] = ()
    ) -> list[View]:
        """Note a product of a value with data; returns its views, knowing which product it is.

        `read` are the axes that are summed over, `batch` those that both operands have.
        """
        taken = frozenset((*read, *batch, *windows))
        found = []
        for view in weight.views:
            written = [i for i, places in enumerate(view.places) if places and not places & taken]
            products = self.of[view.tensor].products
            found.append(replace(view, use=len(products)))
            products.append(
                Product(view.along(read), frozenset(written), view.along(batch), bool(windows))
            )
        return found

    def mix(self, value: Value) -> None:
        """Note a product with another tensor."""
        for view in value.views:
            self.of[view.tensor].mixed = True

    def pick(self, value: Value, axes: Iterable[int], data: bool) -> None:
        """Note a look-up along some axes, at positions that data tell or a counter."""
        for view in value.views:
            along = view.along(axes)
            self.of[view.tensor].picked |= along
            self.of[view.tensor].told |= along if data else frozenset()

    def cut(self, value: Value, axes: Iterable[int]) -> None:
        """Note that single entries are taken along some axes."""
        for view in value.views:
            self.of[view.tensor].cut |= view.along(axes)

    def scan(self, values: Sequence[Value]) -> None:
        """Note a loop over the first axis of some values."""
        over = [(v, i) for value in values for v in value.views for i in v.along([0])]
        tensors = frozenset(view.tensor for view, _ in over)
        data = any(value.data and not value.views for value in values)
        for view, axis in over:
            self.of[view.tensor].scans.append(Scan(axis, tensors, data))

    def added(self, view: View) -> View:
        """Note that a tensor is added to data; returns the view, knowing which sum it is in."""
        sums = self.of[view.tensor].sums
        sums.append(set())
        return replace(view, use=len(sums) - 1)

    def sum(self, total: Value, shape: Sequence[int]) -> None:
        """Note that products and vectors are added: a vector is the bias of those that fit it.

        It lies along all axes that they wrote, in the same part of what was concatenated.
        """
        wide = wide_axes(shape)
        for vector in total.vectors:
            for p in total.products:
                if p.covered & wide != vector.covered & wide or p.parts != vector.parts:
                    continue
                self.of[vector.tensor].sums[vector.use].add(p.tensor)
                biases = self.of[p.tensor].products[p.use].biases
                if vector.tensor not in biases:
                    biases.append(vector.tensor)

    def bias(self, tensor: int) -> int | None:
        """The tensor that is added to what another one writes, and to nothing that it does not."""
        biases = self.of[tensor].biases
        return next((b for b in biases if all(tensor in s for s in self.of[b].sums)), None)
