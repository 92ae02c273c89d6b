import hashlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from lopt.base.errors import UserError
from lopt.base.parts import build
from lopt.data import DATASETS, TEXTS, Dataset, photos, text
from lopt.data.corpus import Corpus, Window
from lopt.data.tokens import Bytes, Characters, Words


def test_patches_are_of_the_photographs_and_splits_share_no_pixel():
    data = photos(side=32, grey=False, patches=16)
    assert data.train.x.shape == (16, 32, 32, 3)
    assert data.test.x.shape == (4, 32, 32, 3)
    border = load_sample_images().images[0].shape[1] * 4 // 5
    levels = np.unique(np.asarray(data.train.x).round(6))
    level = np.diff(levels)[np.diff(levels) > 1e-4].min()
    assert all(column_of(x, y, level) + 32 <= border for x, y in pairs(data.train))
    assert all(column_of(x, y, level) >= border for x, y in pairs(data.test))


def pairs(examples):
    return zip(np.asarray(examples.x), np.asarray(examples.y), strict=True)


def column_of(patch, label, level):
    """Where in its photograph a standardized patch is, `level` being the step of a grey value."""
    red = load_sample_images().images[label][..., 0].astype(float)
    windows = np.lib.stride_tricks.sliding_window_view(red, (32, 32))
    wanted = np.round((patch[..., 0] - patch[0, 0, 0]) / level)
    corner = windows[:, :, 0, :4] - windows[:, :, 0, :1]
    for i, j in np.argwhere((corner == wanted[0, :4]).all(-1)):
        if np.array_equal(windows[i, j] - windows[i, j, 0, 0], wanted):
            return j
    pytest.fail("the patch is nowhere in its photograph")


def test_photographs_are_standardized_and_always_the_same():
    data = photos(patches=64)
    np.testing.assert_allclose(np.asarray(data.train.x).mean(), 0, atol=1e-5)
    np.testing.assert_allclose(np.asarray(data.train.x).std(), 1, atol=1e-5)
    np.testing.assert_array_equal(data.test.x, photos(patches=64).test.x)


def test_training_examples_are_sorted_by_label():
    x = np.arange(6.0)[:, None]
    data = Dataset.of((x, np.array([2, 0, 2, 1, 0, 2])), (x[:1], np.zeros(1, int)), 4, "")
    assert data.train.y.tolist() == [0, 0, 1, 2, 2, 2]
    assert data.train.x[:, 0].tolist() == [1, 4, 3, 0, 2, 5]
    assert data.counts.tolist() == [2, 1, 3, 0]


def test_a_view_of_labels_and_of_a_part_draws_exactly_its_examples():
    x = np.arange(40.0)[:, None]
    data = Dataset.of((x, np.repeat([0, 1, 2, 3], 10)), (x, np.repeat([0, 1, 2, 3], 10)), 4, "")
    view = data.view._replace(
        labels=jnp.array([0.0, 1, 0, 1]), start=jnp.float32(0.2), fraction=jnp.float32(0.3)
    )
    drawn = data.sample(view, jax.random.key(0), 500)
    assert np.unique(drawn.x).tolist() == [12, 13, 14, 32, 33, 34]
    counts = np.bincount(drawn.x[:, 0].astype(int), minlength=40)
    assert counts[counts > 0].min() > 50
    examples, weights = data.held_out(view)
    assert weights.tolist() == [0.0] * 10 + [1.0] * 10 + [0.0] * 10 + [1.0] * 10
    assert len(examples) == 40


def test_the_text_is_program_text_and_its_source_has_its_hash():
    corpus = text(size=5000)
    whole = bytes(np.concatenate([corpus.train, corpus.test])).decode()
    assert "import" in whole
    digest = re.search(r"sha256 ([0-9a-f]{64})", corpus.source)[1]
    assert hashlib.sha256(whole.encode()).hexdigest() == digest
    assert text(size=5000).source == corpus.source
    assert text(size=4000).source != corpus.source


