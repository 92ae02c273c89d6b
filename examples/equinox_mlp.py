"""An equinox model trained with a learned optimizer, which sees its arrays only."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_digits

import lopt

STEPS = 200
digits = load_digits()
images, labels = jnp.asarray(digits.data / 16), jnp.asarray(digits.target)
model = eqx.nn.MLP(64, 10, width_size=32, depth=1, key=jax.random.key(0))
params, static = eqx.partition(model, eqx.is_inexact_array)


def loss(params, images, labels):
    logits = jax.vmap(eqx.combine(params, static))(images)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


spec = lopt.infer_spec(loss, params, images, labels)
optimizer = lopt.optimizer("base", total_steps=STEPS, spec=spec)
state = optimizer.init(params)


@eqx.filter_jit
def step(model, state, key):
    rows = jax.random.choice(key, len(images), (64,))
    params = eqx.filter(model, eqx.is_inexact_array)
    value, grads = jax.value_and_grad(loss)(params, images[rows], labels[rows])
    updates, state = optimizer.update(grads, state, params)
    return eqx.apply_updates(model, updates), state, value


print("neuron groups:", *spec.groups)
for i, key in enumerate(jax.random.split(jax.random.key(1), STEPS), 1):
    model, state, value = step(model, state, key)
    if i == 1 or i % 50 == 0:
        print(f"step {i}: loss {value:.4f}")
