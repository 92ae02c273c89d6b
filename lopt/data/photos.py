"""Patches of the two photographs that scikit-learn carries: natural images, no download."""

import numpy as np

from lopt.base.checks import integer
from lopt.data.dataset import Dataset
from lopt.data.images import preprocess, standardize

_SOURCE = 32
"""The side of a patch in a photograph, before it is resized."""

_MOST = 32_768
"""Training patches: more would show each pixel of a photograph more than a hundred times."""


def photos(side: int = 8, grey: bool = True, patches: int = 4096) -> Dataset:
    """Square patches of a photograph of a temple and one of a flower, labelled by photograph.

    Patches lie anywhere in the left four fifths of a photograph; held-out ones, a quarter as many,
    in the right fifth, so that no pixel is in both.

    Args:
      side: of a patch after averaging, 1 to 32.
      grey: whether colours become grey values.
      patches: training patches of both photographs together, 8 to 32,768.

    Returns:
      Inputs of shape (side, side, 1 or 3), standardized by the training patches; the places are
      always the same.

    Raises:
      UserError: if `side` does not fit, or the patches are not from 8 to 32,768.
    """
    patches = integer(8, _MOST)("photos: patches", patches)
    from sklearn.datasets import load_sample_images  # when it is used, as in digits.py

    random = np.random.default_rng(0)
    train, test = [], []
    for photo in load_sample_images().images:
        border = photo.shape[1] * 4 // 5
        train.append(_patches(random, photo[:, :border], patches // 2))
        test.append(_patches(random, photo[:, border:], patches // 8))
    x_train, x_test = (preprocess(np.concatenate(x), side, grey) for x in (train, test))
    y_train, y_test = (np.repeat([0, 1], len(x) // 2) for x in (x_train, x_test))
    x_train, x_test = standardize(x_train, x_test)
    return Dataset.of((x_train, y_train), (x_test, y_test), 2, "photographs of scikit-learn")


def _patches(random: np.random.Generator, photo: np.ndarray, number: int) -> np.ndarray:
    height, width = (n - _SOURCE + 1 for n in photo.shape[:2])
    places = zip(
        random.integers(height, size=number), random.integers(width, size=number), strict=True
    )
    return np.stack([photo[i : i + _SOURCE, j : j + _SOURCE] for i, j in places])
