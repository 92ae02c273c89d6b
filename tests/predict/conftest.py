import dataclasses

import pytest
from ml_collections import ConfigDict
from predicting import KINDS, ZOO, mlps_of

from lopt.base.parts import config
from lopt.predict import PREDICTORS, TrainingBudget, fit
from lopt.predict.zoo import make
from lopt.symmetry import Axes, PermutationSpec


@pytest.fixture(scope="session")
def zoo(tmp_path_factory):
    """A workdir with a finished zoo."""
    workdir = tmp_path_factory.mktemp("zoo")
    folder = workdir / "zoo"
    folder.mkdir()
    list(make(ZOO, folder))
    return workdir


@pytest.fixture(scope="session")
def small_config():
    """A config of the small zoo and of quick predictors."""
    return ConfigDict(
        {
            "zoo": dataclasses.asdict(ZOO),
            "predict": {
                "predictors": {
                    "relational": config(
                        PREDICTORS, "unf", layers="relational", channels=2, depth=1, hidden=(4,)
                    ),
                    "stat_nn": config(PREDICTORS, "stat_nn", hidden=(4,)),
                },
                "budget": {"epochs": 2, "batch_size": 4, "validation": 0.3},
                "seeds": 2,
                "test": 0.3,
                "sizes": (10, 14),
            },
        }
    )


@pytest.fixture(scope="session")
def mlps():
    """Sixty perceptrons (3-5-2), of two per run, whose score grows with their weights."""
    axes = {
        "first": {"kernel": Axes("in", "hidden"), "bias": Axes("hidden")},
        "second": {"kernel": Axes("hidden", "out")},
    }
    sizes = {"in": 3, "hidden": 5, "out": 2}
    spec = PermutationSpec(axes, sizes, ("in", "out"))
    return mlps_of(spec, 60)


@pytest.fixture(scope="session", params=KINDS)
def trained(request, mlps):
    """A trained predictor of each kind."""
    budget = TrainingBudget(
        learning_rates=(1e-2,), epochs=12, batch_size=4, patience=12, validation=0.2
    )
    return fit(mlps.params, mlps.scores, mlps.spec, request.param, runs=mlps.runs, budget=budget)
