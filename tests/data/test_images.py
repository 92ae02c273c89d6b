import numpy as np
import pytest

from lopt.base.errors import UserError
from lopt.data.images import area_weights, preprocess, resize, standardize, to_grey


def test_a_grey_value_weighs_the_channels():
    pixel = np.array([[[[1.0, 0.5, 0.25]]]])
    np.testing.assert_allclose(to_grey(pixel), [[[[0.299 + 0.2935 + 0.0285]]]])
    grey = np.ones((2, 3, 3, 1))
    assert to_grey(grey) is grey


def test_whole_factors_average_blocks():
    image = np.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_allclose(resize(image, 2)[0, :, :, 0], [[2.5, 4.5], [10.5, 12.5]])


def test_cut_pixels_count_by_their_share():
    np.testing.assert_allclose(
        area_weights(5, 2) * 5, [[2, 2, 1, 0, 0], [0, 0, 1, 2, 2]], atol=1e-12
    )
    image = np.zeros((1, 5, 5, 1))
    image[0, 2, 0] = 25.0
    np.testing.assert_allclose(resize(image, 2)[0, :, :, 0], [[2, 0], [2, 0]], atol=1e-12)


def test_resizing_keeps_the_mean_and_channels_apart():
    image = np.random.default_rng(0).random((2, 28, 28, 3))
    small = resize(image, 8)
    assert small.shape == (2, 8, 8, 3)
    np.testing.assert_allclose(small.mean((1, 2)), image.mean((1, 2)), rtol=1e-12)


def test_the_same_size_changes_nothing():
    image = np.random.default_rng(1).random((1, 6, 6, 1))
    np.testing.assert_allclose(resize(image, 6), image, atol=1e-12)


def test_preprocessing_chains_the_steps():
    images = np.zeros((1500, 4, 4, 3), np.uint8)
    images[1400, :2, :2, 0] = 255
    whole = preprocess(images, side=2, grey=True)
    assert whole.shape == (1500, 2, 2, 1)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(whole[1400, 0, 0, 0], 0.299, rtol=1e-6)
    assert np.count_nonzero(whole) == 1


def test_standardizing_uses_the_training_split_only():
    train, test = standardize(np.array([[1.0], [3.0]]), np.array([[5.0]]))
    np.testing.assert_allclose(train, [[-1], [1]])
    np.testing.assert_allclose(test, [[3]])


def test_constant_images_do_not_divide_by_zero():
    train, _ = standardize(np.ones((3, 2)), np.ones((1, 2)))
    np.testing.assert_array_equal(train, 0)


@pytest.mark.parametrize("side", [0, 5, -1, 2.5])
def test_a_side_that_does_not_fit_is_refused(side):
    with pytest.raises(UserError, match=f"resized to side={side}; take a side from 1 to 4"):
        preprocess(np.zeros((1, 4, 6, 1), np.uint8), side)
