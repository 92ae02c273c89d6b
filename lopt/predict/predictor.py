"""Trained predictors: a network's score from its weights, whatever the order of its neurons."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float, PyTree
from scipy.special import expit

from lopt.base.archive import Archive
from lopt.base.checks import PATH, instance
from lopt.base.errors import UserError, suggest
from lopt.base.parts import build
from lopt.base.untrusted import require_modest
from lopt.predict.models import FEATURES, PREDICTORS, STANDARD, Model, Readings
from lopt.symmetry import PermutationSpec
from lopt.symmetry.paths import leaves_with_path
from lopt.symmetry.spec import require_spec
from lopt.symmetry.untrusted import spec_from_file
from lopt.unf import backend
from lopt.unf.bounds import require_listable

LOSSES = ("cross_entropy", "squared")
"""What predictors are trained on: scores in [0, 1] as probabilities, or any scores."""

_TOGETHER = 64
"""Networks whose scores are predicted at once."""

_HINT = "python -m lopt.predict and lopt.predict.save write one"

_ARCHIVE = Archive("predictor", "lopt.predictor", format=1, hint=_HINT)


class Standard(NamedTuple):
    """What brings readings, and scores, to mean zero and variance one over training networks.

    Attributes:
      center: of each array of the readings, a mean for each channel.
      scale: of each a standard deviation, one where a channel does not vary.
    """

    center: PyTree[Float[Array, " channels"]]
    scale: PyTree[Float[Array, " channels"]]

    def __call__(self, x: Readings) -> Readings:
        """Standardize."""
        return jax.tree.map(lambda v, c, s: (v - c) / s, x, self.center, self.scale)


def standard_of(readings: PyTree[Float[np.ndarray, "networks ... channels"]]) -> Standard:
    """The standardization of many networks' readings.

    Example:
      >>> found = standard_of(np.array([[1.0, 5.0], [3.0, 5.0]]))
      >>> found.center, found.scale
      (array([2., 5.]), array([1., 1.]))
    """

    def center(x: np.ndarray) -> np.ndarray:
        return np.mean(x, tuple(range(x.ndim - 1)))

    def scale(x: np.ndarray) -> np.ndarray:
        deviation = np.std(x, tuple(range(x.ndim - 1)))
        return np.where(
            deviation > 1e-6 * (1 + np.abs(center(x))), deviation, np.ones_like(deviation)
        )

    return Standard(jax.tree.map(center, readings), jax.tree.map(scale, readings))


@dataclass(frozen=True)
class Predictor:
    """A trained predictor; `lopt.predict.fit` makes one.

    Attributes:
      model: its kind.
      spec: the weight space of the networks that it was trained on.
      theta: its parameters.
      standard: of the readings.
      scores: the mean and the standard deviation of the training scores; (0, 1) under
        cross-entropy.
      loss: one of `LOSSES`.
      provenance: how it was trained, in plain data.
    """

    model: Model
    spec: PermutationSpec
    theta: PyTree[Array]
    standard: Standard
    scores: tuple[float, float]
    loss: str
    provenance: Mapping[str, Any]

    def __call__(self, params: PyTree[Array], spec: PermutationSpec | None = None) -> float:
        """The predicted score of one network.

        Args:
          params: of the network.
          spec: the weight space of the network, if it has other widths than those that the
            predictor was trained on; the tensors and their groups must be the same.

        Raises:
          SpecError: if params do not fit the spec.
          UserError: if the spec has other tensors than that of training, or params are not finite.
        """
        return float(self.many(jax.tree.map(lambda x: jnp.asarray(x)[None], params), spec)[0])

    def many(
        self, params: PyTree[Float[Array, "networks ..."]], spec: PermutationSpec | None = None
    ) -> Float[np.ndarray, " networks"]:
        """The predicted scores of many networks, stacked along a leading axis.

        Args:
          params: of the networks.
          spec: as in a call for one network.

        Raises:
          SpecError: as in a call for one network.
          UserError: as in a call for one network; the first that is not finite is named.
        """
        spec = self.spec if spec is None else _alike(self.spec, spec)
        require_networks(params, spec)
        readings = self.standard(read(self.model, spec, params))
        found = logits(self.model, spec, self.theta, readings).astype(np.float64)
        values = expit(found) if self.loss == "cross_entropy" else found
        mean, deviation = self.scores
        return values * deviation + mean


@partial(jax.jit, static_argnums=(0, 1))
def _read(model: Model, spec: PermutationSpec, params: PyTree[Array]) -> Readings:
    return jax.vmap(lambda p: model.read(p, spec))(params)


def read(
    model: Model, spec: PermutationSpec, params: PyTree[Float[Array, "networks ..."]]
) -> PyTree[Float[np.ndarray, "networks ... channels"]]:
    """What a model sees of many networks."""
    return _in_chunks(lambda p: _read(model, spec, p), params)


@partial(jax.jit, static_argnums=(0, 1))
def _logits(
    model: Model, spec: PermutationSpec, theta: PyTree[Array], readings: Readings
) -> Float[Array, " networks"]:
    network = model.network(spec)
    return _each(lambda r: network.apply(theta, r)[0], readings)


def logits(
    model: Model,
    spec: PermutationSpec,
    theta: PyTree[Array],
    readings: PyTree[Float[Array, "networks ... channels"]],
) -> Float[np.ndarray, " networks"]:
    """What a model makes of standardized readings of many networks."""
    return _in_chunks(lambda r: _logits(model, spec, theta, r), readings)


@partial(jax.jit, static_argnums=(0, 1))
def _features(
    model: Model, spec: PermutationSpec, theta: PyTree[Array], readings: Readings
) -> Float[Array, "networks features"]:
    network = model.network(spec)

    def one(r: Readings) -> Array:
        _, found = network.apply(theta, r, mutable=[FEATURES])
        return jax.tree.leaves(found)[0]

    return _each(one, readings)


def standardized(
    model: Model,
    spec: PermutationSpec,
    theta: PyTree[Array],
    readings: PyTree[Float[Array, "networks ... channels"]],
) -> PyTree[Array]:
    """Theta whose perceptron reads features of mean zero and variance one over these networks.

    Unless the model is of another make, whose network has no such perceptron.
    """
    if STANDARD not in theta:
        return theta
    theta = {name: theta[name] for name in theta if name != FEATURES}
    features = _in_chunks(lambda r: _features(model, spec, theta, r), readings)
    standard = standard_of(features)._asdict()
    places = flatten_dict(theta[STANDARD])
    found = {place: jnp.asarray(standard[place[-1]], jnp.float32) for place in places}
    return {**theta, STANDARD: unflatten_dict(found)}


def _each(function: Callable[[Readings], Array], readings: Readings) -> Array:
    """A function of many networks' readings; on a CPU one by one, which its cache holds."""
    if backend.on_cpu():
        return jax.lax.map(function, readings)
    return jax.vmap(function)(readings)


