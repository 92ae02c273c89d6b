"""The paper's optimizers as their authors' code steps, and the cases in which ours are compared.

`python tests/authors.py`, with a checkout of google/learned_optimization on the path
(its wheel lacks `research`), here 32186aa46a96f26ba0625755f93c55659adcd523, wrote
rules/univ_nfn.npz: the params after each of three steps of `ResidualOpt`, of
`research/univ_nfn/learned_opt/learned_opts.py`, in every case here. Params, gradients and theta are
drawn by `numpy.random.RandomState`, whose numbers never change; a coefficient of an exact layer has
the place that their basis, in their order, gives its set partition.
"""

import math
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

FILE = Path(__file__).parent / "rules" / "univ_nfn.npz"

BETA, RATE = 1.0, 0.1
"""Their `out_mult`, which is 1e-4 by default: large, so that the network's output counts."""

COUNTS = (0, 1, 700)
"""Steps taken before each of those compared."""

LAYERS = {"deep_sets": "pppp", "hybrid": "pppe", "exact": "eeeee"}
"""Pointwise and exact layers."""

IN, HIDDEN, OUT = 19, 32, 1

GROUPS = {
    "mlp": {
        "mlp/~/linear_0": {"b": (1,), "w": (0, 1)},
        "mlp/~/linear_1": {"b": (2,), "w": (1, 2)},
        "mlp/~/linear_2": {"b": (3,), "w": (2, 3)},
    },
    "cnn": {
        "conv2_d": {"b": (1,), "w": (-1, -2, 0, 1)},
        "conv2_d_1": {"b": (2,), "w": (-3, -4, 1, 2)},
        "linear": {"b": (3,), "w": (2, 3)},
    },
    "irnn": {
        "embed": {"embeddings": (-1, 0)},
        "irnn/linear": {"b": (1,), "w": (0, 1)},
        "irnn/linear_1": {"b": (1,), "w": (1, 1)},
        "linear": {"b": (-1,), "w": (1, -1)},
        "~": {"initial_state_0": (-2, 1)},
    },
}
"""The group of each axis, as their `make_hk_mlp_perm_spec` and the like number them. For the CNN
the spec is ours: theirs calls the height of the first kernel -0, which is 0, the input's group."""

SIZES = {
    "mlp": {0: 5, 1: 4, 2: 3, 3: 2},
    "cnn": {-4: 3, -3: 3, -2: 3, -1: 3, 0: 2, 1: 4, 2: 3, 3: 2},
    "irnn": {-2: 1, -1: 5, 0: 3, 1: 4},
}

CASES = [("mlp", "deep_sets"), ("mlp", "hybrid"), ("mlp", "exact")]
CASES += [("cnn", "hybrid"), ("irnn", "hybrid")]

Partition = tuple[tuple[int, ...], ...]


class Exact(NamedTuple):
    """One layer's coefficients: of each (output, input, partition), and each output's bias."""

    kernel: dict[tuple[int, int, Partition], np.ndarray]
    bias: np.ndarray


class Pointwise(NamedTuple):
    kernel: np.ndarray
    bias: np.ndarray


def is_axes(x):
    return isinstance(x, tuple)


def groups_of(space):
    """The groups of each tensor's axes, in the order of the leaves."""
    return jax.tree.leaves(GROUPS[space], is_leaf=is_axes)


def tensors(space, seed):
    """Params or gradients, some of them beyond [-1, 1]."""
    random = np.random.RandomState(seed)

    def draw(axes):
        return random.standard_normal([SIZES[space][a] for a in axes]).astype(np.float32)

    return jax.tree.map(draw, GROUPS[space], is_leaf=is_axes)


def canonical(blocks):
    """A set partition of the axes of an output, then those of an input, numbered through."""
    return tuple(sorted(tuple(sorted(block)) for block in blocks))


def partitions(groups):
    """The set partitions of axes into blocks of one group."""
    found = [[]]
    for axis, group in enumerate(groups):
        longer = []
        for blocks in found:
            for i, block in enumerate(blocks):
                if groups[block[0]] == group:
                    longer.append([*blocks[:i], [*block, axis], *blocks[i + 1 :]])
            longer.append([*blocks, [axis]])
        found = longer
    return sorted(map(canonical, found))


