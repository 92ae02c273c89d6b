"""Weight spaces of well-known architectures, to measure and to count on."""

from collections.abc import Callable
from typing import Any

from lopt.symmetry import Axes, PermutationSpec


def mlp(*widths: int) -> PermutationSpec:
    """A multilayer perceptron, whose inputs and outputs are fixed.

    >>> mlp(784, 128, 10).sizes
    {'h0': 784, 'h1': 128, 'h2': 10}
    """
    sizes = {f"h{i}": width for i, width in enumerate(widths)}
    axes = {
        f"dense_{i}": {"kernel": Axes(f"h{i}", f"h{i + 1}"), "bias": Axes(f"h{i + 1}")}
        for i in range(len(widths) - 1)
    }
    return PermutationSpec(axes, sizes, ("h0", f"h{len(widths) - 1}"))


def cnn() -> PermutationSpec:
    """Three convolutions and a dense layer; every spatial axis is a group of its own."""
    sizes = {"c0": 3, "c1": 32, "c2": 64, "c3": 64, "out": 10}
    axes = {"dense": {"kernel": Axes("c3", "out"), "bias": Axes("out")}}
    for i in range(3):
        sizes |= {f"h{i}": 3, f"w{i}": 3}
        kernel = Axes(f"h{i}", f"w{i}", f"c{i}", f"c{i + 1}")
        axes[f"conv_{i}"] = {"kernel": kernel, "bias": Axes(f"c{i + 1}")}
    return PermutationSpec(axes, sizes, [g for g in sizes if g not in ("c1", "c2", "c3")])


def rnn() -> PermutationSpec:
    """A recurrent language model; its vocabulary, in and out, is one group."""
    axes = {
        "embedding": Axes("vocabulary", "embedding"),
        "input": {"kernel": Axes("embedding", "h"), "bias": Axes("h")},
        "recurrent": {"kernel": Axes("h", "h"), "bias": Axes("h")},
        "output": {"kernel": Axes("h", "vocabulary"), "bias": Axes("vocabulary")},
    }
    return PermutationSpec(axes, {"vocabulary": 256, "embedding": 64, "h": 128}, ("vocabulary",))


def transformer() -> PermutationSpec:
    """Two blocks over one residual stream."""
    sizes = {"in": 256, "residual": 32, "out": 256}
    norm = {"scale": Axes("residual"), "bias": Axes("residual")}
    axes: dict[str, Any] = {"embedding": Axes("in", "residual"), "norm": norm}
    axes["output"] = {"kernel": Axes("residual", "out"), "bias": Axes("out")}
    for i in range(2):
        heads, hidden = f"heads_{i}", f"hidden_{i}"
        sizes |= {heads: 128, hidden: 128}
        into = {"kernel": Axes("residual", heads), "bias": Axes(heads)}
        axes[f"block_{i}"] = {
            "query": into,
            "key": into,
            "value": into,
            "out": {"kernel": Axes(heads, "residual"), "bias": Axes("residual")},
            "up": {"kernel": Axes("residual", hidden), "bias": Axes(hidden)},
            "down": {"kernel": Axes(hidden, "residual"), "bias": Axes("residual")},
            "norm_0": norm,
            "norm_1": norm,
        }
    return PermutationSpec(axes, sizes, ("in", "out"))


SPACES: dict[str, Callable[[], PermutationSpec]] = {
    "mlp": lambda: mlp(784, 128, 128, 10),
    "cnn": cnn,
    "rnn": rnn,
    "transformer": transformer,
    "small_mlp": lambda: mlp(64, 32, 32, 10),
}
"""Makes each of them."""
