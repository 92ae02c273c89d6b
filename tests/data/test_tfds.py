"""The tensorflow-datasets path; what needs the extra, or the files, skips where they are not."""

import fcntl
import gzip
import os
import shutil
import struct
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from processes import assert_refused, run

from lopt.base.errors import UserError
from lopt.base.parts import build
from lopt.data import DATASETS, TEXTS
from lopt.data.cache import folder as cache_folder
from lopt.data.images import preprocess, standardize
from lopt.data.prepare import main as prepare
from lopt.data.prepare import read_idx
from lopt.data.tfds import find
from lopt.meta.unroll import init_run, unroll
from lopt.rules import load
from lopt.runs.commands import one_line_errors
from lopt.tasks import cnn

FASHION_MNIST = Path(os.environ.get("FASHION_MNIST_IDX", "/usr/share/datasets/fashion-mnist"))


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LOPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    return tmp_path


@pytest.fixture(scope="session")
def tfds():
    pytest.importorskip("tensorflow", reason="the extra tfds is not installed")
    return pytest.importorskip("tensorflow_datasets", reason="the extra tfds is not installed")


def write_idx(file, array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    file.write_bytes(header + array.tobytes())


def write_idx_set(folder, train, test):
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    for stem, number in (("train", train), ("t10k", test)):
        images = random.integers(256, size=(number, 28, 28), dtype=np.uint8)
        write_idx(folder / f"{stem}-images-idx3-ubyte", images)
        write_idx(folder / f"{stem}-labels-idx1-ubyte", (np.arange(number) % 10).astype(np.uint8))
    return folder


def assert_preparing_refused(capsys, arguments, words):
    with pytest.raises(SystemExit) as end, one_line_errors():
        prepare([str(a) for a in arguments])
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    for word in words:
        assert word in line


@pytest.mark.parametrize("compress", [False, True])
def test_idx_files_are_read(tmp_path, compress):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    file = tmp_path / "file"
    write_idx(file, array)
    if compress:
        file.write_bytes(gzip.compress(file.read_bytes()))
    np.testing.assert_array_equal(read_idx(file), array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no IDX file"),
        (b"\0\0\x0d\1\0\0\0\1\0\0\0\0", "no IDX file of bytes"),
        (b"\0\0\x08\1\0\0\0\5abc", "damaged"),
        (b"\0\0\x08\3\0\0", "damaged"),
        (gzip.compress(b"\0\0\x08\1\0\0\0\1a", mtime=0)[:-9], "cannot read"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\0\xff\xff", "cannot read"),
        (gzip.compress(bytes(2**22)), "100 times"),
        (b"\0\0\x08\x64" + 100 * b"\0\0\0\1" + b"a", "damaged"),
        (b"\0\0\x08\4" + 3 * b"\xff\xff\xff\xff" + b"\0\0\0\0", "damaged"),
    ],
    ids=[
        "empty",
        "of floats",
        "too short",
        "no shape",
        "cut gzip",
        "no deflate",
        "of zeros",
        "of many axes",
        "of huge axes",
    ],
)
def test_damaged_idx_files_are_refused(tmp_path, content, message):
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_idx(file)


def test_a_missing_idx_file_is_named(tmp_path):
    with pytest.raises(UserError, match="no file in"):
        read_idx(tmp_path / "file")


@pytest.mark.parametrize(
    ("parts", "part", "words"),
    [
        (DATASETS, "fashion_mnist", ["lopt.data.prepare fashion_mnist", "--idx-dir", "digits"]),
        (DATASETS, "cifar10(side=16)", ["cifar10 is not prepared", "prepare cifar10", "digits"]),
        (DATASETS, "tfds(dataset='kmnist')", ["prepare kmnist"]),
        (TEXTS, "lm1b", ["prepare lm1b", "data='text'"]),
    ],
)
def test_a_set_that_is_not_prepared_says_how_to_and_what_to_use_meanwhile(home, parts, part, words):
    with pytest.raises(UserError) as caught:
        build(parts, part)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_newest_version_is_found(home):
    for version in ("3.0.2", "3.0.10", "notes"):
        (home / "data" / "some" / "config" / version).mkdir(parents=True)
        (home / "data" / "some" / "config" / version / "dataset_info.json").write_text("{}")
    assert find("some").name == "3.0.10"
    assert find("some/config").name == "3.0.10"
    assert find("other") is None


@pytest.mark.parametrize("name", ["../evil", "/", "", ".", "a/../../evil", "a//b", "a/", 5])
def test_a_name_stays_inside_the_data_folder(home, name):
    version = home / "evil" / "1.0.0"
    version.mkdir(parents=True)
    (version / "dataset_info.json").write_text("{}")
    for parts in (DATASETS, TEXTS):
        for outside in (name, str(home / "evil")):
            with pytest.raises(UserError, match="name of a data set"):
                build(parts, {"name": "tfds", "dataset": outside})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("required: name",)),
        (("cifar10", "--idx-dir=."), ("'cifar10' has no IDX files", "fashion_mnist")),
        (("fashion_mnist", "--idx-dir=nowhere"), ("no train-images-idx3-ubyte.gz in nowhere",)),
    ],
)
def test_mistakes_in_preparing_are_one_line(home, capsys, arguments, words):
    assert_preparing_refused(capsys, arguments, words)
    assert not (home / "data").exists()


def test_a_mistake_ends_the_command_with_one_line(home):
    result = run("-m", "lopt.data.prepare", "fashion_mnist", "--idxdir=.")
    assert_refused(result, "unrecognized arguments")


