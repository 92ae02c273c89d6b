"""The tasks by name."""

from lopt.base.parts import Parts
from lopt.tasks.cnn import cnn
from lopt.tasks.families.data import data_subset, input_scale, label_noise, label_subset
from lopt.tasks.families.weights import initial_scale, reparametrize
from lopt.tasks.mlp import autoencoder, mlp, residual_mlp
from lopt.tasks.quadratic import quadratic
from lopt.tasks.rnn import rnn
from lopt.tasks.task import Task
from lopt.tasks.transformer import transformer, vit

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
    label_subset=label_subset,
    data_subset=data_subset,
    label_noise=label_noise,
    input_scale=input_scale,
    initial_scale=initial_scale,
    reparametrize=reparametrize,
)
"""The tasks, families among them, that a config or a command line can name."""
