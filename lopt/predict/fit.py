"""Train predictors."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, PyTree

from lopt.base.checks import (
    FRACTION,
    POSITIVE,
    SEED,
    SIZE,
    is_sequence,
    named,
    sequence,
    set_checked,
    shown,
)
from lopt.base.errors import UserError
from lopt.base.parts import build
from lopt.predict.metrics import kendall_tau
from lopt.predict.models import PREDICTORS, Model, Readings
from lopt.predict.predictor import (
    LOSSES,
    Predictor,
    logits,
    read,
    require_networks,
    standard_of,
    standardized,
)
from lopt.predict.splits import FEWEST, choose
from lopt.symmetry import PermutationSpec
from lopt.symmetry.spec import require_spec
from lopt.unf import backend


@dataclass(frozen=True)
class TrainingBudget:
    """What each predictor may spend; the same for all that are compared.

    Attributes:
      learning_rates: of Adam; each is tried, and the best on the validation split kept.
      epochs: at most.
      batch_size: networks in a batch.
      patience: epochs without a better tau on the validation split after which training stops.
      validation: the share of the training runs that are for validation.
    """

    learning_rates: tuple[float, ...] = (1e-3,)
    epochs: int = 10
    batch_size: int = 16
    patience: int = 3
    validation: float = 0.15

    def __post_init__(self):
        """Check what is given.

        Raises:
          UserError: if there is no learning rate, or a number is not positive or not a share.
        """
        set_checked(
            self,
            "budget",
            learning_rates=sequence(POSITIVE, 1),
            epochs=SIZE,
            batch_size=SIZE,
            patience=SIZE,
            validation=FRACTION,
        )


def fit(
    params: PyTree[Float[Array, "networks ..."]] | Sequence[PyTree[Array]],
    scores: Float[np.ndarray, " networks"],
    spec: PermutationSpec,
    predictor: str | Mapping[str, Any] | Model = "unf",
    *,
    runs: Sequence[Hashable] | np.ndarray | None = None,
    loss: str = "cross_entropy",
    budget: TrainingBudget | None = None,
    seed: int = 0,
) -> Predictor:
    """Train a predictor of networks' scores from their weights.

    A part of the runs is held out for validation: the parameters of the epoch with the highest
    Kendall's tau there are kept.

    Args:
      params: of networks of one architecture: a pytree whose arrays have a leading axis, or a
        sequence of pytrees.
      scores: one for each network.
      spec: the weight space, as `lopt.infer_spec(loss, params, batch)` finds it.
      predictor: a name in `PREDICTORS`, with arguments as in `"unf(layers=relational)"`, or a
        model.
      runs: which training run a network is of; networks of one run stay on one side of the split.
        By default each is of its own.
      loss: `"cross_entropy"` for scores in [0, 1], or `"squared"`.
      budget: of training.
      seed: of initial parameters, batches and the validation split.

    Raises:
      UserError: if scores do not fit the loss or the networks, there are too few runs, or a network
        is not finite; the first is named.
      SpecError: if params do not fit the spec.

    Example:
      >>> import jax, jax.numpy as jnp, numpy as np
      >>> import lopt, lopt.predict
      >>> params = {"w": jax.random.normal(jax.random.key(0), (40, 3, 4))}
      >>> scores = np.asarray(jax.nn.sigmoid(params["w"].sum((1, 2))))
      >>> spec = lopt.infer_spec(lambda p: jnp.tanh(p["w"]).sum(1), {"w": params["w"][0]})
      >>> fitted = lopt.predict.fit(params, scores, spec, "unf(layers=pointwise, hidden=(8,))")
      >>> 0 < fitted({"w": params["w"][0]}) < 1
      True
    """
    budget = TrainingBudget() if budget is None else budget
    if not isinstance(budget, TrainingBudget):
        raise UserError(f"budget must be a lopt.predict.TrainingBudget, not {shown(budget)}")
    seed = SEED("seed", seed)
    model = predictor if isinstance(predictor, Model) else build(PREDICTORS, predictor)
    params = stacked(params)
    count = require_networks(params, require_spec(spec))
    scores = require_scores(scores, count, loss)
    if runs is not None and not is_sequence(runs):
        raise UserError(f"runs must be a sequence, one for each network, not {shown(runs)}")
    own = np.arange(count) if runs is None else np.asarray(runs)
    if len(own) != count:
        raise UserError(f"{len(own)} runs and {count} networks; give one for each network")
    held_out = choose(own, budget.validation, seed)
    if min(np.sum(held_out), np.sum(~held_out)) < FEWEST:
        raise UserError(
            f"{count} networks of {len(set(own.tolist()))} runs are too few to train and validate "
            f"on: each needs {FEWEST}"
        )
    readings = read(model, spec, params)
    standard = standard_of(jax.tree.map(lambda x: x[~held_out], readings))
    readings = jax.tree.map(np.asarray, standard(readings))
    center = (0.0, 1.0)
    if loss == "squared":
        center = float(scores[~held_out].mean()), float(scores[~held_out].std()) or 1.0
    targets = ((scores - center[0]) / center[1]).astype(np.float32)
    training = _Training(model, spec, loss, budget, readings, targets, held_out)
    found = [training.run(rate, seed) for rate in budget.learning_rates]
    tau, theta, record = max(found, key=lambda f: f[0])
    provenance = {
        "networks": count,
        "runs": len(set(own.tolist())),
        "seed": seed,
        "budget": {k: getattr(budget, k) for k in budget.__dataclass_fields__},
        "validation_tau": tau,
        **record,
    }
    return Predictor(model, spec, theta, standard, center, loss, provenance)


def stacked(params: Any) -> PyTree[Float[Array, "networks ..."]]:
    """Params of many networks with a leading axis, from that or from a sequence of pytrees.

    Raises:
      UserError: if networks have other tensors or shapes than the first; the first such is named.
    """
    if not isinstance(params, list | tuple):
        return params
    if not params:
        raise UserError("no networks to train on")
    expected = jax.tree.map(np.shape, params[0])
    for i, own in enumerate(params):
        found = jax.tree.map(np.shape, own)
        if found != expected:
            raise UserError(f"network {i} has other tensors or shapes than network 0: {found}")
    return jax.tree.map(lambda *x: np.stack([np.asarray(v) for v in x]), *params)


def require_scores(
    scores: Any, count: int, loss: str, names: Any = None
) -> Float[np.ndarray, " networks"]:
    """Scores that fit a loss.

    Raises:
      UserError: if the loss does not exist, there is not one score for each network, or one does
        not fit the loss; the first is named.
    """
    loss = named("loss", LOSSES)("loss", loss)
    try:
        scores = np.asarray(scores, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"scores must be numbers, not {shown(scores)}") from None
    if scores.shape != (count,):
        raise UserError(f"scores of shape {scores.shape} for {count} networks; give one for each")
    fits = np.isfinite(scores)
    if loss == "cross_entropy":
        fits &= (scores >= 0) & (scores <= 1)
    if not fits.all():
        i = int(np.argmin(fits))
        name = i if names is None else names[i]
        fix = "; take loss='squared' for other scores" if np.isfinite(scores[i]) else ""
        wanted = "between 0 and 1" if loss == "cross_entropy" else "finite"
        raise UserError(f"network {name}: its score {scores[i]:g} must be {wanted}{fix}")
    return scores


@dataclass(frozen=True, eq=False)
class _Training:
    """Trains one model at any learning rate.

    Attributes:
      model: the kind of predictor.
      spec: of the networks.
      loss: one of `LOSSES`.
      budget: of each run.
      readings: standardized, of all networks.
      targets: what is to be predicted.
      held_out: which networks are for validation.
    """

    model: Model
    spec: PermutationSpec
    loss: str
    budget: TrainingBudget
    readings: Readings
    targets: Float[np.ndarray, " networks"]
    held_out: Bool[np.ndarray, " networks"]

    def run(self, rate: float, seed: int) -> tuple[float, PyTree[Array], dict[str, Any]]:
        """Train; returns the best tau on the validation split, its parameters, and a record."""
        network = self.model.network(self.spec)
        first = jax.tree.map(lambda x: x[0], self.readings)
        train, valid = np.flatnonzero(~self.held_out), np.flatnonzero(self.held_out)
        theta = jax.jit(network.init)(jax.random.key(seed), first)
        theta = standardized(self.model, self.spec, theta, self._of(train)[0])
        opt_state = optax.adam(rate).init(theta)
        rng = np.random.default_rng((seed, 2))
        size = min(self.budget.batch_size, len(train))
        best, kept, since, taus = -np.inf, theta, 0, []
        for _ in range(self.budget.epochs):
            order = rng.permutation(train)
            for index in order[: len(order) // size * size].reshape(-1, size):
                batch = self._of(index)
                theta, opt_state = _step(
                    self.model, self.spec, self.loss, rate, theta, opt_state, *batch
                )
            readings, targets = self._of(valid)
            found = logits(self.model, self.spec, theta, readings)
            taus.append(kendall_tau(found, targets))
            since += 1
            if taus[-1] > best:
                best, kept, since = taus[-1], theta, 0
            if since >= self.budget.patience:
                break
        return best, kept, {"learning_rate": rate, "validation_taus": taus}

    def _of(self, index: Int[np.ndarray, " some"]) -> tuple[Readings, Float[np.ndarray, " some"]]:
        """The readings and the targets of some networks."""
        return jax.tree.map(lambda x: x[index], self.readings), self.targets[index]


@partial(jax.jit, static_argnums=(0, 1, 2))
def _step(
    model: Model,
    spec: PermutationSpec,
    loss: str,
    rate: Array,
    theta: PyTree[Array],
    opt_state: optax.OptState,
    readings: Readings,
    targets: Float[Array, " batch"],
) -> tuple[PyTree[Array], optax.OptState]:
    """One step of Adam on a batch."""
    network, optimizer = model.network(spec), optax.adam(rate)

    def total(theta: PyTree[Array], readings: Readings, targets: Array) -> Array:
        found = jax.vmap(lambda r: network.apply(theta, r)[0])(readings)
        if loss == "squared":
            return jnp.sum(jnp.square(found - targets))
        return jnp.sum(optax.sigmoid_binary_cross_entropy(found, targets))

    # on a CPU networks one by one stay in its cache, which is up to two and a half times as fast
    parts = len(targets) if backend.on_cpu() else 1
    split = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), (readings, targets))

    def add(grads: PyTree[Array], part: tuple) -> tuple[PyTree[Array], None]:
        return jax.tree.map(jnp.add, grads, jax.grad(total)(theta, *part)), None

    grads, _ = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, theta), split)
    grads = jax.tree.map(lambda g: g / len(targets), grads)
    updates, opt_state = optimizer.update(grads, opt_state)
    return optax.apply_updates(theta, updates), opt_state
