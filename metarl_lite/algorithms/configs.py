"""The numbers of a run, checked where they are set: a `MAMLConfig` and an `RL2Config`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..losses import LOSSES
from ..tasks.base import check_positive

#: What `MAMLConfig.algorithm` may be.
ALGORITHMS = ("maml", "fomaml", "reptile", "anil", "meta_sgd", "e_maml")

#: What `RL2Config.algorithm` may be.
UPDATES = ("a2c", "ppo")


@dataclass(frozen=True)
class MAMLConfig:
    """The numbers of a MAML run."""

    iterations: int = 100  # meta-updates
    num_tasks: int = 20  # N, tasks of each meta-batch
    episodes: int = 20  # E, episodes to adapt from, and as many after each step
    inner_steps: int = 1  # gradient steps of the inner loop
    inner_lr: float = 0.1  # alpha, one number for all parameters; where it starts for algorithm="meta_sgd"
    later_steps: float = 1.0  # factor on the inner rates after the first step; Finn et al. (2017) test with 0.5
    outer_lr: float = 3e-3  # of Adam
    final_lr: float | None = None  # outer_lr falls to this on a straight line over the iterations; None: it stays
    algorithm: str = "maml"  # or "fomaml", "reptile", "anil", "meta_sgd", "e_maml"
    inner_loss: str = "policy_gradient"  # or "dice", "linearised": what is differentiated for an inner step
    discount: float = 0.99  # gamma
    gae_lambda: float = 0.98  # lambda
    normalise: bool = True  # advantages of each task to mean 0 and standard deviation 1
    max_grad_norm: float = 1.0  # clips the meta-gradient's length
    max_kl: float = 0.01  # outer="trpo": delta, how far the adapted policies may move in one step
    damping: float = 1e-3  # outer="trpo": added to the Fisher matrix's diagonal
    cg_iterations: int = 10  # outer="trpo": products with the Fisher matrix to find a direction
    curvature_episodes: int = 2  # outer="trpo": episodes of each task that the Fisher matrix is taken from
    clip: float = 0.2  # outer="promp": epsilon, how far from 1 a ratio still counts
    epochs: int = 5  # outer="promp": steps of Adam on the same episodes
    kl_penalty: float = 5e-4  # outer="promp": eta, weight of the KL divergence of the initialisation
    chunk_size: int | None = None  # tasks differentiated at once; None for all. Changes memory, not the result

    def __post_init__(self) -> None:
        for name in ("iterations", "num_tasks", "episodes", "cg_iterations", "curvature_episodes", "epochs"):
            check_positive(**{name: getattr(self, name)})
        if self.chunk_size is not None:
            check_positive(chunk_size=self.chunk_size)
        if isinstance(self.inner_steps, bool) or not isinstance(self.inner_steps, int) or self.inner_steps < 0:
            raise ValueError(f"inner_steps = {self.inner_steps!r}: 0 (no adaptation) or a positive integer is needed.")
        for name in ("inner_lr", "later_steps", "outer_lr", "max_grad_norm", "max_kl", "clip"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 < value < math.inf:
                raise ValueError(f"{name} = {value!r}: a positive number is needed, such as {name}=0.1.")
        for name in ("discount", "gae_lambda", "damping", "kl_penalty"):
            if not isinstance(getattr(self, name), int | float):
                raise ValueError(f"{name} = {getattr(self, name)!r}: a number is needed, such as {name}=0.001.")
        for name in ("discount", "gae_lambda"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} = {getattr(self, name)}: it must lie between 0 and 1, such as {name}=0.99.")
        for name in ("damping", "kl_penalty"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(
                    f"{name} = {getattr(self, name)}: a number of at least 0 is needed, such as {name}=0.001."
                )
        if self.final_lr is not None and not 0 <= self.final_lr <= self.outer_lr:
            raise ValueError(f"final_lr = {self.final_lr!r}: it must lie between 0 and outer_lr = {self.outer_lr}.")
        for name, known in (("algorithm", ALGORITHMS), ("inner_loss", tuple(LOSSES))):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} = {getattr(self, name)!r}: choose one of {', '.join(map(repr, known))}. ('linearised' is "
                    "LVC; an outer update goes to maml(..., outer='trpo').)"
                )
        if self.algorithm == "meta_sgd" and self.inner_steps == 0:
            raise ValueError("inner_steps = 0: meta_sgd learns the rates of inner steps, so at least one is needed.")
        if self.algorithm == "e_maml" and self.chunk_size is not None:
            raise ValueError(
                f"chunk_size = {self.chunk_size}: E-MAML compares every task with all others of its meta-batch, so it "
                "cannot take them in parts: leave out chunk_size, or use a smaller num_tasks."
            )


@dataclass(frozen=True)
class RL2Config:
    """The numbers of an RL2 run."""

    iterations: int = 1000  # meta-updates, each on fresh tasks
    num_tasks: int = 32  # N, tasks of each meta-batch
    trials: int = 8  # independent trials of each task, B = N x trials in all; advantages are compared among them
    common_noise: bool = False  # the trials of a task have the same luck in the world, and differ by their actions
    episodes: int = 10  # E, episodes of a trial
    algorithm: str = "a2c"  # or "ppo"
    lr: float = 1e-2  # of Adam
    final_lr: float | None = 0.0  # lr falls to this on a straight line over the iterations; None: it stays
    discount: float = 0.99  # gamma, per step of a trial, through the ends of its episodes
    final_discount: float | None = None  # gamma goes to this on a straight line over the iterations; None: it stays
    gae_lambda: float = 0.95  # lambda, likewise
    entropy: float = 0.02  # weight of the entropy at first
    final_entropy: float = 0.0  # and in the end, on a straight line
    value_weight: float = 0.05  # weight of the critic's squared error
    critic_trains_memory: bool = True  # the error's gradient goes on into the memory; False: it stops at the head
    reward_scale: float = 1.0  # the critic learns rewards times this; the network reads them as they are
    normalise: bool = True  # advantages to mean 0 among a task's trials, step by step, and to spread 1 (`compared`)
    max_grad_norm: float = 1.0  # clips the gradient's length
    clip: float = 0.2  # "ppo": epsilon, how far from 1 a ratio still counts
    epochs: int = 2  # "ppo": passes over the same trials
    minibatches: int = 8  # "ppo": parts of the trials, one step of Adam each; a trial is never cut

    def __post_init__(self) -> None:
        check_positive(
            **{n: getattr(self, n) for n in ("iterations", "num_tasks", "trials", "episodes", "epochs", "minibatches")}
        )
        for name in ("common_noise", "critic_trains_memory", "normalise"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} = {getattr(self, name)!r}: True or False is needed.")
        for name in ("lr", "reward_scale", "max_grad_norm", "clip"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 < value < math.inf:
                raise ValueError(f"{name} = {value!r}: a positive number is needed, such as {name}=0.1.")
        for name in ("discount", "gae_lambda"):
            if not isinstance(getattr(self, name), int | float) or not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} = {getattr(self, name)!r}: it must lie between 0 and 1, such as {name}=0.99.")
        for name in ("entropy", "final_entropy", "value_weight"):
            if not isinstance(getattr(self, name), int | float) or not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)!r}: a number of at least 0 is needed, or 0 for none.")
        final = self.final_discount
        if final is not None and not (isinstance(final, int | float) and 0 <= final <= 1):
            raise ValueError(f"final_discount = {final!r}: it must lie between 0 and 1, or be None, to stay.")
        final = self.final_lr
        if final is not None and not (isinstance(final, int | float) and 0 <= final <= self.lr):
            raise ValueError(f"final_lr = {self.final_lr!r}: it must lie between 0 and lr = {self.lr}.")
        if self.algorithm not in UPDATES:
            raise ValueError(f"algorithm = {self.algorithm!r}: choose one of {', '.join(map(repr, UPDATES))}.")
        count = self.num_tasks * self.trials
        if self.algorithm == "ppo" and self.minibatches > count:
            raise ValueError(f"minibatches = {self.minibatches}: only {count} trials (num_tasks times trials) to part.")
        if self.common_noise and self.trials == 1:
            raise ValueError("common_noise=True, trials = 1: no other trial to share luck with; set trials=8, say.")
        if self.normalise and count == 1:
            raise ValueError("num_tasks = trials = 1: nothing to compare one trial with; set normalise=False.")

    def entropy_at(self, iteration: int) -> float:
        """The weight of the entropy in an iteration."""
        return self.entropy + (self.final_entropy - self.entropy) * iteration / self.iterations

    def discount_at(self, iteration: int) -> float:
        """The discount in an iteration."""
        final = self.discount if self.final_discount is None else self.final_discount
        return self.discount + (final - self.discount) * iteration / self.iterations
