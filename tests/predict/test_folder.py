import csv

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax.traverse_util import flatten_dict
from safetensors.numpy import save_file

from lopt.base.errors import UserError
from lopt.predict.folder import from_folder


def function(params):
    """What the networks compute on one input."""
    h = jax.nn.relu(np.arange(3.0) @ params["first"]["kernel"] + params["first"]["bias"])
    return h @ params["second"]["kernel"]


def write_scores(path, rows):
    with path.open("w", newline="") as text:
        csv.writer(text).writerows(rows)


@pytest.fixture
def folder(mlps, tmp_path):
    """Three networks as safetensors files and one as an orbax checkpoint, with scores."""
    networks = tmp_path / "networks"
    networks.mkdir()
    each = [jax.tree.map(lambda x, i=i: x[i], mlps.params) for i in range(4)]
    for i, params in enumerate(each[:3]):
        save_file(flatten_dict(params, sep="." if i else "/"), networks / f"n{i}.safetensors")
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(networks / "n3", each[3])
    rows = [
        ("network", "score", "run"),
        ("n0", 0.1, "a"),
        ("n1", 0.2, "a"),
        ("n2.safetensors", 0.3, "b"),
        ("n3", 0.4, "b"),
    ]
    write_scores(tmp_path / "scores.csv", rows)
    (tmp_path / "spec.json").write_text(mlps.spec.to_json())
    return tmp_path


def test_networks_are_read_with_their_scores_and_runs(folder, mlps):
    found = from_folder(folder / "networks", folder / "scores.csv", f"{__name__}:function")
    assert found.scores.tolist() == [0.1, 0.2, 0.3, 0.4]
    assert found.runs.tolist() == ["a", "a", "b", "b"]
    expected = jax.tree.map(lambda x: x[:4], mlps.params)
    jax.tree.map(np.testing.assert_array_equal, found.params, expected)
    assert [found.spec.sizes[name] for name in found.spec.groups] == [5]


def test_a_csv_file_may_have_a_byte_order_mark(folder):
    text = (folder / "scores.csv").read_text()
    (folder / "scores.csv").write_text(text, encoding="utf-8-sig")
    found = from_folder(folder / "networks", folder / "scores.csv", str(folder / "spec.json"))
    assert found.scores.tolist() == [0.1, 0.2, 0.3, 0.4]


def test_a_spec_is_read_from_json(folder, mlps):
    found = from_folder(folder / "networks", folder / "scores.csv", str(folder / "spec.json"))
    assert found.spec == mlps.spec


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("network", "scores")], "no column 'score'"),
        ([("network", "score")], "no networks"),
        ([("network", "score"), ("n0", "high")], "line 2: 'high'"),
        ([("network", "score"), ("n0", 1), ("n0", 1)], "line 3: 'n0'"),
        ([("network", "score"), ("n0", 1), ("n9", 1)], "network 'n9'"),
        ([], "column 'network'.* network,score"),
        (
            [("network", "score"), ("../networks/n0", 1)],
            "line 2: '../networks/n0'",
        ),
        ([("network", "score"), ("/n0", 1)], "line 2: '/n0'"),
        ([("network", "score"), ("", 1)], "line 2: ''"),
        ([("score", "network"), (1,)], "line 2: None"),
    ],
)
def test_a_csv_file_that_makes_no_sense_is_refused(folder, rows, words):
    write_scores(folder / "scores.csv", rows)
    with pytest.raises(UserError, match=words):
        from_folder(folder / "networks", folder / "scores.csv", str(folder / "spec.json"))


def test_the_first_network_that_differs_or_is_damaged_is_named(folder, mlps):
    arguments = folder / "networks", folder / "scores.csv", str(folder / "spec.json")
    file = folder / "networks" / "n1.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:50])
    with pytest.raises(UserError, match=r"network n1: .*n1\.safetensors"):
        from_folder(*arguments)
    other = {"first.kernel": np.ones((3, 6), np.float32)}
    save_file(other, file)
    with pytest.raises(UserError, match=r"network n1: first/bias .* n0 \(5,\)"):
        from_folder(*arguments)
    params = jax.tree.map(lambda x: np.array(x[1]), mlps.params)
    params["first"]["kernel"][0, 0] = np.nan
    save_file(flatten_dict(params, sep="."), file)
    with pytest.raises(UserError, match="network n1: first/kernel"):
        from_folder(*arguments)


@pytest.mark.parametrize(
    ("name", "words"),
    [("a" + ".a" * 5000, "64 deep"), ("a.b", "a/b")],
    ids=["deep", "within"],
)
def test_networks_whose_names_make_no_tree_are_refused(folder, name, words):
    tensors = {"a": np.ones(2, np.float32), name: np.ones(2, np.float32)}
    save_file(tensors, folder / "networks" / "n0.safetensors")
    with pytest.raises(UserError, match=f"network n0: .*{words}"):
        from_folder(folder / "networks", folder / "scores.csv", str(folder / "spec.json"))


def test_a_checkpoint_of_far_larger_tensors_than_its_files_is_refused(folder):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "networks" / "zeros", {"a": np.zeros(5_000_000, np.float32)})
    write_scores(folder / "scores.csv", [("network", "score"), ("zeros", 0.5)])
    with pytest.raises(UserError, match=r"network zeros: .* 100 times"):
        from_folder(folder / "networks", folder / "scores.csv", str(folder / "spec.json"))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("function", "module:function"),
        ("none.json", "none.json"),
        ("deep.json", r"deep\.json"),
        ("no_such_module:function", "'no_such_module'"),
        ("jax.numpy:sum", "sum .*params"),
    ],
)
def test_a_spec_that_cannot_be_had_is_refused(folder, spec, words, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "deep.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match=words):
        from_folder(folder / "networks", folder / "scores.csv", spec)
