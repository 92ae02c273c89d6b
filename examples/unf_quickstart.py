"""Networks over the weights of a small flax model: one equivariant, one invariant."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lopt.symmetry import infer_spec
from lopt.unf import UNF, InvariantUNF

model = nn.Sequential([nn.Dense(16), nn.relu, nn.Dense(16), nn.relu, nn.Dense(3)])
images = jnp.ones((5, 8))
params = model.init(jax.random.key(0), images)
spec = infer_spec(model.apply, params, images)
print(spec)

weights = jax.tree.map(lambda p: p[..., None], params)  # one channel: the weight itself
equivariant = UNF(spec, features=(32, 32, 1), layers="exact")
step, theta = jax.jit(equivariant.init_with_output)(jax.random.key(1), weights)
print(jax.tree.map(jnp.shape, step))

invariant = InvariantUNF(spec, features=(32, 32), outputs=(64, 1), layers="relational")
accuracy, theta = jax.jit(invariant.init_with_output)(jax.random.key(2), weights)

moved = spec.permute(weights, spec.sample(jax.random.key(3)))  # the same function, other weights
print(accuracy, jax.jit(invariant.apply)(theta, moved))
