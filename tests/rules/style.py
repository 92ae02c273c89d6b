"""One model in several styles of code, and what the styles share."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

KEY = jax.random.key(0)


class Style(NamedTuple):
    """One way to write a model.

    Attributes:
      loss: of params in this style and of `args`.
      write: from the model's numbers, a dict of arrays, to params in this style.
      read: the inverse.
      args: further arguments of the loss.
    """

    loss: Callable[..., Any]
    write: Callable[[dict], Any]
    read: Callable[[Any], dict]
    args: tuple = ()


class Model(NamedTuple):
    """A model's numbers, and the styles in which it is written."""

    numbers: dict
    styles: dict[str, Style]


def draw(**shapes):
    keys = jax.random.split(KEY, len(shapes))
    return {
        name: 0.4 * jax.random.normal(key, shape)
        for key, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


def normal(*shape, seed=1):
    return jax.random.normal(jax.random.key(seed), shape)


def same(numbers):
    return numbers


def cross_entropy(logits, labels):
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1))


def nested(loss, args=()):
    """A style whose params are modules of kernels and biases, from w0, b0, w1, ..."""

    def write(n):
        layers = range(len(n) // 2)
        return {f"Dense_{i}": {"kernel": n[f"w{i}"], "bias": n[f"b{i}"]} for i in layers}

    def read(p):
        return {f"{k[0]}{i[6:]}": v for i, m in p.items() for k, v in _short(m)}

    return Style(loss, write, read, args)


def _short(module):
    return [("w" if k == "kernel" else "b", v) for k, v in module.items()]


X, LABELS = normal(16, 5), jnp.arange(16) % 3
MEAN, SCALE = np.arange(5.0), np.arange(1.0, 6.0)
