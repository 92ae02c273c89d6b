"""Bias and noise of the estimators of the meta-gradient, where it is known exactly.

python benchmarks/estimators.py --plot=docs/estimators.png

The task is the noisy quadratic of Wu et al. (arXiv 1803.02021), the optimizer gradient descent, and
theta the logarithm of its learning rate at five times of the run, linear between. The expected loss
of each step then has a closed form, whose derivative is the meta-gradient.

One JSON line for each estimator, truncation and sigma, in units of the exact gradient's norm:

- `bias`: the distance of the mean of many gradients, with runs at all ages, from the exact one,
  less what that distance is without a bias; `bias_error`: the standard error of the mean;
- `noise`: the standard deviation of one gradient of as many pairs as take 10,000 inner steps;
- `noise_of_a_run`: that of the mean over all truncations of a run, which together take as many.
"""

import json
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags
from jaxtyping import Array, Float
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from lopt.compare.looks import SAFE
from lopt.meta import ES, NRES, PES, TBPTT, Estimator, Problem
from lopt.tasks.quadratic import Quadratic

_PLOT = flags.DEFINE_string("plot", "", "Where a picture goes, if anywhere.")
_DRAWS = flags.DEFINE_integer("draws", 1024, "Independent estimates of each.")

HORIZON = 100
PAIRS = 4
KNOTS = 5
BUDGET = 10_000
SIGMA = 0.1
TRUNCATION = 10
TRUNCATIONS = (2, 5, 10, 25, 50, 100)
SIGMAS = (0.01, 0.03, 0.1, 0.3, 0.6, 1.0)
TASK = Quadratic(jnp.logspace(0, -2, 16), noise=0.5)
THETA = jnp.full(KNOTS, jnp.log(0.3))

COLORS = {"ES": SAFE[8], "PES": SAFE[1], "NRES": SAFE[2], "TBPTT": SAFE[0]}

Record = Mapping[str, float | str]


def learning_rate(theta: Float[Array, " knots"], step: Array) -> Float[Array, ""]:
    """The rate at a step of a run."""
    return jnp.exp(jnp.interp(step / HORIZON, jnp.linspace(0, 1, KNOTS), theta))


def expected_loss(theta: Float[Array, " knots"]) -> Float[Array, ""]:
    """The mean over a run of the expected losses, from the second moment of each coordinate."""

    def step(square: Array, count: Array) -> tuple[Array, Array]:
        contraction = learning_rate(theta, count) * TASK.curvature
        loss = 0.5 * jnp.sum(TASK.curvature * (square + TASK.noise**2))
        return (1 - contraction) ** 2 * square + (contraction * TASK.noise) ** 2, loss

    return jax.lax.scan(step, jnp.ones_like(TASK.curvature), jnp.arange(HORIZON))[1].mean()


def estimator_of(name: str, truncation: int, sigma: float) -> Estimator:
    """An estimator with few pairs, for a run of `HORIZON` steps."""
    if name == "ES":
        return ES(PAIRS, HORIZON, sigma)
    if name == "TBPTT":
        return TBPTT(PAIRS, truncation, HORIZON)
    return {"PES": PES, "NRES": NRES}[name](PAIRS, truncation, HORIZON, sigma=sigma)


def gradients(
    estimator: Estimator, count: int, draws: int
) -> Float[np.ndarray, "draws count knots"]:
    """Successive gradients at the same theta, once the runs have all ages."""
    problem = Problem(TASK, lambda theta: optax.sgd(lambda step: learning_rate(theta, step)))

    def draw(key: Array) -> Array:
        init_key, key = jax.random.split(key)
        state = estimator.init(problem, THETA, init_key)

        def body(state: Array, key: Array) -> tuple[Array, Array]:
            gradient, state, _ = estimator.gradient(problem, THETA, state, key)
            return state, gradient

        return jax.lax.scan(body, state, jax.random.split(key, 2 * count))[1][count:]

    return np.asarray(jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(0), draws)))


