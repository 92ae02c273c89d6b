"""Every config of a comparison names optimizers and tasks that exist."""

import inspect
import runpy
from pathlib import Path

import pytest

from lopt.compare import BASELINES, compare, entries
from lopt.compare.comparison import build_tasks, lengths_of
from lopt.compare.entries import UNTRAINED, offered
from lopt.compare.grid import Budget
from lopt.pretrained import PRETRAINED

FOLDER = Path(__file__).parents[2] / "configs" / "compare"


def config_of(name, *arguments):
    return runpy.run_path(str(FOLDER / name))["get_config"](*arguments).to_dict()


@pytest.mark.parametrize("name", sorted(p.name for p in FOLDER.glob("*.py")))
def test_a_config_can_run(name):
    config = config_of(name)
    assert config.keys() <= inspect.signature(compare).parameters.keys()
    known = {*BASELINES, *PRETRAINED, UNTRAINED}
    optimizers = config["optimizers"]
    texts = optimizers.values() if isinstance(optimizers, dict) else optimizers
    assert all(text in known or text.endswith(".safetensors") for text in texts)
    assert config["reference"] in optimizers
    tasks = [task.replace("fashion_mnist(side=8)", "digits") for task in config["tasks"]]
    lengths_of(config["steps"], len(build_tasks(tasks)))
    Budget(config["rates"], config["schedules"])
    here = [text for text in texts if not text.endswith(".safetensors")]
    assert offered(entries(here), config["schedules"]) == config["schedules"]


def test_the_small_config_names_controls_and_all_four_architectures():
    config = config_of("small.py", "a.safetensors,b.safetensors")
    assert config["optimizers"][-2:] == ("a.safetensors", "b.safetensors")
    assert {"muon", "tensor_normalized_adam", UNTRAINED} < set(config["optimizers"])
    assert len(config["optimizers"]) >= 8
    names = {task.split("(")[0] for task in config["tasks"]}
    assert {"mlp", "cnn", "rnn", "transformer"} <= names
    assert len(names) >= 6
    assert (config["rates"], config["seeds"]) == (7, 3)
