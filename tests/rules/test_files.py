import dataclasses
import errno
import json
import os
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import lopt
from lopt.base.archive import UnreadableError
from lopt.base.digested import digest_of
from lopt.base.errors import UserError
from lopt.rules import LearnedOptimizer, UNFRule, load, save
from lopt.symmetry import Axes, PermutationSpec, SpecError
from lopt.tasks import mlp

PROVENANCE = {"task": {"name": "mlp"}, "meta_loss": 0.25}


def learned(layers, space):
    rule = UNFRule(layers=layers, widths=(4,), features=("weight", "momentum(decays=(0.9,))"))
    theta = rule.init(jax.random.key(3), space.spec)
    return LearnedOptimizer(rule, theta, space.spec if rule.tied else None, PROVENANCE)


@pytest.fixture(params=["relational", "exact", "pointwise"])
def saved(request, space, tmp_path):
    original = learned(request.param, space)
    save(tmp_path / "o.safetensors", original)
    return original, tmp_path / "o.safetensors"


def test_what_is_saved_is_loaded(saved):
    original, path = saved
    loaded = load(path)
    assert loaded.rule == original.rule
    assert loaded.spec == original.spec
    assert loaded.provenance == PROVENANCE
    jax.tree.map(np.testing.assert_array_equal, loaded.theta, original.theta)
    assert not list(path.parent.glob("*.partial"))


def test_a_loaded_optimizer_steps_as_the_original(saved, space):
    original, path = saved
    a = original.rule.optimizer(original.theta, 0.1, space.spec)
    b = lopt.optimizer(path, 0.1, spec=space.spec)
    step = [
        jax.jit(lambda p, g, o=o: o.update(g, o.init(p), p)[0])(space.params, space.random(1))
        for o in (a, b)
    ]
    jax.tree.map(np.testing.assert_array_equal, *step)


def test_pointwise_and_tied_rules_need_no_spec(saved, space):
    original, path = saved
    if original.rule.layers == "relational":
        with pytest.raises(UserError, match="pass spec="):
            lopt.optimizer(path, 0.1)
    else:
        optimizer = lopt.optimizer(path, 0.1)
        optimizer.init(space.params)


def test_a_tied_rule_refuses_other_params_and_names_the_first_path(space, tmp_path):
    path = tmp_path / "o.safetensors"
    save(path, learned("exact", space))
    wider = mlp(widths=(6, 7))
    with pytest.raises(SpecError, match=r"Dense_1/bias axis 0: .* 5 .* 7"):
        lopt.optimizer(path, 0.1, spec=wider.spec)
    with pytest.raises(SpecError, match=r"Dense_1/bias axis 0: .* 5 .* 7"):
        lopt.optimizer(path, 0.1).init(wider.init(jax.random.key(0))[0])
    with pytest.raises(SpecError, match="Dense_2"):
        lopt.optimizer(path, 0.1).init(mlp(widths=(6,)).init(jax.random.key(0))[0])


def test_a_dict_is_no_spec(saved):
    _, path = saved
    with pytest.raises(SpecError, match=r"dict.*PermutationSpec"):
        lopt.optimizer(path, 0.1, spec={"w": Axes("in", "out")})


class Dense(NamedTuple):
    kernel: Any
    bias: Any


def test_a_tied_rule_of_params_that_are_no_dicts_is_not_saved(tmp_path):
    spec = PermutationSpec(Dense(Axes("in", "out"), Axes("out")), {"in": 3, "out": 2})
    rule = UNFRule(layers="exact", widths=(2,), features=("gradient",))
    tied = LearnedOptimizer(rule, rule.init(jax.random.key(0), spec), spec, {})
    with pytest.raises(UserError, match="dicts within dicts"):
        save(tmp_path / "file.safetensors", tied)
    assert not list(tmp_path.iterdir())


def test_a_tied_rule_without_its_spec_is_not_saved(space, tmp_path):
    tied = dataclasses.replace(learned("exact", space), spec=None)
    with pytest.raises(UserError, match="tied to the params"):
        save(tmp_path / "file.safetensors", tied)
    assert not list(tmp_path.iterdir())


def test_a_file_is_written_through_a_link_and_never_in_the_place_of_a_pipe(space, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")
    original = learned("pointwise", space)
    save(tmp_path / "link", original)
    assert load(tmp_path / "file").rule == original.rule
    assert (tmp_path / "link").is_symlink()
    with pytest.raises(UserError, match="a pipe"):
        save(tmp_path / "pipe", original)
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("method", ["open", "is_file"])
def test_a_file_that_may_not_be_read_is_not_called_damaged(method, saved, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    _, path = saved
    monkeypatch.setattr(type(path), method, refuse)
    with pytest.raises(UnreadableError, match=r"safetensors.* Permission denied$"):
        load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="no learned optimizer"):
        load(tmp_path / "none.safetensors")


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_file_is_refused(keep, saved):
    _, path = saved
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match="damaged"):
        load(path)


