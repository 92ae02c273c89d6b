"""Rules of the primitives that contract axes: matrix products and convolutions."""

from lopt.symmetry.interpret import Dims, Equation, fixed_dims, register_rule
from lopt.symmetry.symbols import Atom, Symbol, atoms, fix, join, split


@register_rule("dot_general")
def dot_general(equation: Equation, left: Dims, right: Dims) -> list[Dims]:
    """Contracted axes are one, and so are batch axes."""
    (left_sum, right_sum), (left_batch, right_batch) = equation.params["dimension_numbers"]
    equation.walk.sides.note_product(
        (left, right), (left_sum, right_sum), (left_batch, right_batch)
    )
    for i, j in zip(left_sum, right_sum, strict=True):
        join([left[i], right[j]])
    batch = [join([left[i], right[j]]) for i, j in zip(left_batch, right_batch, strict=True)]
    _call_heads(batch)
    return [
        (
            *batch,
            *(s for i, s in enumerate(left) if i not in {*left_sum, *left_batch}),
            *(s for i, s in enumerate(right) if i not in {*right_sum, *right_batch}),
        )
    ]


def _call_heads(batch: list[Symbol | None]) -> None:
    for atom in (a for symbol in batch if symbol is not None for a in atoms(symbol)):
        atom.role = atom.role or "heads"


@register_rule("conv_general_dilated")
def convolution(equation: Equation, image: Dims, kernel: Dims) -> list[Dims]:
    """Channels are contracted as in a matrix product; space is fixed where a window moves."""
    params = equation.params
    numbers = params["dimension_numbers"]
    batch, channel, *space = numbers.lhs_spec
    out_channel, in_channel, *window = numbers.rhs_spec
    equation.walk.sides.note(kernel, [in_channel], window)
    in_shape, kernel_shape = equation.in_shapes
    (shape,) = equation.out_shapes
    out = list(fixed_dims(shape, "space"))

    out[numbers.out_spec[0]] = image[batch]
    if params["batch_group_count"] > 1:
        fix(image[batch], "grouped")
        fix(kernel[out_channel], "grouped")
        out[numbers.out_spec[0]] = Atom(shape[numbers.out_spec[0]], "grouped")
    groups = params["feature_group_count"]
    if groups > 1:
        _grouped(image[channel], kernel[in_channel], kernel[out_channel], groups, equation)
    else:
        join([image[channel], kernel[in_channel]])
    out[numbers.out_spec[1]] = kernel[out_channel]

    for k, (i, j, o) in enumerate(zip(space, window, numbers.out_spec[2:], strict=True)):
        if kernel_shape[j] == 1 and in_shape[i] == shape[o] and _still(params, k):
            out[o] = image[i]
        else:
            fix(image[i], "space")
            fix(kernel[j], "space")
    return [tuple(out)]


def _still(params: dict, k: int) -> bool:
    return params["window_strides"][k] == params["lhs_dilation"][k] == 1 and tuple(
        params["padding"][k]
    ) == (0, 0)


def _grouped(
    channels: Symbol | None,
    in_channels: Symbol | None,
    out_channels: Symbol | None,
    groups: int,
    equation: Equation,
) -> None:
    """Unify the channels of a grouped convolution: only whole groups may be permuted."""
    numbers = equation.params["dimension_numbers"]
    in_shape, kernel_shape = equation.in_shapes
    width = in_shape[numbers.lhs_spec[1]] // groups
    out_width = kernel_shape[numbers.rhs_spec[0]] // groups
    outer: list[Symbol | None] = []
    if channels is not None:
        group, inner = split(channels, [groups, width])
        outer.append(group)
        join([inner, in_channels])
    if out_channels is not None:
        outer.append(split(out_channels, [groups, out_width])[0])
    join(outer)