def test_the_size_caps_the_text_and_a_tenth_is_held_out():
    corpus = text(size=5000)
    assert len(corpus.train) + len(corpus.test) <= 5000
    assert len(corpus.test) == pytest.approx(500, abs=5)


def test_sequences_are_pieces_of_the_text():
    corpus = Corpus.of("abcdefghij", "klmnopq", "bytes", "")
    drawn = np.asarray(corpus.sample(corpus.view, jax.random.key(0), 200, 3))
    assert {bytes(d.astype(np.uint8)).decode() for d in drawn} == {
        "abcdefghij"[i : i + 4] for i in range(7)
    }
    held_out = np.asarray(corpus.held_out(3))
    assert [bytes(d.astype(np.uint8)).decode() for d in held_out] == ["klmn", "nopq"]


def test_every_start_of_a_long_text_can_come():
    """The number of different starts is that of uniform draws; a float32 has 2 ** 23 of them."""
    starts, draws = 10_000_000, 1_000_000
    corpus = Corpus(jnp.arange(starts + 1), jnp.arange(2), starts + 1, 1.0)
    drawn = np.asarray(corpus.sample(corpus.view, jax.random.key(0), draws, 1))[:, 0]
    expected = starts * -np.expm1(draws * np.log1p(-1 / starts))
    deviation = draws / np.sqrt(2 * starts)
    assert abs(len(np.unique(drawn)) - expected) < 5 * deviation
    assert abs(drawn.mean() / starts - 0.5) < 5 / np.sqrt(12 * draws)


@pytest.mark.parametrize("starts", [1, 7, 2**24 + 1, 2_000_000_001])
def test_a_window_of_all_has_the_first_and_the_last_start(starts):
    assert [int(n) for n in Window(jnp.zeros(()), jnp.ones(())).bounds(starts)] == [0, starts]


def test_a_window_of_a_part_has_the_starts_of_its_shares():
    def bounds(start, fraction, starts):
        return [int(n) for n in Window(jnp.float32(start), jnp.float32(fraction)).bounds(starts)]

    assert bounds(0.2, 0.3, 10) == [2, 5]
    assert bounds(0.999, 1e-6, 10) == [9, 10]
    assert bounds(0.5, 0.5, 10) == [5, 10]


def test_tokens_by_hand():
    train, test, vocabulary = Characters(limit=4)("banana b", "bay")
    assert train.tolist() == [2, 1, 3, 1, 3, 1, 0, 2]
    assert test.tolist() == [2, 1, 0]
    assert vocabulary == 4
    train, test, vocabulary = Words(limit=10)("to be, or not to be", "not here, to be")
    assert vocabulary == 6
    assert train.tolist() == [2, 1, 3, 5, 4, 2, 1]
    assert test.tolist() == [4, 0, 3, 2, 1]
    assert Bytes()("é", "")[0].tolist() == [195, 169]


def test_characters_per_token_turn_nats_into_bits_per_character():
    corpus = Corpus.of("a b c a b c", "a b c a", "words", "")
    assert corpus.characters_per_token == 7 / 4
    assert corpus.vocabulary == 4


@pytest.mark.parametrize(
    ("parts", "part", "message"),
    [
        (DATASETS, "photo", "'photo'.* photos"),
        (DATASETS, "photos(side=33)", "side from 1 to 32"),
        (DATASETS, "photos(patches=2)", "8 to 32,768.* 2$"),
        (DATASETS, "photos(patches=1_000_000_000)", "8 to 32,768.* 1000000000"),
        (DATASETS, "digits(side=4)", "'side'"),
        (TEXTS, "texts", "'texts'.* text"),
        (TEXTS, "text(size=0)", "size.* 0"),
        (TEXTS, "text(size=1.5)", "size.* 1.5"),
        (TEXTS, "text(size=3, tokens='words')", "little text"),
        (
            TEXTS,
            "text(tokens=characters(limit=1))",
            "vocabulary.* 2, not 1",
        ),
    ],
)
def test_impossible_data_are_refused(parts, part, message):
    with pytest.raises(UserError, match=message):
        build(parts, part)
