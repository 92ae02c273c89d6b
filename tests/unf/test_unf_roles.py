"""The roles of blocks."""

from lopt.symmetry import Axes, PermutationSpec
from lopt.unf.roles import block_roles

SIZES = {"stream": 6, "heads": 2, "width": 3}


def test_merged_or_apart_heads_have_the_same_roles():
    apart = {
        "bias": Axes("heads", "width"),
        "query": Axes("stream", "heads", "width"),
        "result": Axes("heads", "width", "stream"),
    }
    merged = {
        "bias": Axes("heads*width"),
        "query": Axes("stream", "heads*width"),
        "result": Axes("heads*width", "stream"),
    }
    roles = block_roles(PermutationSpec(merged, SIZES))
    assert block_roles(PermutationSpec(apart, SIZES)) == roles
    assert roles["query"] == ("input", "output", "output")
