"""Trained predictors: a network's score from its weights, whatever the order of its neurons."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree
from scipy.special import expit

from lopt.base.archive import Archive
from lopt.base.checks import PATH, instance, named
from lopt.base.errors import UserError
from lopt.base.parts import build
from lopt.base.untrusted import require_modest
from lopt.predict.models import PREDICTORS, Model
from lopt.predict.networks import LOSSES, require_networks
from lopt.predict.readings import Standard, logits, read
from lopt.symmetry import PermutationSpec
from lopt.symmetry.spec import require_spec
from lopt.symmetry.untrusted import spec_from_file
from lopt.unf.bounds import require_listable

_HINT = "python -m lopt.predict and lopt.predict.save write one"

ARCHIVE = Archive("predictor", "lopt.predictor", format=1, hint=_HINT)
"""The files of predictors."""


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
      loss: "cross_entropy" or "squared", as in `fit`.
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
        if spec is None:
            spec = self.spec
        elif not self.spec.resembles(require_spec(spec)):
            raise UserError(
                "these networks have other tensors or groups than those of training; a predictor "
                "fits other widths of one architecture only"
            )
        require_networks(params, spec)
        readings = self.standard(read(self.model, spec, params))
        found = logits(self.model, spec, self.theta, readings).astype(np.float64)
        values = expit(found) if self.loss == "cross_entropy" else found
        mean, deviation = self.scores
        return values * deviation + mean


_PREDICTOR = instance(Predictor, "a Predictor, such as lopt.predict.fit returns")


def save(path: str | os.PathLike, predictor: Predictor) -> None:
    """Write a predictor to a `.safetensors` file, all of it or nothing; nothing is pickled.

    Raises:
      UserError: if it is for params that are not dicts within dicts, or is not finite.
      OSError: if the file cannot be written.
    """
    path, predictor = PATH("path", path), _PREDICTOR("predictor", predictor)
    model, text = predictor.model, predictor.spec.to_json()
    if spec_from_file(text) != predictor.spec:
        raise UserError("predictors can be saved for params that are dicts within dicts")
    contents = {
        "model": {"name": PREDICTORS.name_of(model), **asdict(model)},
        "spec": text,
        "scores": predictor.scores,
        "loss": predictor.loss,
        "provenance": predictor.provenance,
    }
    standard = {
        part: {f"{i:05d}": x for i, x in enumerate(jax.tree.leaves(tree))}
        for part, tree in predictor.standard._asdict().items()
    }
    ARCHIVE.write(Path(path).expanduser(), {"theta": predictor.theta, **standard}, contents)


def load(path: str | os.PathLike) -> Predictor:
    """Read what `save` wrote.

    Raises:
      UserError: if the file is missing, damaged or anything else. Nothing in it is run.
    """
    path = Path(PATH("the path of a predictor", path)).expanduser()
    with ARCHIVE.reading(path) as (arrays, contents):
        # what could take hours or gigabytes is bounded by the size of the file before it is built
        elements = sum(x.size for x in jax.tree.leaves(arrays))
        require_modest(contents["model"], elements)
        model = build(PREDICTORS, contents["model"])
        spec = spec_from_file(contents["spec"])
        if len(spec.entries) > elements:
            raise UserError(f"it has fewer parameters than its spec has tensors: {elements}")
        if model.tied:
            require_listable(spec, elements)
        loss = named("loss", LOSSES)("loss", contents["loss"])
        theta = jax.tree.map(jnp.asarray, arrays.get("theta", {}))
        readings = _shapes_of(model, spec)
        standard = Standard(*(_arranged(part, arrays[part], readings) for part in Standard._fields))
        network = model.network(spec)
        found = jax.eval_shape(lambda r: network.apply(theta, standard(r)), readings)
        if found.shape != (1,):
            raise UserError("it does not return one score")
        mean, deviation = map(float, contents["scores"])
        provenance = dict(contents["provenance"])
        return Predictor(model, spec, theta, standard, (mean, deviation), loss, provenance)


def _shapes_of(model: Model, spec: PermutationSpec) -> PyTree[jax.ShapeDtypeStruct]:
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