def theta_of(space, network):
    """The layers' coefficients, of a size that keeps activations near one."""
    random = np.random.RandomState(5)
    axes, layers = groups_of(space), []
    kinds = LAYERS[network]
    for i, kind in enumerate(kinds):
        shape = (HIDDEN if i else IN, OUT if i == len(kinds) - 1 else HIDDEN)

        def draw(*shape, scale):
            return (scale * random.standard_normal(shape)).astype(np.float32)

        if kind == "p":
            scale = 1 / math.sqrt(shape[0])
            layers.append(Pointwise(draw(*shape, scale=scale), draw(shape[1], scale=0.1)))
            continue
        terms = [
            (o, i, p)
            for o, to in enumerate(axes)
            for i, of in enumerate(axes)
            for p in partitions((*to, *of))
        ]
        scale = math.sqrt(len(axes) / len(terms) / shape[0])
        kernel = {term: draw(*shape, scale=scale) for term in terms}
        layers.append(Exact(kernel, draw(len(axes), shape[1], scale=0.1)))
    return layers


def their_steps(space, network):
    """The params after each step of their optimizer."""
    from learned_optimization.research.univ_nfn.learned_opt import learned_opts as theirs

    spec, params = GROUPS[space], tensors(space, 0)
    example = jax.tree.map(jnp.asarray, params)
    sizes = {"in_channels": IN, "hidden_channels": HIDDEN, "out_channels": OUT, "num_layers": 4}
    if network == "deep_sets":
        net = theirs.MLPForOpt(HIDDEN, OUT, 4)
    elif network == "hybrid":
        net = theirs.HybridMLPNFN(**sizes, perm_spec=spec)
    else:
        net = theirs.UnivNFNForOpt(**sizes, perm_spec=spec)
    optimizer = theirs.ResidualOpt(net, example, out_mult=BETA, step_mult=RATE)
    start = optimizer.init(jax.random.key(0))
    theta = their_theta(start["params"], theta_of(space, network), groups_of(space))
    jax.tree.map(lambda a, b: np.testing.assert_equal(a.shape, b.shape), start["params"], theta)
    opt = optimizer.opt_fn({"params": theta})
    state, found = opt.init(example), []
    for i, count in enumerate(COUNTS):
        state = state.replace(iteration=jnp.int32(count))
        state = opt.update(state, tensors(space, i + 1), 0.0)
        found.append(state.params)
    return jax.tree.map(np.asarray, found)


def their_theta(start, layers, axes):
    """Their meta-parameters with our numbers: modules in the order of their layers."""
    modules = sorted(_modules(start), key=lambda m: (m[0] == ("final",), m[0]))
    theta = jax.tree.map(lambda x: x, start)
    for (path, module), layer in zip(modules, layers, strict=True):
        place = theta
        for name in path[:-1]:
            place = place[name]
        if isinstance(layer, Pointwise):
            place[path[-1]] = {"kernel": layer.kernel, "bias": layer.bias}
        else:
            place[path[-1]] = _their_exact(layer, axes)
        assert place[path[-1]].keys() == module.keys()
    return theta


def _modules(tree, path=()):
    """(path, module) of every module that has meta-parameters."""
    if any(not isinstance(x, dict) for x in tree.values()):
        return [(path, tree)]
    return [found for name, x in tree.items() for found in _modules(x, (*path, name))]


def _their_exact(layer, axes):
    from learned_optimization.research.univ_nfn.nfn import universal_layers

    module = {}
    for o, to in enumerate(axes):
        terms = []
        for i, of in enumerate(axes):
            indices = list(range(len(to) + len(of)))
            for blocks in universal_layers.valid_partitions(indices, [*to, *of]):
                terms.append(layer.kernel[o, i, canonical(blocks)])
        module[f"theta_{o}"] = np.stack(terms)
        module[f"bias_{o}"] = layer.bias[o]
    return module


def flat(space, network, steps):
    """Arrays by name, for a file."""
    return {
        f"{space}/{network}/{i}/{jax.tree_util.keystr(path)}": x
        for i, params in enumerate(steps)
        for path, x in jax.tree.leaves_with_path(params)
    }


if __name__ == "__main__":
    found = {}
    for case in CASES:
        found |= flat(*case, their_steps(*case))
    np.savez_compressed(FILE, **found)
