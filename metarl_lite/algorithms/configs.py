"""The numbers of a run, checked where they are set: a `MAMLConfig` and an `RL2Config`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..given import integer, number, truth
from ..losses import LOSSES

#: What `MAMLConfig.algorithm` may be.
ALGORITHMS = ("maml", "fomaml", "reptile", "anil", "meta_sgd", "e_maml")
#: What `RL2Config.algorithm` may be.
UPDATES = ("a2c", "ppo")


class Rule(NamedTuple):
    """What a field may be, and how a message says it."""

    plain: Callable[[Any], Any]  # the value as Python's own, None where it has none
    holds: Callable[[Any], bool]
    wanted: str  # {name} stands for the field
    or_none: bool = False  # whether None is a value


COUNT = Rule(
    integer, lambda v: v >= 1, "a positive integer is needed, such as {name}=20."
)
STEPS = Rule(
    integer, lambda v: v >= 0, "0 (no adaptation) or a positive integer is needed."
)
POSITIVE = Rule(
    number,
    lambda v: 0 < v < math.inf,
    "a positive number is needed, such as {name}=0.1.",
)
NOT_NEGATIVE = Rule(
    number,
    lambda v: 0 <= v < math.inf,
    "a number of at least 0 is needed, such as {name}=0.001, or 0 for none.",
)
SHARE = Rule(
    number,
    lambda v: 0 <= v <= 1,
    "a number between 0 and 1 is needed, such as {name}=0.99.",
)
SWITCH = Rule(truth, lambda v: True, "True or False is needed.")


def optional(rule: Rule) -> Rule:
    """The same, or None."""
    return rule._replace(wanted=f"None, or {rule.wanted}", or_none=True)


def one_of(*names: str) -> Rule:
    """One of these names."""
    known = ", ".join(map(repr, names))
    return Rule(_text, lambda v: v in names, f"choose one of {known}.")


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, str) else None


def check_fields(config: Any, rules: dict[str, Rule]) -> None:
    """Refuses the first field that breaks its rule, by name and value, and keeps the others as Python's own.

    So a number of numpy is a number, and a configuration can be written as JSON and compared with one that was.
    """
    for name, rule in rules.items():
        value = getattr(config, name)
        if value is None and rule.or_none:
            continue
        plain = rule.plain(value)
        if plain is None or not rule.holds(plain):
            wanted = rule.wanted.replace("{name}", name)
            raise ValueError(f"{name} = {value!r}: {wanted}")
        object.__setattr__(config, name, plain)  # frozen for everybody else


@dataclass(frozen=True)
class MAMLConfig:
    """The numbers of a MAML run."""

    iterations: int = 100  # meta-updates
    num_tasks: int = 20  # N, tasks of each meta-batch
    episodes: int = 20  # E, episodes to adapt from, and as many after each step
    inner_steps: int = 1  # gradient steps of the inner loop
    inner_lr: float = 0.1  # alpha; where it starts for algorithm="meta_sgd"
    later_steps: float = 1.0  # factor on the inner rates after the first step
    outer_lr: float = 3e-3  # of Adam
    final_lr: float | None = None  # outer_lr falls to this on a line; None: it stays
    algorithm: str = "maml"  # or "fomaml", "reptile", "anil", "meta_sgd", "e_maml"
    inner_loss: str = "policy_gradient"  # or "dice", "linearised": of an inner step
    discount: float = 0.99  # gamma
    gae_lambda: float = 0.98  # lambda
    normalise: bool = True  # advantages of each task to mean 0 and deviation 1
    max_grad_norm: float = 1.0  # clips the meta-gradient's length
    max_kl: float = 0.01  # "trpo": delta, how far adapted policies may move in a step
    damping: float = 1e-3  # "trpo": added to the Fisher matrix's diagonal
    cg_iterations: int = 10  # "trpo": products with the Fisher matrix for a direction
    curvature_episodes: int = 2  # "trpo": of support and query, for the Fisher matrix
    clip: float = 0.2  # "promp": epsilon, how far from 1 a ratio still counts
    epochs: int = 5  # "promp": steps of Adam on the same episodes
    kl_penalty: float = 5e-4  # "promp": eta, weight of the initialisation's KL
    chunk_size: int | None = None  # tasks differentiated at once; None: what is quick

    def __post_init__(self) -> None:
        check_fields(self, MAML_RULES)
        if self.final_lr is not None and self.final_lr > self.outer_lr:
            raise ValueError(
                f"final_lr = {self.final_lr!r}: it must lie between 0 and outer_lr = "
                f"{self.outer_lr}."
            )
        if self.algorithm == "meta_sgd" and self.inner_steps == 0:
            raise ValueError(
                "inner_steps = 0: meta_sgd learns the rates of inner steps, so at "
                "least one is needed."
            )
        if self.algorithm == "e_maml" and self.chunk_size is not None:
            raise ValueError(
                f"chunk_size = {self.chunk_size}: E-MAML compares every task with all "
                "others of its meta-batch, so it cannot take them in parts: leave out "
                "chunk_size, or use a smaller num_tasks."
            )


#: What each field of a `MAMLConfig` may be.
MAML_RULES = {
    "iterations": COUNT,
    "num_tasks": COUNT,
    "episodes": COUNT,
    "inner_steps": STEPS,
    "inner_lr": POSITIVE,
    "later_steps": POSITIVE,
    "outer_lr": POSITIVE,
    "final_lr": optional(NOT_NEGATIVE),
    "algorithm": one_of(*ALGORITHMS),
    "inner_loss": one_of(*LOSSES),
    "discount": SHARE,
    "gae_lambda": SHARE,
    "normalise": SWITCH,
    "max_grad_norm": POSITIVE,
    "max_kl": POSITIVE,
    "damping": NOT_NEGATIVE,
    "cg_iterations": COUNT,
    "curvature_episodes": COUNT,
    "clip": POSITIVE,
    "epochs": COUNT,
    "kl_penalty": NOT_NEGATIVE,
    "chunk_size": optional(COUNT),
}


class Now(NamedTuple):
    """The numbers that change over a run, as they are in one iteration."""

    discount: float
    entropy: float  # its weight


@dataclass(frozen=True)
class RL2Config:
    """The numbers of an RL2 run."""

    iterations: int = 1000  # meta-updates, each on fresh tasks
    num_tasks: int = 32  # N, tasks of each meta-batch
    trials: int = 8  # trials of each task, B = N x trials; compared with each other
    common_noise: bool = (
        False  # a task's trials share the world's luck, not the actions'
    )
    episodes: int = 10  # E, episodes of a trial
    algorithm: str = "a2c"  # or "ppo"
    lr: float = 1e-2  # of Adam
    final_lr: float | None = 0.0  # lr falls to this on a straight line; None: it stays
    discount: float = 0.99  # gamma, per step of a trial, through ends of episodes
    final_discount: float | None = None  # gamma goes to this on a line; None: it stays
    gae_lambda: float = 0.95  # lambda, likewise
    entropy: float = 0.02  # weight of the entropy at first
    final_entropy: float = 0.0  # and in the end, on a straight line
    value_weight: float = 0.05  # weight of the critic's squared error
    critic_trains_memory: bool = (
        True  # the error trains the memory; False: its head only
    )
    reward_scale: float = 1.0  # the critic learns rewards times this
    normalise: bool = True  # advantages are `compared` among a task's trials
    max_grad_norm: float = 1.0  # clips the gradient's length
    clip: float = 0.2  # "ppo": epsilon, how far from 1 a ratio still counts
    epochs: int = 2  # "ppo": passes over the same trials
    minibatches: int = 8  # "ppo": parts of the trials, a step each; none is cut in time

    def __post_init__(self) -> None:
        check_fields(self, RL2_RULES)
        if self.final_lr is not None and self.final_lr > self.lr:
            raise ValueError(
                f"final_lr = {self.final_lr!r}: it must lie between 0 and lr = "
                f"{self.lr}."
            )
        count = self.num_tasks * self.trials
        if self.algorithm == "ppo" and self.minibatches > count:
            raise ValueError(
                f"minibatches = {self.minibatches}: only {count} trials (num_tasks "
                "times trials) to part."
            )
        if self.common_noise and self.trials == 1:
            raise ValueError(
                "common_noise=True, trials = 1: no other trial to share luck with; "
                "set trials=8, say."
            )
        if self.normalise and count == 1:
            raise ValueError(
                "num_tasks = trials = 1: nothing to compare one trial with; set "
                "normalise=False."
            )

    def at(self, iteration: int) -> Now:
        """The numbers that change over a run, in one iteration: on straight lines."""
        final = self.discount if self.final_discount is None else self.final_discount
        discount = self.discount + (final - self.discount) * iteration / self.iterations
        change = self.final_entropy - self.entropy
        return Now(discount, self.entropy + change * iteration / self.iterations)


#: What each field of an `RL2Config` may be.
RL2_RULES = {
    "iterations": COUNT,
    "num_tasks": COUNT,
    "trials": COUNT,
    "common_noise": SWITCH,
    "episodes": COUNT,
    "algorithm": one_of(*UPDATES),
    "lr": POSITIVE,
    "final_lr": optional(NOT_NEGATIVE),
    "discount": SHARE,
    "final_discount": optional(SHARE),
    "gae_lambda": SHARE,
    "entropy": NOT_NEGATIVE,
    "final_entropy": NOT_NEGATIVE,
    "value_weight": NOT_NEGATIVE,
    "critic_trains_memory": SWITCH,
    "reward_scale": POSITIVE,
    "normalise": SWITCH,
    "max_grad_norm": POSITIVE,
    "clip": POSITIVE,
    "epochs": COUNT,
    "minibatches": COUNT,
}
