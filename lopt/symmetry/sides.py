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

    def note(
        self,
        operand: Sequence[Symbol | None],
        read: Collection[int],
        apart: Collection[int] = (),
    ) -> None:
        """Note that a value's axes are read along, or picked from, and which are neither.

        Activations carry a symbol of the tensor that wrote them, and a tensor itself two or more.

        Args:
          operand: the symbols of the value's axes.
          read: those that are read along.
          apart: those that are neither read along nor written, such as batches and windows.
        """
        found: dict[int, tuple[set[int], set[int]]] = {}
        for i, symbol in enumerate(operand):
            if symbol in self._place and i not in apart:
                tensor, axis = self._place[symbol]
                found.setdefault(tensor, (set(), set()))[i not in read].add(axis)
        for tensor, (of_read, of_written) in found.items():
            if of_read and of_written:
                self._read.setdefault(tensor, set()).update(of_read)
                self._written.setdefault(tensor, set()).update(of_written)

    def of(self, tensor: int) -> tuple[set[int], set[int]] | None:
        """The axes that a tensor is read along and those that it writes, if all its uses agree."""
        read, written = self._read.get(tensor), self._written.get(tensor)
        return None if not read or not written or read & written else (read, written)
