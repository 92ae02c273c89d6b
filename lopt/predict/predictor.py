"""Trained predictors: a network's score from its weights, whatever the order of its neurons."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree
from scipy.special import expit

from lopt.base.errors import UserError
from lopt.predict.models import Model
from lopt.predict.networks import require_networks
from lopt.predict.readings import Standard, logits, read
from lopt.symmetry import PermutationSpec
from lopt.symmetry.spec import require_spec


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
