"""What an axis is to its tensor."""

import pytest

from lopt.symmetry import Axes, PermutationSpec
from lopt.symmetry.roles import axis_roles

SIZES = {"stream": 6, "heads": 2, "width": 3, "in": 4, "out": 5, "space": 3, "h": 7, "layer": 2}


def spec_of(fixed=("in", "out", "space", "layer"), **axes):
    tensors = {name: Axes(*groups.split()) for name, groups in axes.items()}
    used = {g for groups in axes.values() for g in groups.replace("*", " ").split()}
    return PermutationSpec(tensors, {g: SIZES[g] for g in SIZES if g in used}, used & {*fixed})


def roles_by_name(spec):
    return dict(zip(sorted(spec.axes), axis_roles(spec), strict=True))


def test_heads_and_their_width_are_one_side_of_a_kernel():
    query, result = "stream heads width", "heads width stream"
    spec = spec_of(bias="heads width", query=query, result=result, norm="stream")
    assert roles_by_name(spec) == {
        "bias": ("vector", "vector"),
        "norm": ("vector",),
        "query": ("input", "output", "output"),
        "result": ("input", "input", "output"),
    }


def test_fixed_axes_before_a_matrix_are_spatial():
    roles = roles_by_name(spec_of(kernel="space space in h", bias="h", stacked="layer h h"))
    assert roles["kernel"] == ("spatial", "spatial", "input", "output")
    assert roles["stacked"] == ("spatial", "input", "output")


@pytest.mark.parametrize("fixed", [("in", "out"), ()])
def test_inputs_are_an_input_side_whether_they_are_fixed_or_not(fixed):
    roles = roles_by_name(spec_of(fixed, first="in h", second="h out", bias="h", gain=""))
    assert roles == {
        "first": ("input", "output"),
        "second": ("input", "output"),
        "bias": ("vector",),
        "gain": (),
    }
