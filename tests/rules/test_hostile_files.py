"""Files of optimizers and predictors that ask for hours or gigabytes are refused, in a line."""

import json

import jax
import numpy as np
import pytest

from lopt.base.errors import UserError
from lopt.compare.provenance import steps_of, tasks_of
from lopt.predict import load as load_predictor
from lopt.predict.predictor import ARCHIVE as PREDICTORS
from lopt.rules import LearnedOptimizer, UNFRule, load, save
from lopt.rules.files import ARCHIVE as OPTIMIZERS
from lopt.symmetry import Axes, PermutationSpec
from lopt.symmetry.untrusted import spec_from_file
from lopt.unf.bounds import require_listable
from lopt.unf.plan import plan_for

UNF = {"name": "unf", "layers": "exact", "widths": [2], "features": ["gradient"]}
MODEL = {"name": "unf", "layers": "exact", "channels": 2, "depth": 1, "hidden": [2]}


def spec(*axes, **sizes):
    """The text of a spec with a tensor for each text of its axes."""
    tensors = [[[f"w{i}"], text.split()] for i, text in enumerate(axes)]
    return json.dumps({"tensors": tensors, "sizes": {"a": 1, "b": 2, **sizes}, "fixed": []})


def theta(coefficients, dtype=np.float32):
    return {"params/x": np.zeros(coefficients, dtype)}


def assert_refused(archive, read, path, arrays, contents, words):
    archive.write(path, arrays, contents)
    with pytest.raises(UserError, match=words) as raised:
        read(path)
    assert str(path) in str(raised.value)
    assert len(str(raised.value)) < 400


SPACES = {
    "an axis of eight factors": (spec("*".join("aaaaaaaa")), "too small for w0"),
    "an axis of eight groups": (spec("*".join("abababab")), "too small for w0"),
    "a product of twenty sums": (spec("*".join(["(a+b)"] * 10)), "too small for w0"),
    "sums on twenty axes": (spec(" ".join(["a+b"] * 20)), "too small for w0"),
    "many tensors": (spec(*["a b"] * 2000), "too small for w1055|fewer parameters than"),
    "more tensors than any file may have": (spec(*["a b"] * 5000), "up to 4,096 tensors, not"),
    "a large group": (spec("a b", a=3 * 10**8), "units in a group, not 300,000,000"),
    "a large group on many axes": (spec("a a a", "a a", a=10**7), "all axes, not 50,000,000"),
    "a large product": (spec("a*a*b", a=10**6), "units on all axes, not more"),
    "a group of ten to the 400": (spec("a b", a=10**400), "units in a group, not more"),
    "a negative group": (spec("a b", a=-1), "size of the group 'a'"),
    "half a neuron": (spec("a b", a=2.5), "size of the group 'a'"),
    "a long axis": (spec("*".join("a" * 10**5)), "32 groups in an axis, not 100,000"),
    "a deep axis": (spec("(" * 5000 + "a" + ")" * 5000), "groups in an axis, not 5,001"),
    "a deep path": (json.dumps({"tensors": [[["w"] * 5000, ["a"]]], "sizes": {"a": 1}}), "levels"),
    "deep JSON": ("[" * 100_000, "spec is malformed"),
    "a number": (3, "spec is malformed"),
    "a list of numbers": ('{"tensors": [1, 2], "sizes": {}, "fixed": []}', "spec is malformed"),
    "a tensor within another": (
        '{"tensors": [[["w"], ["a"]], [["w", "v"], ["a"]]], "sizes": {"a": 1}, "fixed": []}',
        "spec is malformed",
    ),
}


@pytest.mark.parametrize(("text", "words"), SPACES.values(), ids=SPACES)
def test_a_space_whose_layers_cannot_be_listed_is_refused(text, words, tmp_path):
    contents = {"rule": UNF, "spec": text, "provenance": {}}
    assert_refused(OPTIMIZERS, load, tmp_path / "o", theta(1000), contents, words)
    contents = {"model": MODEL, "spec": text, "scores": [0, 1], "loss": "squared", "provenance": {}}
    arrays = {"theta/params/x": np.zeros(1000, np.float32)}
    assert_refused(PREDICTORS, load_predictor, tmp_path / "p", arrays, contents, words)


@pytest.mark.parametrize("layers", ["exact", "relational", "pointwise"])
@pytest.mark.parametrize("widths", [[2_000_000], [1000] * 64, [40, 40]])
def test_widths_of_which_theta_would_be_larger_are_refused(layers, widths, tmp_path):
    rule = {**UNF, "layers": layers, "widths": widths}
    contents = {"rule": rule, "spec": spec("a b"), "provenance": {}}
    words = "1,000 coefficients .* widths"
    assert_refused(OPTIMIZERS, load, tmp_path / "o", theta(1000), contents, words)


@pytest.mark.parametrize(
    "change",
    [
        {"channels": 2_000_000},
        {"channels": 40, "depth": 3},
        {"hidden": [2_000_000]},
        {"hidden": [40, 40]},
        {"name": "neurons", "width": 2_000_000},
    ],
)
def test_predictors_that_would_be_larger_are_refused(change, tmp_path):
    model = change if "name" in change else {**MODEL, **change}
    contents = {"model": model, "spec": spec("a b"), "scores": [0, 1], "loss": "squared"}
    arrays = {"theta/params/x": np.zeros(1000, np.float32)}
    words = "1,000 coefficients"
    assert_refused(
        PREDICTORS, load_predictor, tmp_path / "p", arrays, {**contents, "provenance": {}}, words
    )


