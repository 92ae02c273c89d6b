"""Inner tasks: what optimizers are meta-trained and compared on."""

from lopt.tasks.classification import Classification, ImageTask, Reconstruction
from lopt.tasks.cnn import cnn
from lopt.tasks.data_task import DataTask, RunState
from lopt.tasks.families import (
    Family,
    data_subset,
    initial_scale,
    input_scale,
    label_noise,
    label_subset,
    reparametrize,
)
from lopt.tasks.from_arrays import ArraysTask, from_arrays
from lopt.tasks.language import LanguageModel
from lopt.tasks.mixture import MIXTURES, Mixture, build_mixture, mixture
from lopt.tasks.mlp import autoencoder, mlp, residual_mlp
from lopt.tasks.quadratic import Quadratic, quadratic
from lopt.tasks.registry import TASKS
from lopt.tasks.rnn import rnn
from lopt.tasks.task import Task
from lopt.tasks.transformer import transformer, vit
from lopt.tasks.untrusted import build_untrusted, training_bytes

__all__ = [
    "MIXTURES",
    "TASKS",
    "ArraysTask",
    "Classification",
    "DataTask",
    "Family",
    "ImageTask",
    "LanguageModel",
    "Mixture",
    "Quadratic",
    "Reconstruction",
    "RunState",
    "Task",
    "autoencoder",
    "build_mixture",
    "build_untrusted",
    "cnn",
    "data_subset",
    "from_arrays",
    "initial_scale",
    "input_scale",
    "label_noise",
    "label_subset",
    "mixture",
    "mlp",
    "quadratic",
    "reparametrize",
    "residual_mlp",
    "rnn",
    "training_bytes",
    "transformer",
    "vit",
]
