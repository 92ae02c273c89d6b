import json
import shutil
from dataclasses import replace

import jax
import numpy as np
import pytest
from predicting import ZOO

from lopt.base.errors import UserError
from lopt.predict.shards import ARCHIVE, Shards, from_zoo
from lopt.predict.training import Zoo
from lopt.predict.zoo import make


@pytest.fixture
def copied(zoo, tmp_path):
    """A zoo that a test may damage."""
    shutil.copytree(zoo / "zoo", tmp_path / "zoo")
    return tmp_path / "zoo"


def test_the_index_lists_every_network_with_its_run_and_scores(zoo):
    index = json.loads((zoo / "zoo" / "index.json").read_text())
    records = [record for shard in index["shards"] for record in shard["networks"]]
    assert len(records) == sum(ZOO.runs) * ZOO.snapshots
    for record in records:
        assert 3e-3 <= record["learning_rate"] <= 1e-1
        assert record["step"] in range(10, 61, 10)
        assert 0 <= record["test_success"] <= 1
        assert record["train_loss"] > 0
    steps = {(r["run"], r["step"]) for r in records}
    assert len(steps) == len(records)


def test_networks_of_one_width_are_read_together_and_differ(zoo):
    found = from_zoo(zoo / "zoo", "test_loss")
    assert {width: len(own) for width, own in found.items()} == {6: 20, 4: 4}
    kernel = found[6].params["encoder"]["hn"]["kernel"]
    assert kernel.shape == (20, 6, 6)
    assert len(np.unique(kernel[:, 0, 0])) == 20
    assert found[6].scores.std() > 0


def test_networks_learn(zoo):
    index = json.loads((zoo / "zoo" / "index.json").read_text())
    records = [record for shard in index["shards"] for record in shard["networks"]]
    early = [r["train_loss"] for r in records if r["step"] <= 20]
    late = [r["train_loss"] for r in records if r["step"] >= 50]
    assert np.mean(late) < 0.8 * np.mean(early)


def test_a_shard_that_is_missing_is_made_again_to_the_byte(copied):
    shard = copied / "shards" / "00001.safetensors"
    before, index = shard.read_bytes(), (copied / "index.json").read_bytes()
    shard.unlink()
    assert len(list(make(ZOO, copied))) == 3
    assert shard.read_bytes() == before
    assert (copied / "index.json").read_bytes() == index


def test_hyperparameters_of_a_run_do_not_depend_on_its_shard():
    zoo = Zoo(numbers=12, unseen=44)
    all_of, one = zoo.hyperparameters(range(8)), zoo.hyperparameters(range(5, 6))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[5:6], b), all_of, one)
    many = zoo.hyperparameters(range(500))
    assert np.median(many.learning_rate) == pytest.approx(1e-3, rel=0.3)
    assert many.sums.min() >= 50
    assert many.sums.max() <= 100


def test_a_damaged_shard_is_named(copied):
    shard = copied / "shards" / "00002.safetensors"
    data = bytearray(shard.read_bytes())
    data[-3] ^= 1
    shard.write_bytes(data)
    with pytest.raises(UserError, match=r"00002\.safetensors.* damaged"):
        from_zoo(copied)
    shard.unlink()
    with pytest.raises(UserError, match=r"no .*00002"):
        from_zoo(copied)


def test_a_zoo_that_is_not_there_or_not_finished_is_refused(copied, tmp_path):
    with pytest.raises(UserError, match="no zoo in"):
        from_zoo(tmp_path / "none")
    Shards(copied).write_index(2, 3)
    with pytest.raises(UserError, match="2 of 3 shards"):
        from_zoo(copied)
    index = (copied / "index.json").read_text()
    for damage in ("{", "[]", "[" * 100_000, index.replace('"of": 3', '"of": 2')):
        (copied / "index.json").write_text(damage)
        with pytest.raises(UserError, match=r"index\.json is damaged"):
            from_zoo(copied)


GOOD = {"run": 0, "step": 10, "width": 6, "test_success": 0.5}


@pytest.mark.parametrize(
    ("records", "shapes", "words"),
    [
        ([], {"a": (0,)}, "records of networks"),
        ({"a": 1}, {"a": (1,)}, "records of networks"),
        ([1], {"a": (1,)}, "records of networks"),
        ([{**GOOD, "width": [6]}], {"a": (1,)}, "records of networks"),
        ([{**GOOD, "test_success": 10**400}], {"a": (1,)}, "records of networks"),
        ([{"run": 0, "width": 6}], {"a": (1,)}, "records of networks"),
        ([GOOD], {}, "one record for each"),
        ([GOOD], {"a": ()}, "one record for each"),
        ([GOOD], {"a": (2,)}, "one record for each"),
        ([GOOD], {"a": (1,), "a/b": (1,)}, "a/b"),
        ([GOOD], {"a" + 100 * "/a": (1,)}, "64 deep.* 100"),
    ],
)
def test_a_shard_of_other_contents_is_one_line(records, shapes, words, tmp_path):
    shards = Shards(tmp_path)
    shards.file(0).parent.mkdir()
    arrays = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    ARCHIVE.write(shards.file(0), arrays, {"networks": records})
    with pytest.raises(UserError, match=words) as raised:
        shards.read(0)
    assert "\n" not in str(raised.value)


def test_shards_of_one_width_with_other_tensors_are_refused(tmp_path):
    shards = Shards(tmp_path)
    for number, name in enumerate("ab"):
        shards.write(number, {name: np.ones((1, 2), np.float32)}, [GOOD])
    shards.write_index(2, 2)
    with pytest.raises(UserError, match="other tensors"):
        from_zoo(tmp_path)


def test_an_unknown_target_is_refused(zoo):
    with pytest.raises(UserError, match="test_success"):
        from_zoo(zoo / "zoo", "tests_success")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"runs": (4,)}, "2 widths and 1 numbers of runs"),
        ({"snapshots": 7}, "lower zoo.every"),
        ({"learning_rate": (1e-2, 1e-4)}, "learning_rate must be"),
        ({"share": (0.5, 1.5)}, "share"),
        ({"unseen": 12}, "unseen .* 1 to 8"),
        ({"steps": 0}, "steps must be"),
    ],
)
def test_a_zoo_that_cannot_be_made_is_refused(change, words):
    with pytest.raises(UserError, match=words):
        replace(ZOO, **change)


def test_the_default_zoo_can_be_made():
    zoo = Zoo()
    assert len(zoo.hyperparameters(range(sum(zoo.runs))).seed) == 700