def test_idx_files_that_do_not_belong_together_are_refused(home, capsys):
    idx = write_idx_set(home / "idx", 20, 10)
    write_idx(idx / "train-labels-idx1-ubyte", np.zeros(19, np.uint8))
    words = ("do not belong together", "(20, 28, 28), 19 labels")
    assert_preparing_refused(capsys, ("fashion_mnist", f"--idx-dir={idx}"), words)


def test_a_prepared_set_is_genuine_and_loads(home, tfds):
    idx = write_idx_set(home / "idx", 40, 20)
    prepare(["mnist", f"--idx-dir={idx}", f"--data-dir={home / 'data'}"])
    raw = tfds.load("mnist", split="test", data_dir=str(home / "data"), batch_size=-1)
    images = read_idx(idx / "t10k-images-idx3-ubyte")
    assert {np.asarray(x).tobytes() for x in raw["image"]} == {x.tobytes() for x in images}

    data = build(DATASETS, "mnist(side=7)")
    train = preprocess(read_idx(idx / "train-images-idx3-ubyte")[..., None], 7)
    _, expected = standardize(train, preprocess(images[..., None], 7))
    rows = sorted(np.asarray(data.test.x).reshape(20, -1).tolist())
    np.testing.assert_allclose(rows, sorted(expected.reshape(20, -1).tolist()), atol=1e-5)
    assert data.counts.tolist() == [4] * 10
    assert data.source == "mnist 3.0.1 of tensorflow-datasets"
    assert len(list(cache_folder().iterdir())) == 1
    assert len(build(DATASETS, "mnist(examples=7)").train) == 7


def test_a_set_that_is_prepared_again_is_loaded_again(home, tfds, capsys):
    idx, arguments = home / "idx", ("mnist", f"--data-dir={home / 'data'}", f"--idx-dir={home}/idx")
    write_idx_set(idx, 40, 20)
    prepare(arguments)
    assert build(DATASETS, "mnist").counts.tolist() == [4] * 10
    write_idx(idx / "train-labels-idx1-ubyte", np.zeros(40, np.uint8))
    assert_preparing_refused(capsys, arguments, ("mnist is prepared in", "remove it"))
    shutil.rmtree(home / "data" / "mnist")
    prepare(arguments)
    assert build(DATASETS, "mnist").counts.tolist() == [40] + [0] * 9


def test_any_text_set_is_read_line_by_line(home, tfds):
    lines = [f"sentence number {i}".encode() for i in range(50)]
    tfds.dataset_builders.store_as_tfds_dataset(
        name="lines",
        version="1.0.0",
        data_dir=str(home / "data"),
        split_datasets={"train": [(i, {"text": line}) for i, line in enumerate(lines)]},
        features=tfds.features.FeaturesDict({"text": tfds.features.Text()}),
        disable_shuffling=True,
    )
    corpus = build(TEXTS, "tfds(dataset='lines', size=300)")
    whole = bytes(np.concatenate([corpus.train, corpus.test]))
    assert whole == b"\n".join(lines)[:300]
    with pytest.raises(UserError, match="image classification"):
        build(DATASETS, "tfds(dataset='lines')")


@pytest.fixture(scope="session")
def real(tfds, tmp_path_factory):
    """A folder with the real FashionMNIST, prepared by one process and then found by the others."""
    if not FASHION_MNIST.exists():
        pytest.skip("Debian's package dataset-fashion-mnist is not installed, see .ci/run")
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "fashion_mnist"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock, pytest.MonkeyPatch.context() as environment:
        fcntl.flock(lock, fcntl.LOCK_EX)
        environment.setenv("TFDS_DATA_DIR", str(folder / "data"))
        if not find("fashion_mnist"):
            words = ("fashion_mnist", f"--idx-dir={FASHION_MNIST}", f"--data-dir={folder / 'data'}")
            result = run("-m", "lopt.data.prepare", *words)
            assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture
def real_home(real, monkeypatch):
    monkeypatch.setenv("LOPT_CACHE", str(real / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(real / "data"))
    return real


@pytest.mark.slow
def test_a_cnn_trains_on_the_real_fashion_mnist(real_home, tfds):
    info = tfds.builder("fashion_mnist", data_dir=str(real_home / "data")).info
    assert (info.splits["train"].num_examples, info.splits["test"].num_examples) == (60000, 10000)
    assert info.features["label"].names[9] == "Ankle boot"

    task = cnn(data="fashion_mnist(side=8)", widths=(8, 16), batch_size=64)
    assert task.dataset.counts.tolist() == [6000] * 10
    optimizer = optax.adam(0.01)

    @jax.jit
    def train(task):
        run = init_run(task, optimizer, jax.random.key(0), 1)
        run, losses = unroll(task, optimizer, run, 300)
        return losses.values, task.evaluate(run.params, run.model_state)

    losses, metrics = train(task)
    assert losses[-20:].mean() < 0.5 * losses[:10].mean()
    assert metrics["accuracy"] > 0.65


@pytest.mark.slow
def test_the_papers_mlp_meta_trains_on_the_real_fashion_mnist(real_home, tmp_path):
    result = run(
        "meta_train.py",
        "--config=configs/paper/mlp.py",
        f"--workdir={tmp_path / 'run'}",
        "--config.estimator.pairs=2",
        "--config.estimator.truncation=5",
        "--config.estimator.horizon=10",
        "--config.outer.steps=4",
    )
    assert result.returncode == 0, result.stderr
    provenance = load(tmp_path / "run" / "optimizer.safetensors").provenance
    assert provenance["sources"] == ["fashion_mnist 3.0.1 of tensorflow-datasets"]
    assert provenance["meta_loss"] < 3
