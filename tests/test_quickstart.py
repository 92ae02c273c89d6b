"""What the README promises of the quickstart, at a tenth of its budget, compiled as users do."""

import os
import runpy
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from processes import ROOT

from lopt.base.schedules import scale_over_run
from lopt.meta.unroll import init_run, unroll
from lopt.rules import load
from lopt.tasks import build_mixture

CONFIG = "configs/quickstart.py"
SEEDS = 8


def mean_losses(learned, thetas):
    """The mean loss of fresh runs with each theta, as long as in meta-training: (thetas, seeds)."""
    inner = learned.provenance["inner"]
    (task,) = build_mixture(learned.provenance["task"]).tasks
    schedule = scale_over_run(inner["schedule"], inner["learning_rate"])

    def run(task, theta, key):
        optimizer = optax.chain(learned.rule.scale_by_rule(theta, learned.spec or spec), schedule)
        fresh = init_run(task, optimizer, key, inner["steps"])
        return unroll(task, optimizer, fresh, inner["steps"])[1].values.mean()

    spec = task.spec
    keys = jax.vmap(jax.random.key)(1_000_000 + jnp.arange(SEEDS))
    runs = jax.vmap(jax.vmap(run, (None, None, 0)), (None, 0, None))
    stacked = jax.tree.map(lambda *t: jnp.stack(t), *thetas)
    return np.asarray(jax.jit(runs)(task, stacked, keys))


@pytest.mark.slow
def test_a_tenth_of_the_meta_training_lowers_the_loss_of_fresh_runs(tmp_path):
    config = runpy.run_path(str(ROOT / CONFIG))["get_config"]()
    steps = f"--config.outer.steps={config.outer.steps // 10}"
    arguments = [f"--config={CONFIG}", f"--workdir={tmp_path}", steps]
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    command = [sys.executable, "meta_train.py", *arguments]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    learned = load(tmp_path / "optimizer.safetensors")
    (task,) = build_mixture(learned.provenance["task"]).tasks
    untrained = learned.rule.init(jax.random.key(0), task.spec)
    before, after = mean_losses(learned, [untrained, learned.theta])
    assert after.mean() < before.mean()
    assert np.sum(after < before) > SEEDS / 2
