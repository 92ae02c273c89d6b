"""google/learned_optimization (Metz et al., arXiv 2203.11860): its tasks and optimizers, and ours.

`as_learned_optimizer` takes a rule there, `task_from` and `optimizer_from` take their tasks and
optimizers here. docs/interop.md says how to install the library, which is imported when one of
these is called.
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