def measured(name: str, truncation: int, sigma: float, draws: int) -> Record:
    """Bias and noise of an estimator, as the JSON line says."""
    truncation = HORIZON if name == "ES" else truncation
    count = HORIZON // truncation
    found = gradients(estimator_of(name, truncation, sigma), count, draws)
    exact = np.asarray(jax.grad(expected_loss)(THETA))
    size = np.linalg.norm(exact)
    of_runs = found.mean(1)
    steps = 2 * PAIRS * truncation
    spread = np.sqrt(found.reshape(-1, KNOTS).var(0).sum())
    spread_of_runs = np.sqrt(of_runs.var(0).sum())
    error = spread_of_runs / np.sqrt(draws)
    distance = np.linalg.norm(of_runs.mean(0) - exact)
    return {
        "estimator": name,
        "truncation": truncation,
        "sigma": sigma,
        "bias": float(np.sqrt(max(0.0, distance**2 - error**2)) / size),
        "bias_error": float(error / size),
        "noise": float(spread * np.sqrt(steps / BUDGET) / size),
        "noise_of_a_run": float(spread_of_runs * np.sqrt(steps * count / BUDGET) / size),
    }


def lines_of(records: Sequence[Record], along: str) -> Mapping[str, list[Record]]:
    """The records of each estimator along truncations or sigmas, the other at its default."""
    if along == "sigma":
        shown = [r for r in records if r["truncation"] in (TRUNCATION, HORIZON)]
        shown = [r for r in shown if (r["truncation"] == HORIZON) == (r["estimator"] == "ES")]
        names = ("ES", "PES", "NRES")
    else:
        shown = [r for r in records if r["sigma"] == SIGMA]
        whole = [r for r in shown if r["estimator"] == "ES"]
        # ES has no truncation: its one measurement is a horizontal line.
        shown += [{**r, "truncation": t} for r in whole for t in TRUNCATIONS[:-1]]
        names = ("ES", "PES", "NRES", "TBPTT")
    return {
        name: sorted((r for r in shown if r["estimator"] == name), key=lambda r: r[along])
        for name in names
    }


def figure(records: Sequence[Record]) -> Figure:
    """Bias above, noise below; against the truncation on the left, sigma on the right."""
    drawn = Figure(figsize=(8.4, 5.8), layout="constrained")
    axes = drawn.subplots(2, 2, sharex="col", sharey="row")
    for column, along in zip(axes.T, ("truncation", "sigma"), strict=True):
        for name, line in lines_of(records, along).items():
            x, bias, error, noise, of_runs = (
                [r[key] for r in line]
                for key in (along, "bias", "bias_error", "noise", "noise_of_a_run")
            )
            style = {"color": COLORS[name], "marker": "o", "markersize": 3.5}
            column[0].errorbar(x, bias, error, label=name, capsize=2, **style)
            column[1].plot(x, noise, **style)
            column[1].plot(x, of_runs, linestyle=":", **style)
        column[0].set(xscale="log", ylim=(-0.05, 1.0))
        column[1].set(yscale="log", ylim=(0.01, 6))
        column[1].grid(alpha=0.3)
        column[0].grid(alpha=0.3)
    for axis, values in ((axes[1, 0].xaxis, TRUNCATIONS), (axes[1, 1].xaxis, SIGMAS)):
        axis.set_major_locator(FixedLocator(values))
        axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axis.set_minor_locator(NullLocator())
    axes[0, 0].set(ylabel="bias", title=f"sigma {SIGMA}, runs of {HORIZON} steps")
    axes[0, 1].set(title=f"truncations of {TRUNCATION} steps (ES: {HORIZON})")
    axes[1, 0].set(ylabel="noise, 10,000 inner steps", xlabel="truncation (inner steps)")
    axes[1, 1].set(xlabel="sigma")
    axes[0, 0].legend()
    handles = [Line2D([], [], color="0.3", linestyle=s) for s in ("-", ":")]
    axes[1, 1].legend(handles, ["one gradient", "mean over a run's truncations"])
    return drawn


def main(argv: list[str]) -> None:
    """Print a line for each setting, and draw them."""
    del argv
    settings = [("ES", HORIZON, s) for s in SIGMAS]
    settings += [(n, t, SIGMA) for n in ("PES", "NRES", "TBPTT") for t in TRUNCATIONS]
    settings += [(n, TRUNCATION, s) for n in ("PES", "NRES") for s in SIGMAS if s != SIGMA]
    records = []
    for setting in settings:
        records.append(measured(*setting, _DRAWS.value))
        print(json.dumps(records[-1]), flush=True)
    if _PLOT.value:
        figure(records).savefig(_PLOT.value, dpi=110)


if __name__ == "__main__":
    app.run(main)
