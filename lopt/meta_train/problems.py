"""The parts that a config of meta-training names, built."""

import jax
import optax
from ml_collections import ConfigDict

from lopt.base.errors import UserError
from lopt.base.parts import Parts, build
from lopt.base.schedules import scale_by_drawn_rate, scale_over_run
from lopt.meta import ESTIMATORS, OBJECTIVES, MetaTraining, Problem, Validation
from lopt.meta.estimator import Theta
from lopt.meta.particles import particle_mesh
from lopt.meta_train.initial_theta import as_types_of, load_for, theta_digest
from lopt.meta_train.run import Snapshot
from lopt.rules import RULES, Rule
from lopt.runs import distributed
from lopt.runs.memory import memory_for
from lopt.tasks import MIXTURES, TASKS, Mixture, Task, build_mixture
from lopt.tasks.task import initial_loss

_TASKS = Parts("task", object, **TASKS, **MIXTURES)

PARTS = {
    "task": _TASKS,
    "validation.task": _TASKS,
    "rule": RULES,
    "estimator": ESTIMATORS,
    "inner.objective": OBJECTIVES,
}
"""The parts that flags can put into a config, by their key in it."""

FIX = "lower task.batch_size, the task's widths or estimator.pairs"
"""The fix where memory does not suffice."""

_NO_VALIDATION = ConfigDict({"every": 0, "runs": 1})


class Setup:
    """A run of meta-training as its config says, before its first step."""

    def __init__(self, config: ConfigDict, source: str | None):
        """Build the parts. Collective, as `lopt.runs.distributed` says.

        `source` is the file, or the name, of the optimizer whose theta it begins with. Raises a
        `UserError` if a part cannot be built, theta does not fit all tasks, the particles cannot be
        spread over the devices, or a task's loss is not finite at its start; as `load_for`.
        """
        self.config, self.source = config, source
        # plain data that tell the run from others: the config, and the digest of the first theta
        self.identity = config.to_dict()
        self.rule: Rule = build(RULES, config.rule)
        self.estimator = build(ESTIMATORS, config.estimator)
        settings = config.get("validation", _NO_VALIDATION)
        self.mixture = build_mixture(config.task)
        self.held_out = build_mixture(settings.task) if settings.every else Mixture((), (), ())
        _require_fit(self.rule, self.mixture, self.held_out)
        self.spec = self.mixture.tasks[0].spec
        self._first: Theta | None = None
        if source is not None:
            self._first = load_for(source, self.rule, self.spec).theta
            self.identity["from_theta"] = theta_digest(self._first)
            distributed.require_alike(self.identity)
        self._particles = 2 * self.estimator.pairs
        with memory_for("the initial loss of the task", FIX):
            mesh = particle_mesh(self._particles)
            self._problems = [self._problem(task, mesh) for task in self.mixture.tasks]
            held_out = [self._problem(task, mesh) for task in self.held_out.tasks]
        self.validation = Validation(
            held_out,
            self.estimator.horizon,
            self.estimator.loss_cap,
            settings.every,
            settings.runs,
            self.held_out.weights,
        )

    def training(self, steps: int) -> MetaTraining:
        """Meta-training whose learning rate falls to zero over a run of so many meta-steps."""
        outer = self.config.outer
        rate = optax.cosine_decay_schedule(outer.learning_rate, steps)
        return MetaTraining(
            self._problems,
            [self.estimator] * len(self._problems),
            optax.adam(rate),
            self.mixture.weights,
            clip=outer.clip,
            averaging=outer.get("averaging", 0.0),
        )

    def start(self, training: MetaTraining) -> Snapshot:
        """The state before the first meta-step."""
        theta_key, loop_key = jax.random.split(jax.random.key(self.config.seed))
        with memory_for(f"the start of {self._particles} inner runs", FIX):
            theta = self.rule.init(theta_key, self.spec)
            if self._first is not None:
                theta = as_types_of(theta, self._first)
            state = training.init(theta, loop_key)
            return Snapshot(state, self.validation.init(state.theta))

    def _problem(self, task: Task, mesh: jax.sharding.Mesh | None) -> Problem:
        inner = self.config.inner
        schedule = scale_over_run(inner.schedule, inner.learning_rate)
        spread = inner.get("rate_spread", 1.0)
        drawn = scale_by_drawn_rate(spread) if spread > 1 else optax.identity()
        objective = build(OBJECTIVES, inner.get("objective", "mean"))
        scale = 1.0
        if inner.normalize:
            scale = distributed.from_first(lambda: float(initial_loss(task)))

        def optimizer(theta: Theta) -> optax.GradientTransformation:
            return optax.chain(self.rule.scale_by_rule(theta, task.spec), schedule, drawn)

        return Problem(task, optimizer, scale, objective, mesh)


def _require_fit(rule: Rule, mixture: Mixture, held_out: Mixture) -> None:
    """Raise a `UserError` if theta is tied to one architecture, and the tasks have several."""
    first, *others = (task.spec for task in mixture.tasks)
    if rule.tied and any(spec != first for spec in others):
        raise UserError(
            "theta of a rule with exact layers is tied to one architecture, and the tasks have "
            "several; let rule.layers be relational or pointwise"
        )
    if rule.tied and any(task.spec != first for task in held_out.tasks):
        raise UserError(
            "theta of a rule with exact layers is tied to one architecture, and the validation's "
            "task has another; let rule.layers be relational or pointwise, or validation.every 0"
        )
