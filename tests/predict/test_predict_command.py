import csv
import json
import time

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from processes import assert_refused, launch, run
from safetensors.numpy import save_file

from lopt.predict import load
from lopt.predict.shards import from_zoo

FILES = ("report.md", "results.json", "scores.png", "scatter.png", "sizes.png")


@pytest.fixture
def config_file(small_config, tmp_path):
    path = tmp_path / "config.py"
    path.write_text(f"def get_config():\n    return {small_config.to_dict()!r}\n")
    return path


@pytest.mark.slow
def test_a_zoo_that_is_killed_resumes_and_predictors_are_trained_on_it(
    zoo, config_file, small_config, tmp_path
):
    flags = f"--config={config_file}", f"--workdir={tmp_path}"
    process = launch("-m", "lopt.predict.zoo", *flags)
    first, deadline = tmp_path / "zoo" / "shards" / "00000.safetensors", time.monotonic() + 300
    while not first.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert first.exists()
    result = run("-m", "lopt.predict.zoo", *flags)
    assert result.returncode == 0, result.stderr
    assert "24 networks of 12 runs" in result.stdout
    index, expected = (json.loads((f / "zoo" / "index.json").read_text()) for f in (tmp_path, zoo))
    assert index == expected

    result = run("-m", "lopt.predict", *flags)
    assert result.returncode == 0, result.stderr
    for name in FILES:
        assert (tmp_path / name).exists()
    results = json.loads((tmp_path / "results.json").read_text())
    assert {(r["predictor"], r["training_networks"]) for r in results["results"]} == {
        (name, size) for name in ("relational", "stat_nn") for size in (10, 14)
    }
    for found in results["results"]:
        assert len(found["taus"]) == 2
        assert len(found["taus_at_other_widths"]["4"]) == 2
    trained = list((tmp_path / "predictors").glob("*.safetensors"))
    assert len(trained) == 2 * 2 * 2

    before = {p: p.stat().st_mtime_ns for p in trained}
    (tmp_path / "predictors" / "stat_nn-14-1.safetensors").unlink()
    (tmp_path / "report.md").unlink()
    again = run("-m", "lopt.predict", *flags)
    assert again.returncode == 0, again.stderr
    after = {p: p.stat().st_mtime_ns for p in trained}
    assert [p.name for p in trained if before[p] != after[p]] == ["stat_nn-14-1.safetensors"]

    networks = from_zoo(tmp_path / "zoo")[6]
    predictor = load(tmp_path / "predictors" / "relational-14-0.safetensors")
    permutations = networks.spec.sample(jax.random.key(3))
    permuted = jax.vmap(lambda p: networks.spec.permute(p, permutations))(networks.params)
    np.testing.assert_allclose(predictor.many(permuted), predictor.many(networks.params), atol=1e-5)


@pytest.mark.slow
def test_predictors_are_trained_on_a_folder(mlps, config_file, tmp_path):
    networks = tmp_path / "networks"
    networks.mkdir()
    rows = [("network", "score", "run")]
    for i, name in enumerate(mlps.names):
        params = jax.tree.map(lambda x, i=i: x[i], mlps.params)
        save_file(flatten_dict(params, sep="/"), networks / f"{name}.safetensors")
        rows.append((name, mlps.scores[i], mlps.runs[i]))
    with (tmp_path / "scores.csv").open("w", newline="") as text:
        csv.writer(text).writerows(rows)
    (tmp_path / "spec.json").write_text(mlps.spec.to_json())
    arguments = (
        "-m",
        "lopt.predict",
        f"--config={config_file}",
        f"--workdir={tmp_path / 'out'}",
        f"--networks={networks}",
        f"--scores={tmp_path / 'scores.csv'}",
    )
    assert_refused(run(*arguments), "--networks", "--spec")
    every = [*arguments[1:], f"--spec={tmp_path / 'spec.json'}"]
    some = [*every, f"--workdir={tmp_path / 'some'}", "--config.predict.sizes=(10,)"]
    result = run("-m", "tests.in_turn", json.dumps([every, some]))
    assert result.returncode == 0, result.stderr
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["networks"] == 60
    assert results["runs"] == 30
    assert {r["training_networks"] for r in results["results"]} == {42}  # not the zoo's 10 and 14
    results = json.loads((tmp_path / "some" / "results.json").read_text())
    assert {r["training_networks"] for r in results["results"]} == {10}


def test_without_a_zoo_the_command_says_how_to_make_one(config_file, tmp_path):
    result = run("-m", "lopt.predict", f"--config={config_file}", f"--workdir={tmp_path}")
    assert_refused(result, "no zoo", "python -m lopt.predict.zoo")
