"""Inner tasks: what optimizers are meta-trained and compared on."""

from lopt.parts import Parts
from lopt.tasks.classification import Classification, ImageTask, Reconstruction
from lopt.tasks.cnn import cnn
from lopt.tasks.language import LanguageModel
from lopt.tasks.mlp import autoencoder, mlp
from lopt.tasks.quadratic import Quadratic, quadratic
from lopt.tasks.rnn import rnn
from lopt.tasks.task import DataTask, RunState, Task
from lopt.tasks.transformer import transformer
from lopt.tasks.vit import vit

TASKS = Parts(
    "task",
    mlp=mlp,
    cnn=cnn,
    rnn=rnn,
    transformer=transformer,
    autoencoder=autoencoder,
    vit=vit,
    quadratic=quadratic,
)
"""The tasks that a config or a command line can name."""

__all__ = [
    "TASKS",
    "Classification",
    "DataTask",
    "ImageTask",
    "LanguageModel",
    "Quadratic",
    "Reconstruction",
    "RunState",
    "Task",
    "autoencoder",
    "cnn",
    "mlp",
    "quadratic",
    "rnn",
    "transformer",
    "vit",
]
