import jax
import jax.numpy as jnp
import numpy as np

from lopt.meta.staggered import Staggered, restart


def test_fresh_runs_are_made_in_the_steps_in_which_one_ended_and_only_there():
    made = []

    def fresh():
        jax.debug.callback(lambda: made.append(1))
        return Staggered(jnp.full(3, 9.0), jnp.full(3, 4))

    step = jax.jit(lambda staggered: restart(staggered, fresh))
    staggered = Staggered(jnp.zeros(3), jnp.array([4, 3, 2]))
    seen = []
    for _ in range(3):
        staggered, ended = step(staggered)
        jax.effects_barrier()
        seen.append((staggered.remaining.tolist(), ended.tolist(), len(made)))
    assert seen == [
        ([3, 2, 1], [False, False, False], 0),
        ([2, 1, 4], [False, False, True], 1),
        ([1, 4, 3], [False, True, False], 2),
    ]
    np.testing.assert_array_equal(staggered.runs, [0, 9, 9])
