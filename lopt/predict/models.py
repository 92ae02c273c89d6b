"""The kinds of predictors: input made of a network, and a flax module that makes a score of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lopt.base.checks import SIZE, checked, named, number, sequence
from lopt.base.parts import Parts
from lopt.symmetry import PermutationSpec
from lopt.symmetry.paths import arranged, leaves_with_path
from lopt.unf import InvariantUNF
from lopt.unf.layer import INITS
from lopt.unf.network import layer_kinds
from lopt.unf.neurons import NeuronNetwork, Statistics, statistics

Readings = PyTree[Float[Array, "... channels"]]
"""Arrays that a model makes of a network; their last axes are channels."""

FEATURES, STANDARD = "features", "standard"
"""flax collections: what a perceptron reads, and the "center" and "scale" that standardize it."""


@dataclass(frozen=True)
class Model:
    """A kind of predictor: plain data, from which it is built again.

    Derive from it as a frozen dataclass; sequences among the fields become tuples.
    """

    def __post_init__(self):
        for name, value in vars(self).items():
            object.__setattr__(self, name, _as_tuples(value))

    @property
    def tied(self) -> bool:
        """Whether its parameters depend on the weight space, as those of exact layers do."""
        return False

    def read(self, params: PyTree[Array], spec: PermutationSpec) -> Readings:
        """Its input, made of a network; nothing in that is trained."""
        raise NotImplementedError

    def network(self, spec: PermutationSpec) -> nn.Module:
        """Maps readings, standardized channel by channel, to a vector of one element."""
        raise NotImplementedError


@dataclass(frozen=True)
@checked(
    "unf", channels=SIZE, depth=SIZE, hidden=sequence(SIZE), kernel_init=named("kernel_init", INITS)
)
class UNFModel(Model):
    """An invariant universal neural functional (Zhou, Finn & Harrison, arXiv 2402.05232).

    Equivariant layers, the mean of each tensor, a perceptron. With pointwise layers it is the
    Deep Sets of the paper.

    Attributes:
      layers: `"exact"`, `"relational"` or `"pointwise"`, or one for each layer.
      channels: after each equivariant layer.
      depth: how many of them.
      hidden: the widths of the perceptron's hidden layers.
      kernel_init: `"fan_in"`, or `"pointwise_first"`, with which exact and relational layers start
        as pointwise ones.
    """

    layers: str | tuple[str, ...] = "exact"
    channels: int = 16
    depth: int = 3
    hidden: tuple[int, ...] = (512,)
    kernel_init: str = "fan_in"

    def __post_init__(self):
        super().__post_init__()
        layer_kinds(self.layers, self.depth)

    @property
    def tied(self) -> bool:
        return "exact" in layer_kinds(self.layers, self.depth)

    def read(self, params: PyTree[Array], spec: PermutationSpec) -> Readings:
        """The weights."""
        return jax.tree.map(lambda x: x[..., None], arranged(params, like=spec.axes))

    def network(self, spec: PermutationSpec) -> nn.Module:
        """An `InvariantUNF`, then a perceptron on what it pools."""
        channels = (self.channels,) * self.depth
        pooled = InvariantUNF(spec, channels, (), self.layers, kernel_init=self.kernel_init)
        return nn.Sequential([pooled, _Perceptron(self.hidden)])


@dataclass(frozen=True)
@checked("stat_nn", quantiles=sequence(number(0, 1)), hidden=sequence(SIZE))
class StatNNModel(Model):
    """Mean, variance and quantiles of each tensor, into a perceptron.

    As in Unterthiner et al., Predicting Neural Network Accuracy from Weights (arXiv 2002.11448).

    Attributes:
      quantiles: which.
      hidden: the widths of the perceptron's hidden layers.
    """

    quantiles: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    hidden: tuple[int, ...] = (512,)

    def read(self, params: PyTree[Array], spec: PermutationSpec) -> Readings:
        """The statistics, side by side."""
        quantiles = jnp.asarray(self.quantiles)
        found = [
            jnp.concatenate([jnp.stack([jnp.mean(x), jnp.var(x)]), jnp.quantile(x, quantiles)])
            for _, x in leaves_with_path(arranged(params, like=spec.axes))
            if x.size
        ]
        return jnp.concatenate(found)

    def network(self, spec: PermutationSpec) -> nn.Module:
        """A perceptron."""
        return _Perceptron(self.hidden)


@dataclass(frozen=True)
@checked("neurons", width=SIZE, channels=SIZE, hidden=sequence(SIZE))
class NeuronModel(Model):
    """Statistics along every neuron, shared over neuron groups by a `NeuronNetwork`.

    Of each unit of each axis, and of each tensor, it reads how large the weights are, how far
    their mean is from zero beside their size, and how heavy their tails are.

    Attributes:
      width: of the network over neurons.
      channels: written for each unit, and averaged over the units of each axis.
      hidden: the widths of the perceptron's hidden layers.
    """

    width: int = 32
    channels: int = 8
    hidden: tuple[int, ...] = (512,)

    def read(self, params: PyTree[Array], spec: PermutationSpec) -> Readings:
        """The statistics of each tensor."""
        found = []
        for _, x in leaves_with_path(arranged(params, like=spec.axes)):
            # cosines with one: the mean of weights beside their size; of squares, how light tails
            # are
            signals = {"weight": x, "square": x * x, "one": jnp.ones_like(x)}
            found.append(statistics(signals, [("weight", "one"), ("square", "one")]))
        return found

    def network(self, spec: PermutationSpec) -> nn.Module:
        """A `NeuronNetwork`, then a perceptron on all that it writes."""
        return _Neurons(spec, self.width, self.channels, self.hidden)


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list | tuple) else value


class _Perceptron(nn.Module):
    """Rectified layers, then one output, of features that are standardized."""

    hidden: Sequence[int]

    @nn.compact
    def __call__(self, x: Float[Array, " features"]) -> Float[Array, " one"]:
        # `fit` sets center and scale: the mean and the deviation of the features of a fresh model
        # over the training networks, which are not known before there is a theta
        self.sow(FEATURES, "features", x)
        center = self.variable(STANDARD, "center", jnp.zeros_like, x).value
        scale = self.variable(STANDARD, "scale", jnp.ones_like, x).value
        x = (x - jax.lax.stop_gradient(center)) / jax.lax.stop_gradient(scale)
        for width in self.hidden:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(1)(x)


class _Neurons(nn.Module):
    spec: PermutationSpec
    width: int
    channels: int
    hidden: Sequence[int]

    @nn.compact
    def __call__(self, found: Sequence[Statistics]) -> Float[Array, " one"]:
        tensors = jnp.stack([s.tensor for s in found])
        network = NeuronNetwork(self.spec, self.width, self.channels, self.channels)
        units, written = network([s.axes for s in found], tensors)
        pooled = [jnp.mean(nn.silu(u), 0) for axes in units for u in axes]
        return _Perceptron(self.hidden)(
            jnp.concatenate([tensors.reshape(-1), written.reshape(-1), *pooled])
        )


PREDICTORS = Parts("predictor", Model, unf=UNFModel, stat_nn=StatNNModel, neurons=NeuronModel)
"""The kinds of predictors that a config or a file can name, and `module:class` of the user."""
