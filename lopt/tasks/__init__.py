"""Inner tasks: what optimizers are meta-trained and compared on."""

from lopt.parts import Parts
from lopt.tasks.classification import MLP, Classification, mlp
from lopt.tasks.quadratic import Quadratic, quadratic
from lopt.tasks.task import Task

TASKS = Parts("task", mlp=mlp, quadratic=quadratic)
"""The tasks that a config or a command line can name."""

__all__ = ["MLP", "TASKS", "Classification", "Quadratic", "Task", "mlp", "quadratic"]