def test_a_foreign_file_is_refused(tmp_path):
    path = tmp_path / "f.safetensors"
    save_file({"weight": np.zeros(3)}, path)
    with pytest.raises(UserError, match="no learned optimizer"):
        load(path)


def test_theta_of_another_rule_is_refused(space, tmp_path):
    original = learned("relational", space)
    other = UNFRule(widths=(5,), features=original.rule.features)
    path = tmp_path / "o.safetensors"
    save(path, LearnedOptimizer(other, original.theta, None, PROVENANCE))
    with pytest.raises(UserError, match=r"o\.safetensors.* theta of its rule"):
        load(path)


def test_a_failed_save_leaves_the_old_file(space, tmp_path, monkeypatch):
    path = tmp_path / "o.safetensors"
    save(path, learned("pointwise", space))
    before = path.read_bytes()
    broken = learned("pointwise", space)
    broken.provenance["task"] = jnp.ones(3)
    with pytest.raises(UserError, match=r"plain data.*JSON"):
        save(path, broken)
    broken.provenance["task"] = {"name": "mlp"}
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


def test_no_bit_of_a_file_changes_what_is_loaded(space, tmp_path):
    path = tmp_path / "o.safetensors"
    original = learned("pointwise", space)
    save(path, original)
    whole, damaged = path.read_bytes(), 0
    for place in np.random.default_rng(0).integers(8 * len(whole), size=200):
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        path.write_bytes(content)
        try:
            loaded = load(path)
        except UserError:
            damaged += 1
            continue
        assert (loaded.rule, loaded.provenance) == (original.rule, PROVENANCE)
        jax.tree.map(np.testing.assert_array_equal, loaded.theta, original.theta)
    assert damaged > 190


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_theta_that_is_not_finite_is_neither_saved_nor_loaded(space, tmp_path, value):
    path = tmp_path / "o.safetensors"
    original = learned("pointwise", space)
    theta = jax.tree.map(jnp.asarray, original.theta)
    leaves, structure = jax.tree.flatten(theta)
    leaves[-1] = leaves[-1].at[(0,) * leaves[-1].ndim].set(value)
    with pytest.raises(UserError, match=r"params/.* not finite"):
        save(path, dataclasses.replace(original, theta=structure.unflatten(leaves)))
    assert not list(tmp_path.iterdir())
    save(path, original)
    rewrite(path, tensors=lambda t: {k: np.full_like(v, value) for k, v in t.items()})
    with pytest.raises(UserError, match="not finite: params/"):
        load(path)


def rewrite(path, contents=lambda c: c, tensors=lambda t: t, text=None):
    """Write a file again with other contents, its digest correct: as somebody would on purpose."""
    with safe_open(path, framework="numpy") as file:
        arrays = tensors({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        data = json.loads(file.metadata()["lopt.optimizer"])
    data = contents(data)
    if isinstance(data, dict) and "sha256" in data:
        inner = {k: v for k, v in data.items() if k not in ("format", "sha256")}
        data["sha256"] = digest_of(arrays, inner)
    save_file(arrays, path, {"lopt.optimizer": json.dumps(data) if text is None else text})


def deep(levels):
    return [deep(levels - 1)] if levels else 1


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (lambda c: 3, "no format"),
        (lambda c: {}, "no format"),
        (lambda c: {**c, "format": 5}, "format 5 .* 6"),
        (lambda c: {**c, "format": [1] * 1000}, "format"),
        (lambda c: {"format": c["format"]}, "digest"),
        (lambda c: {k: v for k, v in c.items() if k != "sha256"}, "digest"),
        (lambda c: {k: v for k, v in c.items() if k != "rule"}, "'rule'"),
        (lambda c: {**c, "rule": 3}, "rule must be a name"),
        (lambda c: {**c, "rule": {}}, "rule has no name"),
        (lambda c: {**c, "rule": {**c["rule"], "colour": 1}}, "'colour'"),
        (lambda c: {**c, "rule": {**c["rule"], "widths": "x"}}, "widths must be a sequence"),
        (lambda c: {**c, "rule": {**c["rule"], "widths": deep(20)}}, "16 deep"),
        (lambda c: {**c, "rule": {**c["rule"], "widths": [10**12]}}, "widths .* 100,000,000"),
        (lambda c: {**c, "rule": {**c["rule"], "layers": [None]}}, "layers must be text"),
        (lambda c: {**c, "rule": {**c["rule"], "features": ["weight(a=1)"]}}, "weight has no arg"),
        (lambda c: {**c, "spec": "{"}, "spec is malformed"),
        (lambda c: {**c, "spec": [1]}, "spec is malformed"),
        (lambda c: {**c, "spec": '{"tensors": [[1]], "sizes": {}, "fixed": []}'}, "malformed"),
        (lambda c: {**c, "provenance": None}, "provenance is not a mapping"),
    ],
)
def test_malformed_metadata_are_one_line(contents, message, space, tmp_path):
    path = tmp_path / "o.safetensors"
    save(path, learned("pointwise", space))
    rewrite(path, contents)
    with pytest.raises(UserError, match=message) as caught:
        load(path)
    assert "o.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("axes", [["h"] * 8, ["h"] * 4 + ["k"] * 4, ["h"] * 30])
