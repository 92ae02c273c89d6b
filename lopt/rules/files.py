"""Learned optimizers as safetensors files: theta, its rule, and where it comes from."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict
from jaxtyping import Array, PyTree

from lopt.base.archive import Archive, require_real
from lopt.base.checks import PATH, POSITIVE, checked, instance, named, optional
from lopt.base.errors import UserError
from lopt.base.parts import build
from lopt.base.schedules import SCHEDULES, require_length, scale_over_run
from lopt.base.untrusted import require_modest
from lopt.pretrained import PRETRAINED
from lopt.rules.registry import RULES
from lopt.rules.rule import Rule
from lopt.rules.transformation import promoting
from lopt.symmetry import Axes, PermutationSpec, SpecError
from lopt.symmetry.spec import require_spec
from lopt.symmetry.untrusted import spec_from_file
from lopt.unf.bounds import require_listable

_HINT = "meta_train.py and lopt.save write one"

ARCHIVE = Archive("learned optimizer", "lopt.optimizer", format=6, hint=_HINT)
"""The kind of file that holds a learned optimizer."""


@dataclass(frozen=True)
@checked(
    "learned optimizer", learning_rate=optional(POSITIVE), schedule=named("schedule", SCHEDULES)
)
class LearnedOptimizer:
    """A learned optimizer, as a file holds it.

    Attributes:
      rule: the update rule.
      theta: its meta-parameters.
      spec: the weight space that theta is tied to; None if it fits any.
      provenance: how it was made: task, meta-steps, meta-loss, versions, in plain data.
      learning_rate: the peak of the learning rate by default; None if it has to be given. A file of
        meta-training has the rate of its config, `inner.default_rate` or `inner.learning_rate`.
      schedule: the schedule of that rate over a run, a name in `lopt.base.schedules.SCHEDULES`.
    """

    rule: Rule
    theta: PyTree[Array]
    spec: PermutationSpec | None
    provenance: Mapping[str, Any]
    learning_rate: float | None = None
    schedule: str = "constant"

    def transformation(
        self,
        learning_rate: optax.ScalarOrSchedule | None = None,
        total_steps: int | None = None,
        weight_decay: optax.ScalarOrSchedule = 0.0,
        mask: PyTree[bool] | Callable[[PyTree[Array]], PyTree[bool]] | None = None,
        spec: PermutationSpec | None = None,
    ) -> optax.GradientTransformationExtraArgs:
        """The optax transformation, with the arguments of `lopt.optimizer`.

        Raises:
          UserError: if a spec or the length of the run is needed and not given, or the file does
            not say which learning rate theta was meta-trained with.
          SpecError: if theta is tied to another weight space; the first path that differs is
            named. The same is raised by `init` for params that do not fit the spec.
        """
        if self.spec is not None and spec is not None:
            _require_same(self.spec, require_spec(spec))
        rate = self._scheduled(total_steps) if learning_rate is None else learning_rate
        spec = self.spec or spec
        return self.rule.optimizer(self.theta, rate, spec, total_steps, weight_decay, mask)

    def _scheduled(self, total_steps: int | None) -> optax.GradientTransformation:
        if self.learning_rate is None:
            raise UserError("this optimizer does not say which learning rate it is for: pass one")
        length = require_length("the default learning rate follows the run's length", total_steps)
        return scale_over_run(self.schedule, self.learning_rate, length)


_LEARNED = instance(LearnedOptimizer, "a LearnedOptimizer, such as lopt.load returns")


def save(path: str | os.PathLike, learned: LearnedOptimizer) -> None:
    """Write a learned optimizer to a `.safetensors` file, all of it or nothing.

    Its metadata hold the rule, the provenance, and the spec if theta is tied to one, as JSON.

    Raises:
      UserError: if it is no learned optimizer, theta is tied to params and its spec is missing or
        of params that are not dicts within dicts, theta is not finite, the provenance is not plain
        data, or the path is that of a folder, a device or anything else that is no file.
      OSError: if the file cannot be written; an old one is as it was.
    """
    path, learned = PATH("path", path), _LEARNED("learned", learned)
    spec = None if learned.spec is None else learned.spec.to_json()
    if learned.rule.tied and spec is None:
        raise UserError(
            "theta of a rule with exact layers is tied to the params that it was made for; save it "
            "with their spec: LearnedOptimizer(rule, theta, spec, provenance)"
        )
    if spec is not None and spec_from_file(spec) != learned.spec:
        raise UserError(
            "theta of a rule with exact layers can be saved for params that are dicts within "
            "dicts; make them such, or let the rule's layers be relational or pointwise"
        )
    rule: Any = learned.rule
    contents = {
        "rule": {"name": RULES.name_of(rule), **dataclasses.asdict(rule)},
        "spec": spec,
        "provenance": learned.provenance,
        "learning_rate": learned.learning_rate,
        "schedule": learned.schedule,
    }
    require_real({k: np.asarray(v) for k, v in flatten_dict(learned.theta, sep="/").items()})
    ARCHIVE.write(Path(path).expanduser(), learned.theta, contents)


@promoting
def load(path: str | os.PathLike) -> LearnedOptimizer:
    """Read a learned optimizer from its file.

    Args:
      path: a file that `meta_train.py` or `save` wrote, or a name in
        `lopt.pretrained.PRETRAINED`, such as `"base"`.

    Raises:
      UserError: if the file is missing, or is not as `save` wrote it: damaged, of another format,
        with metadata that do not make sense, with a theta that is not finite. Nothing in it is run.
    """
    path = PATH("the name or the path of a learned optimizer", path)
    path = PRETRAINED.get(str(path), Path(path).expanduser())
    with ARCHIVE.reading(path) as (tensors, contents):
        rule, spec, provenance = contents["rule"], contents["spec"], contents["provenance"]
        coefficients = sum(x.size for x in jax.tree.leaves(tensors))
        require_modest(rule, coefficients)
        rule = build(RULES, rule)
        spec = None if spec is None else spec_from_file(spec)
        if not isinstance(provenance, dict):
            raise UserError("its provenance is not a mapping")
        with jax.ensure_compile_time_eval():  # arrays, within a function that is traced too
            theta = jax.tree.map(jnp.asarray, tensors)
        if rule.tied:
            if spec is None:
                raise UserError("its theta is tied to an architecture, and it has no spec")
            require_listable(spec, coefficients)
        _require_theta_of(rule, spec if rule.tied else None, theta)
        rate, schedule = contents["learning_rate"], contents["schedule"]
        return LearnedOptimizer(rule, theta, spec, provenance, rate, schedule)


def optimizer(
    name_or_path: str | os.PathLike = "base",
    learning_rate: optax.ScalarOrSchedule | None = None,
    total_steps: int | None = None,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    mask: PyTree[bool] | Callable[[PyTree[Array]], PyTree[bool]] | None = None,
    spec: PermutationSpec | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""A learned optimizer, in the manner of `optax.adamw`.

    With :math:`g_t` the gradient and :math:`p_t` the params at step t = 1, 2, ..., :math:`\alpha_t`
    the learning rate, :math:`\lambda` the weight decay and T the length of the run,

    .. math::

      m_{k,t} &= \beta_k m_{k,t-1} + (1 - \beta_k) \, g_t, \qquad
      v_t = \gamma v_{t-1} + (1 - \gamma) \, g_t^2 \\
      d_t &= f_\theta(g_t, p_t, m_t, v_t, t, T) \\
      p_{t+1} &= p_t - \alpha_t (d_t + \lambda p_t)

    where f is the update rule and :math:`\theta` what meta-training learned: for "base" a
    `lopt.rules.RotatedRule`, which scales the directions of `lopt.rules.scale_by_rotated` by what a
    small network writes for each tensor. It is no universal neural functional: the network reads
    each tensor by itself, and f is equivariant because its directions are. Rules over parameters,
    `lopt.rules.UNFRule`, are such.

    Gradients and params may be of any real float type, and updates have the type of the gradients;
    averages are float32. Params that lie over a mesh of devices keep their sharding in the averages
    and in the updates; `docs/scaling.md` says what is exchanged.

    Args:
      name_or_path: `"base"`, which comes with the package, or a file that `lopt.meta_train` or
        `lopt.save` wrote.
      learning_rate: a number or an optax schedule; by default the file's, on its
        schedule over `total_steps`: 0.011, linear to zero, for "base". A rotated rule takes it for
        that of a run of 1,000 steps, and multiplies its steps with the root of 1000 /
        `total_steps`, or with the fourth root where that is below one.
      total_steps: the length of the run, which a rotated rule and the default learning rate
        need, a number of at least 1. `update` takes another as an extra argument of this name,
        which may be traced and moves both from that step on. After the last step the default rate
        is zero, as that of optax' decays is, and training stands still: tell `update` a larger
        number to go on.
      weight_decay: a number or an optax schedule: each step also takes the learning rate times it
        of the params away.
      mask: which params decay, as in `optax.adamw`: a tree of booleans, or a function that makes
        one from the params. All do by default.
      spec: the neuron groups of the params, `lopt.infer_spec(loss, params, batch)`. A relational
        rule needs it, one tied to an architecture brings its own, a rotated one is better with it.

    Returns:
      A transformation whose `update` needs the params, as that of `optax.adamw`.

    Raises:
      UserError: as `load` and `LearnedOptimizer.transformation`.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> def f(x): return jnp.sum(x ** 2)
      >>> solver = optimizer("base", total_steps=20, weight_decay=0.01)
      >>> params = jnp.array([1., 2., 3.])
      >>> state = solver.init(params)
      >>> for _ in range(20):
      ...     updates, state = solver.update(jax.grad(f)(params), state, params)
      ...     params = optax.apply_updates(params, updates)
      >>> bool(f(params) < 14)
      True

    References:
      Vyas et al., SOAP, 2024, arXiv 2409.11321, for "base";
      Zhou, Finn & Harrison, Universal Neural Functionals, NeurIPS 2024, arXiv 2402.05232, for rules
      over parameters;
      Loshchilov & Hutter, Decoupled Weight Decay Regularization, ICLR 2019, arXiv 1711.05101.
    """
    return load(name_or_path).transformation(learning_rate, total_steps, weight_decay, mask, spec)


def _require_theta_of(rule: Rule, spec: PermutationSpec | None, theta: PyTree[Array]) -> None:
    any_space = PermutationSpec({"x": Axes("x")}, {"x": 1})
    expected = jax.eval_shape(lambda key: rule.init(key, spec or any_space), jax.random.key(0))
    expected = {k: v.shape for k, v in flatten_dict(expected, sep="/").items()}
    found = {k: v.shape for k, v in flatten_dict(theta, sep="/").items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise UserError(
                f"this is not the theta of its rule: {name} has shape {found.get(name)} and should "
                f"have {expected.get(name)}"
            )


def _require_same(tied: PermutationSpec, spec: PermutationSpec) -> None:
    tied.validate(jax.tree.map(lambda a: jax.ShapeDtypeStruct(spec.shape(a), float), spec.axes))
    if tied != spec:
        raise SpecError(
            "theta is tied to a weight space of the same shapes and other neuron groups; use a "
            "relational rule, or meta-train on this architecture"
        )
