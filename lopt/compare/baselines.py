"""The optimizers to compare with, by name, and where their learning rates are searched."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import optax
from optax import contrib

from lopt.base.parts import Parts
from lopt.compare.controls import tensor_normalized_adam
from lopt.compare.kl_soap import kl_soap
from lopt.compare.muon import muon, muon_two_rates
from lopt.compare.normuon import normuon
from lopt.compare.soap import soap


@dataclass(frozen=True)
class Baseline:
    """An optimizer and how it is tuned.

    Attributes:
      make: as that of `lopt.compare.Entry`.
      rate: the centre of the grid of its learning rates.
      scheduled: whether its learning rate follows a schedule.
      kind: "baseline", or "control" for what is no rival but explains a part of a lead.
    """

    make: Callable[..., optax.GradientTransformation]
    rate: float
    scheduled: bool = True
    kind: str = "baseline"


def sm3(learning_rate: optax.ScalarOrSchedule) -> optax.GradientTransformation:
    """`optax.sm3`, which takes no schedule, with one."""
    return optax.chain(optax.scale_by_sm3(), optax.scale_by_learning_rate(learning_rate))


BASELINES = Parts(
    "optimizer",
    sgd=Baseline(optax.sgd, 0.3),
    sgdm=Baseline(partial(optax.sgd, momentum=0.9), 0.1),
    nesterov=Baseline(partial(optax.sgd, momentum=0.9, nesterov=True), 0.1),
    adam=Baseline(optax.adam, 0.01),
    adamw=Baseline(optax.adamw, 0.01),
    nadam=Baseline(optax.nadam, 0.01),
    nadamw=Baseline(optax.nadamw, 0.01),
    adamax=Baseline(optax.adamax, 0.01),
    adabelief=Baseline(optax.adabelief, 0.01),
    amsgrad=Baseline(optax.amsgrad, 0.01),
    radam=Baseline(optax.radam, 0.01),
    yogi=Baseline(optax.yogi, 0.01),
    adagrad=Baseline(optax.adagrad, 0.1),
    rmsprop=Baseline(optax.rmsprop, 0.01),
    adafactor=Baseline(optax.adafactor, 0.1),
    sm3=Baseline(sm3, 0.1),
    novograd=Baseline(optax.novograd, 0.01),
    lamb=Baseline(optax.lamb, 0.03),
    lars=Baseline(optax.lars, 10.0),
    lion=Baseline(optax.lion, 1e-3),
    sign_sgd=Baseline(optax.sign_sgd, 1e-3),
    adan=Baseline(optax.adan, 0.01),
    muon=Baseline(muon, 0.03),
    muon_two_rates=Baseline(muon_two_rates, 0.03),
    muon_default=Baseline(contrib.muon, 0.03),
    normuon=Baseline(normuon, 0.03),
    soap=Baseline(soap, 0.01),
    kl_soap=Baseline(kl_soap, 0.01),
    schedule_free_adamw=Baseline(contrib.schedule_free_adamw, 0.01, scheduled=False),
    schedule_free_sgd=Baseline(contrib.schedule_free_sgd, 1.0, scheduled=False),
    prodigy=Baseline(contrib.prodigy, 1.0),
    dadapt_adamw=Baseline(contrib.dadapt_adamw, 1.0),
    dog=Baseline(contrib.dog, 1.0),
    dowg=Baseline(contrib.dowg, 1.0),
    cocob=Baseline(contrib.cocob, 1.0),
    momo=Baseline(contrib.momo, 1.0),
    momo_adam=Baseline(contrib.momo_adam, 0.01),
    ademamix=Baseline(contrib.ademamix, 0.01),
    simplified_ademamix=Baseline(contrib.simplified_ademamix, 1e-3),
    adopt=Baseline(contrib.adopt, 0.01),
    acprop=Baseline(contrib.acprop, 0.01),
    madgrad=Baseline(contrib.madgrad, 0.01),
    galore=Baseline(contrib.galore, 0.01),
    sophia=Baseline(contrib.sophia, 1e-3),
    tensor_normalized_adam=Baseline(tensor_normalized_adam, 0.01, kind="control"),
)
"""The optimizers of optax and optax.contrib with their defaults, Muon, NorMuon, SOAP and KL-SOAP as
their authors say, and a control, by name."""