def test_a_spec_whose_terms_take_long_to_list_is_refused(axes, space, tmp_path):
    path = tmp_path / "o.safetensors"
    save(path, learned("exact", space))
    spec = {"tensors": [[["w"], axes]], "sizes": {"h": 2, "k": 2}, "fixed": []}
    rewrite(path, lambda c: {**c, "spec": json.dumps(spec)})
    with pytest.raises(UserError, match="too small"):
        load(path)


def test_a_tied_rule_without_its_spec_is_refused(space, tmp_path):
    path = tmp_path / "o.safetensors"
    save(path, learned("exact", space))
    rewrite(path, lambda c: {**c, "spec": None})
    with pytest.raises(UserError, match="no spec"):
        load(path)


@pytest.mark.parametrize("text", ["", "{", 100_000 * "[", "[" * 5000 + "]" * 5000, "NaN"])
def test_metadata_that_are_no_json_are_one_line(text, space, tmp_path):
    path = tmp_path / "o.safetensors"
    save(path, learned("pointwise", space))
    rewrite(path, text=text)
    with pytest.raises(UserError, match="malformed"):
        load(path)


def test_tensors_within_each_other_are_refused(space, tmp_path):
    path = tmp_path / "o.safetensors"
    save(path, learned("pointwise", space))
    rewrite(path, tensors=lambda t: {"params": np.zeros(1), **t})
    with pytest.raises(UserError, match=r"o\.safetensors"):
        load(path)


def test_what_is_loaded_in_a_traced_function_stays_of_use(saved):
    original, path = saved
    kept = []

    @jax.jit
    def traced(x):
        kept.append(load(path))
        return x + jax.tree.leaves(kept[0].theta)[0].sum()

    traced(0.0)
    jax.tree.map(np.testing.assert_array_equal, kept[0].theta, original.theta)


def test_the_home_folder_is_found(space, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save("~/o.safetensors", learned("pointwise", space))
    assert (tmp_path / "o.safetensors").is_file()
    assert load("~/o.safetensors").provenance == PROVENANCE


def test_provenance_whose_keys_are_numbers_is_loaded_with_keys_of_text(space, tmp_path):
    path = tmp_path / "o.safetensors"
    save(path, dataclasses.replace(learned("pointwise", space), provenance={10: 1.0, 9: [(2,)]}))
    assert load(path).provenance == {"10": 1.0, "9": [[2]]}


def test_the_rate_and_its_schedule_are_those_of_the_file(space, tmp_path):
    path = tmp_path / "o.safetensors"
    save(
        path, dataclasses.replace(learned("pointwise", space), learning_rate=0.2, schedule="linear")
    )
    loaded = load(path)
    assert (loaded.learning_rate, loaded.schedule) == (0.2, "linear")
    grads = space.random(1)
    found = [
        optimizer.update(grads, optimizer.init(space.params), space.params)[0]
        for optimizer in (loaded.transformation(total_steps=10), loaded.transformation(0.2))
    ]
    jax.tree.map(np.testing.assert_array_equal, *found)


def test_without_a_rate_in_the_file_one_is_needed(space):
    with pytest.raises(UserError, match="learning rate"):
        learned("pointwise", space).transformation(total_steps=10)


@pytest.mark.parametrize(
    ("name", "value"), [("learning_rate", 0.0), ("learning_rate", "a"), ("schedule", "cosin")]
)
def test_a_default_rate_that_is_none_is_refused(name, value, space):
    with pytest.raises(UserError, match=rf"{name}.*{value}"):
        dataclasses.replace(learned("pointwise", space), **{name: value})
