"""Images that scikit-learn carries: real data, no download.

scikit-learn is imported when it is used: it takes a third of the time in which a command starts.
"""

import numpy as np

from lopt.base.checks import integer
from lopt.data.dataset import Dataset
from lopt.data.images import preprocess, standardize

_SOURCE = 32  # the side of a patch in a photograph, before it is resized

_MOST = 32_768
"""Training patches: more would show each pixel of a photograph more than a hundred times."""


def digits() -> Dataset:
    """The 1,797 digits of the UCI set (Alpaydin & Kaynak, 1998), a fifth of them held out.

    Returns:
      Inputs of shape (8, 8, 1), grey values less the training mean over the training deviation,
      both scalars; the split is stratified and always the same.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    x = x.reshape(-1, 8, 8, 1).astype(np.float32)
    x_train, x_test, y_train, y_test = train_test_split(
        x, y, test_size=0.2, stratify=y, random_state=0
    )
    x_train, x_test = standardize(x_train, x_test)
    return Dataset.of((x_train, y_train), (x_test, y_test), 10, "digits of scikit-learn")


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
    from sklearn.datasets import load_sample_images

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
