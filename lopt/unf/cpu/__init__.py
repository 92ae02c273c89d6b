"""Operations of networks over weights that are fast on XLA's CPU backend.

Each function here is a sum, a mean, a rectifier or a call that one plain line of JAX would do. That
line is what runs on every other backend, and on small arrays; `lopt.unf.backend.on_cpu` decides,
and `tests/unf/test_backend.py` compares both, with their gradients, under `vmap`.

- `once`: sums and concatenations that XLA would compute again for every reader ("Calls that stay
  calls" in docs/performance.md).
- `averages`: means over axes that XLA would walk with strides ("Folded means").
- `activation`: a rectifier that LLVM makes vectors of ("A rectifier with two more instructions").
- `calls`: one tensor's update after the other, so that fewer temporaries are alive at a time
  ("Compiling the update of a deep network" in docs/research-log.md).
"""
