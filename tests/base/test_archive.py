import dataclasses

import numpy as np
import pytest
from safetensors.numpy import save_file

from lopt.base.archive import Archive
from lopt.base.errors import UserError
from lopt.base.parts import user_function

ARCHIVE = Archive("basket", "lopt.basket", format=2, hint="nobody writes one")
TREE = {"a": {"b": np.ones(2, np.float32), "c": np.float32(0.5)}, "d": np.zeros((2, 0), np.float16)}


@pytest.fixture
def file(tmp_path):
    ARCHIVE.write(tmp_path / "basket", TREE, {"of": ("eggs", 12)})
    return tmp_path / "basket"


def test_arrays_and_plain_data_are_read_as_they_were_written(file):
    with ARCHIVE.reading(file) as (tree, contents):
        assert contents == {"of": ["eggs", 12]}
        np.testing.assert_equal(tree, TREE)
        assert tree["d"].dtype == np.float16


def test_arrays_in_another_order_keep_their_numbers(tmp_path):
    columns_first = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    ARCHIVE.write(tmp_path / "basket", {"a": columns_first}, {})
    with ARCHIVE.reading(tmp_path / "basket") as (tree, _):
        np.testing.assert_array_equal(tree["a"], columns_first)


def flip(file):
    whole = bytearray(file.read_bytes())
    whole[-1] ^= 1
    file.write_bytes(whole)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda file: file.unlink(), "no basket file"),
        (lambda file: file.write_text("eggs"), "safetensors"),
        (lambda file: save_file({"a": TREE["d"]}, file), "no basket"),
        (lambda file: save_file({"a": TREE["d"]}, file, {"lopt.basket": "[" * 10**5}), "metadata"),
        (lambda file: save_file({"a": TREE["d"]}, file, {"lopt.basket": "{}"}), "format"),
        (lambda file: dataclasses.replace(ARCHIVE, format=1).write(file, TREE, {}), "format 1"),
        (flip, "damaged"),
        (
            lambda file: dataclasses.replace(ARCHIVE, finite=False).write(
                file, {"a": np.float32(np.nan)}, {}
            ),
            "not finite: a",
        ),
        (lambda file: ARCHIVE.write(file, {"a": np.ones(2, int)}, {}), "a is of type int64"),
        (lambda file: ARCHIVE.write(file, {"a": TREE["d"], "a/b": TREE["d"]}, {}), "a/b"),
    ],
)
def test_any_other_file_is_named_in_a_line(change, words, file):
    change(file)
    with pytest.raises(UserError, match=words) as caught, ARCHIVE.reading(file):
        pass
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (lambda contents: contents["from"], "'from'"),
        (lambda contents: contents["of"] + 1, "TypeError"),
        (lambda contents: user_function("no_such_module:function"), "--trust"),
    ],
)
def test_what_goes_wrong_with_the_contents_is_named_with_the_file(action, words, file):
    with pytest.raises(UserError, match=words) as caught, ARCHIVE.reading(file) as (_, contents):
        action(contents)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("tree", "contents", "words"),
    [({"a": np.array([1.0, np.inf])}, {}, "a is not finite"), ({}, {"a": {1, 2}}, "plain data")],
)
def test_what_would_not_be_read_again_is_not_written(tree, contents, words, file):
    before = file.read_bytes()
    with pytest.raises(UserError, match=words):
        ARCHIVE.write(file, tree, contents)
    assert file.read_bytes() == before
