"""Predictors as safetensors files."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from lopt.base.archive import Archive
from lopt.base.checks import PATH, instance, named
from lopt.base.errors import UserError
from lopt.base.parts import build
from lopt.base.untrusted import require_modest
from lopt.predict.models import PREDICTORS, Model
from lopt.predict.networks import LOSSES
from lopt.predict.predictor import Predictor
from lopt.predict.readings import Standard
from lopt.symmetry import PermutationSpec
from lopt.symmetry.untrusted import spec_from_file
from lopt.unf.bounds import require_listable

_HINT = "python -m lopt.predict and lopt.predict.save write one"

ARCHIVE = Archive("predictor", "lopt.predictor", format=1, hint=_HINT)
"""The files of predictors."""

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
        "model": {"name": PREDICTORS.name_of(model), **dataclasses.asdict(model)},
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
