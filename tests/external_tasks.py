"""Tasks in learned_optimization's interface: haiku networks on digits, with and without state."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from learned_optimization.tasks import base
from learned_optimization.tasks.datasets import base as datasets_base
from sklearn.datasets import load_digits

BATCH = 16


def digits():
    """Their container of four iterators, over scikit-learn's digits."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)

    def iterate(seed, rows):
        random = np.random.default_rng(seed)
        while True:
            found = random.choice(rows, BATCH)
            yield hk.data_structures.to_immutable_dict(
                {"image": images[found], "label": labels[found].astype(np.int32)}
            )

    rows = np.arange(len(images))
    splits = [iterate(seed, rows[:1500] if seed < 3 else rows[1500:]) for seed in range(4)]
    return datasets_base.Datasets(*splits)


class Digits(base.Task):
    """An MLP without state."""

    def __init__(self, width=8):
        super().__init__()
        self.datasets = digits()
        network = hk.nets.MLP
        self._net = hk.without_apply_rng(hk.transform(lambda x: network([width, 10])(x)))

    def init(self, key):
        return self._net.init(key, jnp.zeros((1, 64)))

    def loss(self, params, key, data):
        return self._loss(self._net.apply(params, data["image"]), data)

    def loss_and_aux(self, params, key, data):
        logits = self._net.apply(params, data["image"])
        accuracy = jnp.mean(jnp.argmax(logits, -1) == data["label"])
        return self._loss(logits, data), {"accuracy": accuracy}

    def _loss(self, logits, data):
        labels = jax.nn.one_hot(data["label"], 10)
        return jnp.mean(base.softmax_cross_entropy(logits=logits, labels=labels))


class NormalizedDigits(base.Task):
    """An MLP whose state is the averages of its batch normalization."""

    def __init__(self, width=8):
        super().__init__()
        self.datasets = digits()

        def forward(x, training):
            # a bias here would have gradients of rounding errors, which normalized steps enlarge
            x = hk.Linear(width, with_bias=False)(x)
            x = hk.BatchNorm(True, True, 0.9)(x, is_training=training)
            return hk.Linear(10)(jax.nn.relu(x))

        self._net = hk.without_apply_rng(hk.transform_with_state(forward))

    def init_with_state(self, key):
        return self._net.init(key, jnp.zeros((1, 64)), True)

    def loss_with_state(self, params, state, key, data):
        logits, state = self._net.apply(params, state, data["image"], True)
        return self._loss(logits, data), state

    def loss_with_state_and_aux(self, params, state, key, data):
        logits, state = self._net.apply(params, state, data["image"], False)
        return self._loss(logits, data), state, {}

    _loss = Digits._loss
