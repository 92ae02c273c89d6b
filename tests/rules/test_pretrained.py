import hashlib
import json
import runpy
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

import lopt
from lopt.base.errors import UserError
from lopt.base.parts import build
from lopt.meta.unroll import init_run, unroll
from lopt.pretrained import PRETRAINED
from lopt.rules import RULES
from lopt.tasks import autoencoder

CONFIGS = Path(__file__).parents[2] / "configs" / "pretrain"


def test_there_is_one_by_default():
    assert "base" in PRETRAINED


@pytest.mark.parametrize("name", PRETRAINED)
def test_the_config_of_its_name_is_the_one_of_its_provenance(name):
    learned = lopt.load(name)
    config = runpy.run_path(str(CONFIGS / f"{name}.py"))["get_config"]()
    assert learned.rule == build(RULES, config.rule)
    assert learned.provenance["seed"] == config.seed
    for part in ("task", "estimator", "outer", "inner"):
        ours = json.loads(json.dumps(config[part].to_dict()))
        assert {k: learned.provenance[part][k] for k in ours} == ours


@pytest.mark.parametrize("name", PRETRAINED)
def test_the_guide_tells_of_this_file_and_no_other(name):
    digest = hashlib.sha256(Path(PRETRAINED[name]).read_bytes()).hexdigest()
    assert f"`{digest[:16]}`" in (CONFIGS.parents[1] / "docs" / "pretrained.md").read_text()


@pytest.mark.parametrize("name", PRETRAINED)
@pytest.mark.parametrize("spec_is_given", [True, False])
def test_it_trains_at_its_default_rate(name, spec_is_given):
    """Below Adam at its default, on a network that no config of `pretrain` names."""
    task = autoencoder(widths=(12, 4), batch_size=32)

    def final(optimizer):
        run = init_run(task, optimizer, jax.random.key(0), 200)
        return unroll(task, optimizer, run, 200)[1].values[-20:].mean()

    spec = task.spec if spec_is_given else None
    learned = jax.jit(lambda: final(lopt.optimizer(name, total_steps=200, spec=spec)))()
    assert np.isfinite(learned)
    assert learned < jax.jit(lambda: final(optax.adam(1e-3)))()


def test_the_default_rate_needs_the_length_of_the_run():
    with pytest.raises(UserError, match="pass total_steps"):
        lopt.optimizer("base")