def _in_chunks(
    function: Callable[[PyTree[Array]], PyTree[Array]], x: PyTree[Float[Array, "networks ..."]]
) -> PyTree[np.ndarray]:
    """A function's results for many networks, in chunks of one size: it is compiled once."""
    count = len(jax.tree.leaves(x)[0])
    size = min(_TOGETHER, count)
    found = []
    for start in range(0, count, size):
        index = np.minimum(np.arange(start, start + size), count - 1)
        part = function(jax.tree.map(lambda v, i=index: v[i], x))
        found.append(jax.tree.map(lambda v, n=count - start: np.asarray(v)[:n], part))
    return jax.tree.map(lambda *parts: np.concatenate(parts), *found)


def require_networks(
    params: PyTree[Float[Array, "networks ..."]], spec: PermutationSpec, names: Any = None
) -> int:
    """Find out whether stacked params are finite networks of a weight space; returns how many.

    Args:
      params: each with a leading axis.
      spec: of one network.
      names: of the networks, for the messages; by default their numbers.

    Raises:
      SpecError: if they do not fit the spec; the first tensor is named.
      UserError: if there are none, tensors have different numbers of them, or one holds a number
        that is not finite, and is named with its tensor.
    """
    leaves = leaves_with_path(params)
    counts = {np.shape(x)[:1] for _, x in leaves}
    if len(counts) != 1 or counts <= {(), (0,)}:
        raise UserError(
            "params must be those of several networks, each tensor with one leading axis of the "
            f"same length, not of lengths {sorted(counts)}"
        )
    spec.validate(jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x)[1:], x.dtype), params))
    (count,) = counts.pop()
    bad = [(int(np.argmin(ok)), path) for path, ok in _finite(leaves) if not ok.all()]
    if bad:
        index, path = min(bad, key=lambda found: found[0])
        name = index if names is None else names[index]
        raise UserError(
            f"network {name}: {'/'.join(map(str, path))} is not finite; leave that network out"
        )
    return count


