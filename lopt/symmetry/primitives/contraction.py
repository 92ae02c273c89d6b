"""The primitives that contract axes: matrix products and convolutions."""

from collections.abc import Sequence
from typing import Any

from lopt.symmetry.dimensions import multiplied, window_rests
from lopt.symmetry.interpret import Dims, fixed_dims, join_values, moved
from lopt.symmetry.symbols import Atom, Symbol, atoms, fix, join, merge, split
from lopt.symmetry.walk import Equation, Handlers

HANDLERS = Handlers()


@HANDLERS.of("dot_general")
def dot_general(equation: Equation, left: Dims, right: Dims) -> list[Dims]:
    """Contracted axes are one, and so are batch axes."""
    numbers = equation.params["dimension_numbers"]
    out = _contracted(equation, left, right, numbers)
    _, (batch, _) = numbers
    for atom in (a for symbol in out[: len(batch)] if symbol is not None for a in atoms(symbol)):
        atom.role = atom.role or "heads"
    return [out]


@HANDLERS.of("scaled_dot")
def scaled_product(
    equation: Equation, left: Dims, right: Dims, left_scale: Dims, right_scale: Dims
) -> list[Dims]:
    """As a product of values, each of which is scaled by blocks of what is contracted."""
    left_shape, right_shape, *blocks = equation.in_shapes
    left = _scaled(left, left_shape, left_scale, blocks[0])
    right = _scaled(right, right_shape, right_scale, blocks[1])
    return [_contracted(equation, left, right, equation.params["dimension_numbers"])]


def _scaled(dims: Dims, shape: Sequence[int], scale: Dims, blocks: Sequence[int]) -> Dims:
    columns = zip(dims, shape, scale, blocks, strict=True)
    return tuple(
        join([symbol, of_blocks and merge([of_blocks, Atom(n // count)])])
        for symbol, n, of_blocks, count in columns
    )


@HANDLERS.of("ragged_dot_general")
def ragged_product(equation: Equation, left: Dims, right: Dims, sizes: Dims) -> list[Dims]:
    """Rows in groups of given sizes, each group with a matrix of its own: both have an order."""
    numbers = equation.params["ragged_dot_dimension_numbers"]
    (ragged,), groups = numbers.lhs_ragged_dimensions, numbers.rhs_group_dimensions
    (left_sum, _), (left_batch, _) = numbers.dot_dimension_numbers
    # What belongs to which group differs from row to row, even if the rows do not.
    rows = list(left)
    rows[ragged] = left[ragged] or Atom(equation.in_shapes[0][ragged])
    for symbol in (rows[ragged], sizes[-1], *(right[i] for i in groups)):
        fix(symbol, "ragged")
    # Sizes with further axes have those of the rows before the ragged one.
    free = [i for i in range(len(left)) if i not in {*left_sum, *left_batch}]
    before = [*left_batch, *(left_sum if ragged in left_sum else free)]
    for i, symbol in zip(before[: before.index(ragged)], sizes[:-1], strict=False):
        rows[i] = join([left[i], symbol])
    out = _contracted(equation, tuple(rows), right, numbers.dot_dimension_numbers, groups)
    if ragged in left_sum:
        out = (Atom(equation.in_shapes[2][-1], "ragged"), *out)
    return [out]


def _contracted(
    equation: Equation, left: Dims, right: Dims, numbers: Any, dropped: Sequence[int] = ()
) -> Dims:
    """The symbols of a product: batch axes, then what is left of both operands."""
    (left_sum, right_sum), _ = numbers
    for i, j in zip(left_sum, right_sum, strict=True):
        join([left[i], right[j]])
    of_left, of_right = multiplied(equation, numbers, dropped)
    rank = 1 + max((j for places in (*of_left, *of_right) for j in places), default=-1)
    return join_values([moved(left, of_left, rank), moved(right, of_right, rank)])


@HANDLERS.of("conv_general_dilated")
def convolution(equation: Equation, image: Dims, kernel: Dims) -> list[Dims]:
    """Channels are contracted as in a matrix product; space is fixed where a window moves."""
    params = equation.params
    numbers = params["dimension_numbers"]
    batch, channel, *space = numbers.lhs_spec
    out_channel, in_channel, *window = numbers.rhs_spec
    in_shape, kernel_shape = equation.in_shapes
    (shape,) = equation.out_shapes
    out = list(fixed_dims(shape, "space"))

    batch_axis, channel_axis, *_ = numbers.out_spec
    out[batch_axis] = image[batch]
    out[channel_axis] = kernel[out_channel]
    if params["batch_group_count"] > 1:
        fix(image[batch], "grouped")
        fix(kernel[out_channel], "grouped")
        join([image[channel], kernel[in_channel]])
        for i in (batch_axis, channel_axis):
            out[i] = Atom(shape[i], "grouped")
    elif params["feature_group_count"] > 1:
        sides = image[channel], kernel[in_channel], kernel[out_channel]
        out[channel_axis] = _grouped(equation, *sides)
    else:
        join([image[channel], kernel[in_channel]])

    for k, (i, j, o) in enumerate(zip(space, window, numbers.out_spec[2:], strict=True)):
        if kernel_shape[j] == 1 and in_shape[i] == shape[o] and window_rests(equation, k):
            out[o] = image[i]
        else:
            fix(image[i], "space")
            fix(kernel[j], "space")
    return [tuple(out)]


def _grouped(equation: Equation, *sides: Symbol | None) -> Symbol | None:
    """Unify the channels of a grouped convolution: only whole groups may be permuted.

    The channels of the output vary by groups, even if the kernel is the same for all of them.
    """
    channels, in_channels, out_channels = sides
    numbers, groups = equation.params["dimension_numbers"], equation.params["feature_group_count"]
    in_shape, kernel_shape = equation.in_shapes
    width = in_shape[numbers.lhs_spec[1]] // groups
    out_width = kernel_shape[numbers.rhs_spec[0]] // groups
    outer: list[Symbol] = []
    if channels is not None:
        of_input, inner = split(channels, [groups, width])
        outer.append(of_input)
        join([inner, in_channels])
    if out_channels is not None:
        outer.append(split(out_channels, [groups, out_width])[0])
    group = join(outer)
    return out_channels or (group and merge([group, Atom(out_width)]))
