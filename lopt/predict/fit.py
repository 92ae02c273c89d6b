"""Train predictors."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, PyTree

from lopt.base.checks import FRACTION, POSITIVE, SEED, SIZE, checked, is_sequence, sequence, shown
from lopt.base.errors import UserError
from lopt.base.parts import build
from lopt.predict.metrics import kendall_tau
from lopt.predict.models import PREDICTORS, Model, Readings
from lopt.predict.networks import choose, require_networks, require_scores, stacked
from lopt.predict.predictor import Predictor
from lopt.predict.readings import Standard, logits, read, standard_of, standardized
from lopt.symmetry import PermutationSpec
from lopt.symmetry.spec import require_spec
from lopt.unf import backend

_FEWEST = 4
"""Networks that each side of a split needs: of fewer, tau has too few pairs to choose an epoch."""

Examples = tuple[Readings, Float[np.ndarray, " networks"]]
"""Standardized readings of networks, and what is predicted from them."""


@dataclass(frozen=True)
@checked(
    "budget",
    learning_rates=sequence(POSITIVE, 1),
    epochs=SIZE,
    batch_size=SIZE,
    patience=SIZE,
    validation=FRACTION,
)
class TrainingBudget:
    """How long a predictor may be trained; the same for all that are compared.

    Attributes:
      learning_rates: of Adam; each is tried, and the best on the validation split wins.
      epochs: at most.
      batch_size: networks in a batch.
      patience: epochs without a better tau on the validation split after which training stops.
      validation: the fraction of the training runs that are for validation.
    """

    learning_rates: tuple[float, ...] = (1e-3,)
    epochs: int = 10
    batch_size: int = 16
    patience: int = 3
    validation: float = 0.15


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
    Kendall's tau there are taken.

    Args:
      params: of networks of one architecture: a pytree whose arrays have a leading axis, or a
        sequence of pytrees.
      scores: one for each network.
      spec: the weight space, as `lopt.infer_spec(loss, params, batch)` finds it.
      predictor: a name in `PREDICTORS`, with arguments as in `"unf(layers=relational)"`, or a
        model.
      runs: which training run a network is of; networks of one run stay on one side of the split.
        By default each has one to itself.
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
    params = stacked(params) if isinstance(params, list | tuple) else params
    count = require_networks(params, require_spec(spec))
    scores = require_scores(scores, count, loss)
    of_run = _runs(runs, count)
    held_out = choose(of_run, budget.validation, seed)
    number = len(set(of_run.tolist()))
    if min(np.sum(held_out), np.sum(~held_out)) < _FEWEST:
        raise UserError(
            f"{count} networks of {number} runs are too few to train and validate on: each needs "
            f"{_FEWEST}"
        )
    standard, center, train, validation = _examples(model, spec, params, scores, loss, held_out)
    found = [
        _train(model, spec, loss, budget, rate, seed, train, validation)
        for rate in budget.learning_rates
    ]
    best = max(range(len(found)), key=lambda i: max(found[i][1]))
    theta, taus = found[best]
    provenance = {
        "networks": count,
        "runs": number,
        "seed": seed,
        "budget": asdict(budget),
        "validation_tau": max(taus),
        "learning_rate": budget.learning_rates[best],
        "validation_taus": taus,
    }
    return Predictor(model, spec, theta, standard, center, loss, provenance)


def _runs(runs: Any, count: int) -> np.ndarray:
    """The run of each network; one for each where nothing is said."""
    if runs is None:
        return np.arange(count)
    if not is_sequence(runs):
        raise UserError(f"runs must be a sequence, one for each network, not {shown(runs)}")
    if len(runs) != count:
        raise UserError(f"{len(runs)} runs and {count} networks; give one for each network")
    return np.asarray(runs)


def _examples(
    model: Model,
    spec: PermutationSpec,
    params: PyTree[Array],
    scores: Float[np.ndarray, " networks"],
    loss: str,
    held_out: Bool[np.ndarray, " networks"],
) -> tuple[Standard, tuple[float, float], Examples, Examples]:
    """Examples to train on and to validate on, and what standardized their readings and scores."""
    readings = read(model, spec, params)
    standard = standard_of(jax.tree.map(lambda x: x[~held_out], readings))
    readings = jax.tree.map(np.asarray, standard(readings))
    center = (0.0, 1.0)
    if loss == "squared":
        center = float(scores[~held_out].mean()), float(scores[~held_out].std()) or 1.0
    targets = ((scores - center[0]) / center[1]).astype(np.float32)

    def part(chosen: np.ndarray) -> Examples:
        return jax.tree.map(lambda x: x[chosen], readings), targets[chosen]

    return standard, center, part(~held_out), part(held_out)


def _train(
    model: Model,
    spec: PermutationSpec,
    loss: str,
    budget: TrainingBudget,
    rate: float,
    seed: int,
    train: Examples,
    validation: Examples,
) -> tuple[PyTree[Array], list[float]]:
    """Theta of the epoch with the highest tau on validation, and the taus of all epochs."""
    readings, targets = train
    network = model.network(spec)
    theta = jax.jit(network.init)(jax.random.key(seed), jax.tree.map(lambda x: x[0], readings))
    theta = best = standardized(model, spec, theta, readings)
    opt_state = optax.adam(rate).init(theta)
    rng = np.random.default_rng((seed, 2))
    size = min(budget.batch_size, len(targets))
    taus: list[float] = []
    for epoch in range(budget.epochs):
        order = rng.permutation(len(targets))
        for index in order[: len(order) // size * size].reshape(-1, size):
            batch = jax.tree.map(lambda x, i=index: x[i], train)
            theta, opt_state = _step(model, spec, loss, rate, theta, opt_state, *batch)
        taus.append(kendall_tau(logits(model, spec, theta, validation[0]), validation[1]))
        since = epoch - int(np.argmax(taus))
        if since == 0:
            best = theta
        if since >= budget.patience:
            break
    return best, taus


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
    network, optimizer = model.network(spec), optax.adam(rate)

    def total(theta: PyTree[Array], readings: Readings, targets: Array) -> Array:
        found = jax.vmap(lambda r: network.apply(theta, r)[0])(readings)
        if loss == "squared":
            return jnp.sum(jnp.square(found - targets))
        return jnp.sum(optax.sigmoid_binary_cross_entropy(found, targets))

    # networks one by one stay in a CPU's cache, which is up to two and a half times as fast; see
    # "A zoo of networks that add" in the log
    parts = len(targets) if backend.on_cpu() else 1
    split = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), (readings, targets))

    def add(grads: PyTree[Array], part: tuple) -> tuple[PyTree[Array], None]:
        return jax.tree.map(jnp.add, grads, jax.grad(total)(theta, *part)), None

    grads, _ = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, theta), split)
    grads = jax.tree.map(lambda g: g / len(targets), grads)
    updates, opt_state = optimizer.update(grads, opt_state)
    return optax.apply_updates(theta, updates), opt_state
