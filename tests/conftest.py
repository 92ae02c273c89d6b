from pathlib import Path

import jax
import matplotlib as mpl

ROOT = Path(__file__).parent.parent

jax.config.update("jax_compilation_cache_dir", str(ROOT / ".jax_cache"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
mpl.use("Agg")
