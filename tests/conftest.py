import os

import jax
import matplotlib as mpl
import pytest
from processes import ROOT, XLA_FLAGS

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {XLA_FLAGS}"
jax.config.update("jax_compilation_cache_dir", str(ROOT / ".jax_cache"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
mpl.use("Agg")


@pytest.fixture(scope="session")
def regression():
    """A matrix and a vector fitted to data: the smallest task that every optimizer can train."""
    from regressions import linear_regression

    return linear_regression()