def test_what_would_not_be_loaded_again_is_not_saved(tmp_path):
    rule, small = UNFRule(**SMALL), spec_from_file(spec("a b"))
    theta = rule.init(jax.random.key(0), small)
    many = PermutationSpec({f"w{i}": Axes("a") for i in range(5000)}, {"a": 1})
    with pytest.raises(UserError, match="4,096 tensors"):
        save(tmp_path / "o", LearnedOptimizer(rule, theta, many, {}))
    whole = jax.tree.map(lambda x: np.asarray(x, np.int32), theta)
    with pytest.raises(UserError, match="float type"):
        save(tmp_path / "o", LearnedOptimizer(rule, whole, small, {}))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", [np.complex64, np.int32, bool])
def test_a_theta_of_no_real_floats_is_refused(dtype, tmp_path):
    contents = {"rule": UNF, "spec": spec("a b"), "provenance": {}}
    words = "params/x .* float type"
    assert_refused(OPTIMIZERS, load, tmp_path / "o", theta(1000, dtype), contents, words)


SMALL = {"widths": (2,), "features": ("gradient",)}


def test_theta_of_an_exact_rule_over_a_large_space_is_checked_without_arrays_of_its_size():
    space = PermutationSpec({"w": Axes("a", "b")}, {"a": 10**8, "b": 10**8})
    rule = UNFRule(layers="exact", **SMALL)
    shapes = jax.eval_shape(lambda key: rule.init(key, space), jax.random.key(0))
    assert jax.tree.leaves(shapes)


def test_theta_that_fits_any_space_is_not_traced_over_that_of_its_file(tmp_path, monkeypatch):
    def traced(rule, key, space, init=UNFRule.init):
        tensors.append(len(space.entries))
        return init(rule, key, space)

    rule, tensors = UNFRule(**SMALL), []
    many = PermutationSpec({f"w{i}": Axes("a", "b") for i in range(1000)}, {"a": 1, "b": 2})
    found = rule.init(jax.random.key(0), spec_from_file(spec("a b")))
    save(tmp_path / "o", LearnedOptimizer(rule, found, many, {}))
    monkeypatch.setattr(UNFRule, "init", traced)
    assert load(tmp_path / "o").spec == many
    assert tensors == [1]


@pytest.mark.parametrize(
    "axes",
    [
        {"w": Axes("a", "b"), "b": Axes("b")},
        {"w": Axes("a", "a"), "v": Axes("a*b", "a+b"), "s": Axes()},
        {"w": Axes("a", "a", "a")},
        {"w": Axes("z+a", "b"), "z": Axes("z")},
    ],
)
def test_no_space_is_refused_whose_layer_has_so_many_terms(axes):
    space = PermutationSpec(
        axes, {g: n for g, n in {"a": 2, "b": 3, "z": 0}.items() if g in str(axes)}
    )
    require_listable(space, plan_for(space).terms)


def told(**provenance):
    return LearnedOptimizer(UNFRule(), {}, None, provenance)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (None, "does not say what it was meta-trained on"),
        (3, "does not say"),
        ({"name": 3}, "does not say"),
        ({"name": ["mlp"]}, "does not say"),
        ({"name": "mixture", "tasks": None}, "does not say"),
        ({"name": "mixture", "tasks": []}, "does not say"),
        ({"name": "mixture", "tasks": 10**400}, "does not say"),
        ({"name": "mixture", "tasks": [None]}, "does not say"),
        ({"name": "mixture"}, "does not say"),
        ({"name": "mixture", "tasks": ["mlp", {"widths": [4]}]}, "does not say"),
        ({"name": "mixture", "tasks": ["mlp"] * 2000}, "meta-trained on 2,000 tasks.* may name 16"),
        ({"name": "mixture", "tasks": ["mlp", "mlp(widths=(1_000_000_000,))"]}, "widths up to"),
        ({"name": "mlp", "widths": [10**400]}, "widths up to"),
        ({"name": "mlp", "wid\x1b[31mths": [4]}, r"not 'wid\\x1b\[31mths'"),
    ],
    ids=range(14),
)
def test_tasks_that_a_file_may_not_name_are_one_line(task, words):
    with pytest.raises(UserError, match=words) as raised:
        tasks_of(told(task=task), "file")
    assert str(raised.value).isprintable()


NO_NUMBERS = [10**400, "1", [1], float("nan"), -1, True]


@pytest.mark.parametrize("value", [*NO_NUMBERS, None])
def test_steps_of_a_file_that_are_none_are_unknown(value):
    assert steps_of(told(inner={"steps": value})) is None


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_a_rate_of_a_file_that_is_none_is_refused(value, tmp_path):
    rule, space = UNFRule(**SMALL, layers="pointwise"), spec_from_file(spec("a b"))
    theta = rule.init(jax.random.key(0), space)
    save(tmp_path / "o", LearnedOptimizer(rule, theta, None, {}, 0.1))
    arrays, contents = OPTIMIZERS.read(tmp_path / "o")
    contents["learning_rate"] = value
    assert_refused(OPTIMIZERS, load, tmp_path / "o", arrays, contents, "learning_rate")
