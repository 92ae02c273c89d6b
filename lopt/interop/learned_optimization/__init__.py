"""google/learned_optimization (Metz et al., arXiv 2203.11860): its tasks and optimizers here.

`task_from` and `optimizer_from` take external tasks and optimizers here, `as_learned_optimizer` a
rule of this package there. docs/interop.md says how to install the library, which is imported when
one of these is called.
"""

from lopt.interop.learned_optimization.optimizers import ExternalState, optimizer_from
from lopt.interop.learned_optimization.rules import ExternalRun, as_learned_optimizer
from lopt.interop.learned_optimization.tasks import ExternalTask, task_from

__all__ = [
    "ExternalRun",
    "ExternalState",
    "ExternalTask",
    "as_learned_optimizer",
    "optimizer_from",
    "task_from",
]
