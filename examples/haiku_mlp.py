"""A haiku model trained with a learned optimizer."""

import haiku as hk
import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_digits

import lopt

STEPS = 200
digits = load_digits()
images, labels = jnp.asarray(digits.data / 16), jnp.asarray(digits.target)
model = hk.without_apply_rng(hk.transform(lambda x: hk.nets.MLP([32, 10])(x)))


def loss(params, images, labels):
    logits = model.apply(params, images)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


params = model.init(jax.random.key(0), images)
spec = lopt.infer_spec(loss, params, images, labels)
optimizer = lopt.optimizer("base", total_steps=STEPS, spec=spec)
state = optimizer.init(params)


@jax.jit
def step(params, state, key):
    rows = jax.random.choice(key, len(images), (64,))
    value, grads = jax.value_and_grad(loss)(params, images[rows], labels[rows])
    updates, state = optimizer.update(grads, state, params)
    return optax.apply_updates(params, updates), state, value


print("neuron groups:", *spec.groups)
for i, key in enumerate(jax.random.split(jax.random.key(1), STEPS), 1):
    params, state, value = step(params, state, key)
    if i == 1 or i % 50 == 0:
        print(f"step {i}: loss {value:.4f}")