def _finite(leaves: list) -> list[tuple[Any, np.ndarray]]:
    return [(path, np.isfinite(np.asarray(x)).reshape(len(x), -1).all(1)) for path, x in leaves]


def _alike(known: PermutationSpec, spec: PermutationSpec) -> PermutationSpec:
    """The other spec, checked to have the same tensors and groups; sizes may differ."""
    if not known.resembles(require_spec(spec)):
        raise UserError(
            "these networks have other tensors or groups than those of training; a predictor fits "
            "other widths of one architecture only"
        )
    return spec


_PREDICTOR = instance(Predictor, "a Predictor, such as lopt.predict.fit returns")


def save(path: str | os.PathLike, predictor: Predictor) -> None:
    """Write a predictor to a `.safetensors` file, all of it or nothing; nothing is pickled.

    Raises:
      UserError: if it is for params that are not dicts within dicts, or is not finite.
      OSError: if the file cannot be written.
    """
    path, predictor = PATH("path", path), _PREDICTOR("predictor", predictor)
    text = predictor.spec.to_json()
    if spec_from_file(text) != predictor.spec:
        raise UserError("predictors can be saved for params that are dicts within dicts")
    contents = {
        "model": {
            "name": PREDICTORS.name_of(predictor.model),
            **dataclasses.asdict(predictor.model),
        },
        "spec": text,
        "scores": predictor.scores,
        "loss": predictor.loss,
        "provenance": predictor.provenance,
    }
    standard = {
        part: {f"{i:05d}": x for i, x in enumerate(jax.tree.leaves(tree))}
        for part, tree in predictor.standard._asdict().items()
    }
    _ARCHIVE.write(Path(path).expanduser(), {"theta": predictor.theta, **standard}, contents)


def load(path: str | os.PathLike) -> Predictor:
    """Read what `save` wrote.

    Raises:
      UserError: if the file is missing, damaged or anything else. Nothing in it is run.
    """
    path = Path(PATH("the path of a predictor", path)).expanduser()
    with _ARCHIVE.reading(path) as (arrays, contents):
        elements = sum(x.size for x in jax.tree.leaves(arrays))
        require_modest(contents["model"], elements)
        model = build(PREDICTORS, contents["model"])
        spec = spec_from_file(contents["spec"])
        if len(spec.entries) > elements:
            raise UserError(f"it has fewer parameters than its spec has tensors: {elements}")
        if model.tied:
            require_listable(spec, elements)
        if contents["loss"] not in LOSSES:
            raise UserError(f"no loss {contents['loss']!r}; {suggest(contents['loss'], LOSSES)}")
        theta = jax.tree.map(jnp.asarray, arrays.get("theta", {}))
        readings = shapes_of(model, spec)
        standard = Standard(*(_arranged(part, arrays[part], readings) for part in Standard._fields))
        network = model.network(spec)
        found = jax.eval_shape(lambda r: network.apply(theta, standard(r)), readings)
        if found.shape != (1,):
            raise UserError("it does not return one score")
        mean, deviation = map(float, contents["scores"])
        provenance = dict(contents["provenance"])
        return Predictor(
            model, spec, theta, standard, (mean, deviation), contents["loss"], provenance
        )


def shapes_of(model: Model, spec: PermutationSpec) -> PyTree[jax.ShapeDtypeStruct]:
    """The shapes of a network's readings."""
    params = jax.tree.map(
        lambda axes: jax.ShapeDtypeStruct(spec.shape(axes), jnp.float32), spec.axes
    )
    return jax.eval_shape(lambda p: model.read(p, spec), params)


def _arranged(
    part: str, arrays: Mapping[str, np.ndarray], readings: PyTree[jax.ShapeDtypeStruct]
) -> PyTree[np.ndarray]:
    """The arrays of a part as a tree like that of readings, a number for each channel."""
    leaves, structure = jax.tree.flatten(readings)
    found = [arrays[name] for name in sorted(arrays)]
    if [x.shape for x in found] != [x.shape[-1:] for x in leaves]:
        raise UserError(f"its {part} is not that of its model")
    return jax.tree.unflatten(structure, found)
