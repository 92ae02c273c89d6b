import hashlib

import numpy as np
from sklearn.datasets import load_digits

from lopt.data import digits


def test_the_splits_are_the_whole_set_and_share_nothing():
    data = digits()
    assert len(data.train) + len(data.test) == len(load_digits().data)
    assert data.train.x.shape[1:] == (8, 8, 1)
    assert set(np.unique(data.test.y)) == set(range(data.classes))

    def indices(x):
        original = {row.tobytes(): i for i, row in enumerate(load_digits().data.astype("f4"))}
        raw = np.asarray(x).reshape(len(x), -1)
        scale = 16 / (raw.max() - raw.min())
        return [original[np.round((r - raw.min()) * scale).astype("f4").tobytes()] for r in raw]

    train, test = indices(data.train.x), indices(data.test.x)
    assert not set(train) & set(test)
    assert sorted(train + test) == list(range(len(train) + len(test)))


def test_inputs_are_standardized_by_the_training_split():
    data = digits()
    np.testing.assert_allclose(np.asarray(data.train.x).mean(), 0, atol=1e-5)
    np.testing.assert_allclose(np.asarray(data.train.x).std(), 1, atol=1e-5)
    assert abs(np.asarray(data.test.x).mean()) > 1e-4


def test_the_split_is_that_of_every_process_and_release():
    """The labels in their order, and the first images of the test split, as they always were."""
    data = digits()
    labels = np.concatenate([data.train.y, data.test.y]).astype("u1")
    assert hashlib.sha256(labels.tobytes()).hexdigest().startswith("b15734bfaf000383")
    assert data.test.y[:8].tolist() == [7, 6, 3, 7, 7, 3, 2, 8]
