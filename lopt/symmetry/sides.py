"""Which axes of each tensor a function reads along and which it writes, as its products tell."""

from collections.abc import Collection, Sequence

from lopt.symmetry.symbols import Symbol


class Sides:
    """Notes what products sum over, and look-ups pick from, while a function is walked.

    A matrix `w` is read along its second axis in `w @ x` and along its first in `x @ w`. A tensor
    that is used both ways, as an embedding is whose transpose is the output layer, tells nothing.
    """

    def __init__(self, symbols: Sequence[Sequence[Symbol]] = ()):
        """Take the symbols of the axes of each tensor, each of them a symbol of its own."""
        self._place = {
            s: (t, axis) for t, axes in enumerate(symbols) for axis, s in enumerate(axes)
        }
        self._read: dict[int, set[int]] = {}
        self._written: dict[int, set[int]] = {}

    def note_product(
        self,
        operands: Sequence[Sequence[Symbol | None]],
        summed: Sequence[Collection[int]],
        batch: Sequence[Collection[int]],
    ) -> None:
        """Note a product of two values, unless both are tensors: either may be the other's input.

        Args:
          operands: the symbols of the axes of both.
          summed: which axes of each are summed over.
          batch: which axes of each are a batch.
        """
        if None in map(self._tensor, operands):
            for operand, read, apart in zip(operands, summed, batch, strict=True):
                self.note(operand, read, apart)

    def note(
        self, operand: Sequence[Symbol | None], read: Collection[int], apart: Collection[int] = ()
    ) -> None:
        """Note that a value, if it is a tensor, is read along some axes or picked from.

        Args:
          operand: the symbols of the value's axes.
          read: those that are read along.
          apart: those that are neither read along nor written, such as batches and windows.
        """
        tensor = self._tensor(operand)
        if tensor is None:
            return
        axes = {i: self._place[s][1] for i, s in enumerate(operand) if s is not None}
        of_read = {axis for i, axis in axes.items() if i in read}
        of_written = {axis for i, axis in axes.items() if i not in read and i not in apart}
        if of_read and of_written:
            self._read.setdefault(tensor, set()).update(of_read)
            self._written.setdefault(tensor, set()).update(of_written)

    def _tensor(self, operand: Sequence[Symbol | None]) -> int | None:
        """Which tensor a value is: two axes or more are its own, and none is another's.

        Activations carry symbols of the tensor that wrote them too, beside those of a batch.
        """
        symbols = [s for s in operand if s is not None]
        if len(symbols) < 2 or not all(s in self._place for s in symbols):
            return None
        tensors = {self._place[s][0] for s in symbols}
        return tensors.pop() if len(tensors) == 1 else None

    def of(self, tensor: int) -> tuple[set[int], set[int]] | None:
        """The axes that a tensor is read along and those that it writes, if all its uses agree."""
        read, written = self._read.get(tensor), self._written.get(tensor)
        return None if not read or not written or read & written else (read, written)
