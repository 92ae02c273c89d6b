"""A flax linen model in a TrainState, trained with a learned optimizer."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax.training.train_state import TrainState
from sklearn.datasets import load_digits

import lopt

STEPS = 200
digits = load_digits()
images, labels = jnp.asarray(digits.data / 16), jnp.asarray(digits.target)
model = nn.Sequential([nn.Dense(32), nn.relu, nn.Dense(10)])


def loss(params, images, labels):
    logits = model.apply(params, images)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


params = model.init(jax.random.key(0), images)
spec = lopt.infer_spec(loss, params, images, labels)
optimizer = lopt.optimizer("base", total_steps=STEPS, spec=spec)
state = TrainState.create(apply_fn=model.apply, params=params, tx=optimizer)


@jax.jit
def step(state, key):
    rows = jax.random.choice(key, len(images), (64,))
    value, grads = jax.value_and_grad(loss)(state.params, images[rows], labels[rows])
    return state.apply_gradients(grads=grads), value


print("neuron groups:", *spec.groups)
for key in jax.random.split(jax.random.key(1), STEPS):
    state, value = step(state, key)
    if state.step == 1 or state.step % 50 == 0:
        print(f"step {state.step}: loss {value:.4f}")
