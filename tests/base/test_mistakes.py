"""Wrong arguments of public functions: each is one line that names it, before anything is run."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lopt
from lopt.base.errors import UserError
from lopt.base.schedules import scale_over_run
from lopt.compare import Budget, Search, compare, entries
from lopt.meta import ES, NRES, PES, MetaTraining, Problem, Validation
from lopt.predict import NeuronModel, StatNNModel, TrainingBudget, UNFModel, fit
from lopt.predict.experiment import Settings
from lopt.predict.training import Zoo
from lopt.rules import RotatedRule, UNFRule
from lopt.symmetry import Axes, PermutationSpec
from lopt.tasks import from_arrays, mlp, quadratic
from lopt.unf import UNF, RelationalLayer

NAN, INF = float("nan"), float("inf")
BASE = lopt.load("base")
TASK = quadratic(2)
SPEC = PermutationSpec({"w": Axes("in", "out")}, {"in": 3, "out": 2}, ("in", "out"))
KEY, READ = jax.random.key(0), {"w": jnp.ones((3, 2, 1))}
NETWORKS = {"w": np.ones((12, 3, 2), np.float32)}


def optimizer(**changed):
    return BASE.transformation(**{"total_steps": 10, **changed})


def compared(**changed):
    return compare(**{"optimizers": {"sgd": optax.sgd(0.1)}, "tasks": TASK, "steps": 3, **changed})


def fitted(**changed):
    given = {"params": NETWORKS, "scores": np.linspace(0, 1, 12), "spec": SPEC}
    return fit(**{**given, "predictor": "stat_nn", **changed})


def planned(**changed):
    return Settings.from_config({"predictors": {"mine": {"name": "stat_nn"}}, **changed})


def validation(**changed):
    problem = Problem(TASK, optax.sgd)
    given = {"problems": [problem], "horizon": 3, "loss_cap": 1.0, "every": 1, "runs": 1}
    return Validation(**{**given, **changed})


def meta_training(**changed):
    given = {"problems": [Problem(TASK, optax.sgd)], "estimators": [ES()], "outer": optax.sgd(0.1)}
    return MetaTraining(**{**given, **changed})


def spec_of(size):
    return PermutationSpec({"w": Axes("h")}, {"h": size})


def arrays(**changed):
    given = {"init": lambda key: {}, "loss": lambda params, batch: 0.0, "data": jnp.ones((3, 2))}
    return from_arrays(**{**given, **changed})


MAKERS = {
    "optimizer": optimizer,
    "load": lopt.load,
    "network": lambda features: RelationalLayer(SPEC, features).init(KEY, READ),
    "networks": lambda features: UNF(SPEC, features).init(KEY, READ),
    "compare": compared,
    "entries": entries,
    "compare budget": Budget,
    "search": Search,
    "zoo": Zoo,
    "plan": planned,
    "training budget": TrainingBudget,
    "fit": fitted,
    "unf model": UNFModel,
    "stat_nn": StatNNModel,
    "neurons": NeuronModel,
    "spec": lambda **given: PermutationSpec({"w": Axes("h")}, **{"sizes": {"h": 3}, **given}),
    "size": spec_of,
    "axes": lambda axis: Axes(axis),
    "roles": lambda roles: Axes("in", "out", roles=roles),
    "es": ES,
    "pes": PES,
    "nres": NRES,
    "validation": validation,
    "meta-training": meta_training,
    "rotated": RotatedRule,
    "unf": UNFRule,
    "schedule": lambda **given: scale_over_run(**{"schedule": "cosine", "peak": 0.1, **given}),
    "task": arrays,
    "mlp": mlp,
    "quadratic": quadratic,
}

NO_SIZE = (0, -1, 2.5, NAN, "3", None, True, (3,), 2**70)
NO_RATE = (0.0, -0.1, NAN, INF, "0.1", None, True, [0.1])
NO_SIZES = (3, "ab", None, (2.5,), (0,), (NAN,), ("a",))
NO_SHARE = (0, 1, 1.5, -0.1, NAN, "a", None)

MISTAKES = {
    ("optimizer", "learning_rate"): (NAN, INF, -0.1, "0.1", [0.1], True),
    ("optimizer", "total_steps"): (0, -1, 0.5, NAN, INF, "20", None, True, (3,)),
    ("optimizer", "weight_decay"): (NAN, INF, -0.1, "0.1", None, [0.1]),
    ("optimizer", "mask"): ("w1", 3, {"w": "yes"}, {"w": 1.0}),
    ("optimizer", "spec"): ("x", 3, {"w": Axes("h")}),
    ("load", "path"): (None, 3, ["base"]),
    ("network", "features"): NO_SIZE,
    ("networks", "features"): (8, "a", None, (2.5,), (0,)),
    ("compare", "optimizers"): (None, 3, [], {}, [None], {3: optax.sgd(0.1)}),
    ("compare", "tasks"): (None, 3, [], {}, [None], {3: TASK}),
    ("compare", "steps"): (0, -1, 2.5, NAN, "3", None, True, (2.5,), (), (3, 4), 2**70),
    ("compare", "seeds"): NO_SIZE,
    ("compare", "rates"): NO_SIZE,
    ("compare", "schedules"): ("cosine", None, 3, (), (3,), ("cosin",)),
    ("compare", "weight_decays"): (0.1, "0.1", None, (NAN,), (-1.0,), (INF,), ("a",), (None,)),
    ("compare", "reference"): ("adamw", 3, ["sgd"]),
    ("compare", "measure"): ("loss", None, 3, ["final_loss"]),
    ("entries", "optimizers"): (None, 3),
    ("compare budget", "rates"): NO_SIZE,
    ("search", "centre"): NO_RATE,
    ("zoo", "widths"): NO_SIZES,
    ("zoo", "runs"): (*NO_SIZES, (2**30,)),
    ("zoo", "batch_sizes"): (4, *NO_SIZES),
    ("zoo", "learning_rate"): (0.1, "a", None, (0.1,), (0.1, 0.01), (0, 0.1), (NAN, 1), ("a", "b")),
    ("zoo", "share"): (0.5, (0.5, 1.5)),
    ("zoo", "steps"): NO_SIZE,
    ("zoo", "snapshots"): NO_SIZE,
    ("zoo", "every"): NO_SIZE,
    ("zoo", "together"): NO_SIZE,
    ("zoo", "numbers"): (3, 2.5, "a", None, 10**6),
    ("zoo", "unseen"): (0, 2.5, "a", None, 201),
    ("zoo", "seed"): (-1, "a", 2.5, 2**70, 4096, None),
    ("plan", "predictors"): ([], None, 3, {}, {"../x": {"name": "stat_nn"}}, {"a": None}),
    ("plan", "budget"): ([], None, 3, {"epoch": 3}, {"epochs": 1.5}),
    ("plan", "seeds"): NO_SIZE,
    ("plan", "test"): NO_SHARE,
    ("plan", "sizes"): (5, "a", None, (0,), (2.5,)),
    ("plan", "loss"): ("absolute", None, 3),
    ("training budget", "learning_rates"): (0.1, "a", None, (), (0,), (NAN,), ("a",)),
    ("training budget", "epochs"): (1.5, *NO_SIZE),
    ("training budget", "batch_size"): NO_SIZE,
    ("training budget", "patience"): NO_SIZE,
    ("training budget", "validation"): NO_SHARE,
    ("fit", "seed"): (-1, 2.5, "a", None, 2**32, 2**70),
    ("fit", "predictor"): (None, 3, ["unf"]),
    ("fit", "budget"): (3, {"epochs": 3}),
    ("fit", "runs"): (3, "a", [1, 2]),
    ("fit", "scores"): (3, "a", None, ["a"] * 12),
    ("unf model", "layers"): (3, None, ("exact",), "exakt"),
    ("unf model", "channels"): NO_SIZE,
    ("unf model", "hidden"): NO_SIZES,
    ("unf model", "kernel_init"): (None, 3, "fanin"),
    ("stat_nn", "quantiles"): (5, 0.5, (5,), (-0.1,), (NAN,), "a", None),
    ("stat_nn", "hidden"): NO_SIZES,
    ("neurons", "width"): NO_SIZE,
    ("size", "size"): (-1, 2.5, None, "3", True, NAN, 2**70),
    ("spec", "sizes"): (None, 3, "h", [("h", 3)], {3: 3}),
    ("spec", "fixed"): ("h", None, 3, [3], ["g"]),
    ("axes", "axis"): (None, 3, "", "a*", ("a", "b")),
    ("roles", "roles"): ("ab", 3, ("input",), ("input", "outputs"), (1, 2)),
    ("es", "pairs"): NO_SIZE,
    ("es", "horizon"): NO_SIZE,
    ("es", "sigma"): NO_RATE,
    ("es", "loss_cap"): (0, -1.0, NAN, "a", None),
    ("pes", "truncation"): NO_SIZE,
    ("pes", "shortest"): (-1, 2.5, "a", None, 501),
    ("pes", "sigma"): NO_RATE,
    ("nres", "sigma"): NO_RATE,
    ("validation", "every"): (-1, 2.5, "a", None),
    ("validation", "runs"): NO_SIZE,
    ("validation", "weights"): (3, "a", (), (1, 2), (0,), (NAN,)),
    ("meta-training", "estimators"): ([], [ES(), ES()]),
    ("meta-training", "weights"): (3, "a", (), (1, 2), (-1.0,)),
    ("meta-training", "clip"): (0, -1.0, NAN, "a", None),
    ("meta-training", "averaging"): (1, -0.1, NAN, "a", None),
    ("rotated", "width"): NO_SIZE,
    ("rotated", "decay"): (1.0, -0.1, NAN, "a", None),
    ("rotated", "second_decay"): (1.0, -0.1, NAN, "a", None),
    ("rotated", "power"): (2.0, -0.1, NAN, "a", None),
    ("rotated", "damping"): NO_RATE,
    ("rotated", "rate"): (0.0, 1.1, NAN, "a", None),
    ("rotated", "longest"): (-1, 2.5, "a", None),
    ("rotated", "momentum_dtype"): (3, None, "int8"),
    ("unf", "widths"): NO_SIZES,
    ("unf", "time"): (3, None, "zero"),
    ("unf", "output_scale"): (-1, NAN, "a", None),
    ("schedule", "schedule"): (3, None, ["cosine"], "cosin"),
    ("schedule", "peak"): NO_RATE,
    ("task", "init"): (None, 3),
    ("task", "loss"): (None, 3),
    ("task", "data"): ("words", 3, [], None),
    ("task", "batch_size"): NO_SIZE,
    ("mlp", "widths"): NO_SIZES,
    ("mlp", "batch_size"): NO_SIZE,
    ("mlp", "activation"): (3, None, ["relu"], "rely"),
    ("quadratic", "condition"): (0.5, NAN, INF, "a", None),
    ("quadratic", "noise"): (-1, NAN, "a", None),
}


@pytest.mark.parametrize(("of", "argument"), MISTAKES, ids=[" ".join(key) for key in MISTAKES])
def test_a_wrong_argument_is_one_line(of, argument):
    name = argument.rstrip("s").replace("_", " ")
    for value in MISTAKES[of, argument]:
        with pytest.raises(UserError) as caught:
            MAKERS[of](**{argument: value})
        line = str(caught.value)
        assert name in line.replace("_", " "), value
        assert len(line) <= 1020
        assert line.isprintable()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: compared(steps=2.5), "steps must be a positive integer"),
        (lambda: compared(weight_decays=0.1), "weight_decays must be a sequence"),
        (lambda: compared(optimizers=None), "optimizers must be"),
        (lambda: compared(tasks=None), "tasks must be"),
        (lambda: Zoo(widths=3), "zoo: widths must be a sequence"),
        (lambda: planned(predictors=[]), "predictors must be"),
        (lambda: planned(budget={"epoch": 3}), "did you mean epochs"),
        (lambda: planned(size=(5,)), "did you mean sizes"),
        (lambda: optimizer(mask="w1"), "mask must be"),
        (lambda: BASE.transformation(NAN), "learning rate must be a schedule or"),
        (lambda: spec_of(-1), "size of the group 'h' must be an integer"),
        (lambda: StatNNModel((5,)), "stat_nn: each of quantiles must be"),
        (lambda: lopt.save(BASE, "x.safetensors"), "path must be a path"),
        (lambda: lopt.save("x.safetensors", BASE.theta), "learned must be a LearnedOptimizer"),
        (lambda: BASE.transformation(), "pass total_steps"),
        (lambda: BASE.transformation(), "pass a guess"),
        (lambda: lopt.optimizer(0.1), "the path of a learned optimizer must be"),
        (lambda: fitted(seed=-1), "seed must be an integer from 0 to 4,294,967,295"),
    ],
)
def test_the_line_names_the_argument_and_what_it_should_be(make, words):
    with pytest.raises(UserError) as caught:
        make()
    assert words in str(caught.value)


def test_one_optimizer_alone_is_one_optimizer():
    for given in (optax.sgd(0.1), "adamw", optax.sgd):
        (found,) = entries(given)
        (in_a_list,) = entries([given])
        assert found.name == in_a_list.name


def test_integers_and_numbers_of_numpy_are_taken():
    found = compared(
        optimizers=["sgd"],
        steps=np.int64(3),
        seeds=np.int32(1),
        rates=np.uint8(1),
        weight_decays=np.array([0.0, 0.1]),
        time_steps=False,
    )
    assert found.steps == {"Quadratic": 3}
    assert type(found.seeds) is int
    BASE.transformation(np.float32(0.1), np.int64(3), jnp.float32(0.1), {"w": np.True_})
    assert StatNNModel(np.array([0.5])).quantiles == (0.5,)
    assert type(ES(pairs=np.int64(2)).pairs) is int
    assert spec_of(np.int64(3)).sizes == {"h": 3}
