"""The tasks by name."""

from lopt.base.parts import Parts
from lopt.tasks.cnn import cnn
from lopt.tasks.mlp import autoencoder, mlp, residual_mlp
from lopt.tasks.quadratic import quadratic
from lopt.tasks.rnn import rnn
from lopt.tasks.task import Task
from lopt.tasks.transformer import transformer
from lopt.tasks.vit import vit

TASKS = Parts(
    "task",
    Task,
    mlp=mlp,
    residual_mlp=residual_mlp,
    cnn=cnn,
    rnn=rnn,
    transformer=transformer,
    autoencoder=autoencoder,
    vit=vit,
    quadratic=quadratic,
)
"""The tasks that a config or a command line can name; `lopt.tasks.families` adds the families."""
