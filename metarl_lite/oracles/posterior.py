"""Agents that learn a small decision process by counting: posterior sampling, and greedy ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..given import check_callable, check_result, real
from ..rng import normal, uniform
from ..tasks.base import check_like, check_positive
from ..tasks.tabular import TabularMDP
from ..types import Task
from .tabular import value_iteration


class Belief(NamedTuple):
    r"""What is known of N decision processes after some steps; its posterior is in closed form.

    $$ P(\cdot \mid s, a) \sim \mathrm{Dirichlet}(1 + n(s, a, \cdot)), \qquad
       R(s, a) \sim \mathcal N\!\left( \frac{\sigma^2 \mu_0 + \sum r}{\sigma^2 + n(s, a)},
       \; \frac{\sigma^2}{\sigma^2 + n(s, a)} \right) $$

    for the priors of `TabularMDP`, Dirichlet(1, ..., 1) and N(1, 1): its prior mean is 1.
    """

    counts: Tensor  # [N, S, A, S] how often (s, a) led to each state, n
    paid: Tensor  # [N, S, A] sum of the rewards of (s, a)
    noise: float  # sigma, standard deviation of a reward
    prior_mean: float  # mu_0, what a mean reward is believed to be before any is seen

    def rewards(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the posterior of R, `[N, S, A]`."""
        variance, tried = self.noise**2, self.counts.sum(-1)
        mean = (variance * self.prior_mean + self.paid) / (variance + tried)
        return mean, (variance / (variance + tried)).sqrt()


#: Chooses the model to plan in, `(transitions, rewards)`: `rule(belief, gen)`.
Rule = Callable[[Belief, torch.Generator], tuple[Tensor, Tensor]]


def psrl(belief: Belief, gen: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draws a whole decision process from the posterior: posterior sampling, when it is done once an episode.

    Source: Strens (2000); Osband, Russo and Van Roy (2013).
    """
    mean, deviation = belief.rewards()
    # brought to the sum 1 they are Dirichlet
    gammas = torch._standard_gamma(1 + belief.counts, generator=gen)
    rewards = mean + deviation * normal(tuple(mean.shape), gen, mean.dtype)
    return gammas / gammas.sum(-1, keepdim=True), rewards


def greedy(belief: Belief, gen: torch.Generator) -> tuple[Tensor, Tensor]:
    """Takes the posterior's mean for the truth."""
    weights = 1 + belief.counts
    return weights / weights.sum(-1, keepdim=True), belief.rewards()[0]


def learn_mdps(
    rule: Rule,
    tasks: TabularMDP,
    task: Task,
    episodes: int,
    gen: torch.Generator,
    prior_mean: float = 1.0,
    epsilon: float = 0.0,
) -> Tensor:
    """Lets an agent that counts live through episodes of every process, and gives what it earns, `[N, E]`.

    At the start of each episode it chooses a model, solves it by value iteration, and acts on the solution until the
    episode ends. It sees, and learns from, rewards with their noise. What is returned sums their means R(s, a), which
    has the same expectation and less noise.

    Args:
        rule: how to choose the model, `psrl` or `greedy`.
        tasks: the family, for its horizon and its noise.
        task: the processes, leaves `[N, ...]`.
        episodes: E.
        gen: draws all chance.
        prior_mean: what the agent believes mean rewards to be on average; 1 is true of `TabularMDP`.
        epsilon: the chance of an action that is drawn evenly instead; 1 makes a random agent.

    Raises:
        ValueError: for tasks of wrong shape, no episodes, rewards without noise, or `epsilon` outside [0, 1].

    Source: Duan et al. (2016), section 3.2.
    """
    check_callable("belief gen", rule=rule)
    _check(tasks, task, episodes, epsilon)
    count, each = len(task["rewards"]), torch.arange(len(task["rewards"]))
    belief = Belief(
        torch.zeros_like(task["transitions"]),
        torch.zeros_like(task["rewards"]),
        tasks.reward_noise,
        prior_mean,
    )
    earned = task["rewards"].new_zeros(count, episodes)
    for e in range(episodes):
        model = _check_model(rule(belief, gen), task)
        _, plan = value_iteration(*model, tasks.horizon)  # [T, N, S]
        state = tasks.reset(task, tasks.draw_reset((count,), gen))
        for t in range(tasks.horizon):
            action = plan[t].gather(-1, state).squeeze(-1)
            if epsilon:
                evenly = torch.randint(
                    tasks.action_size, (count,), generator=gen, device=gen.device
                )
                action = torch.where(
                    uniform((count,), gen, tasks.dtype) < epsilon, evenly, action
                )
            after, reward, _ = tasks.step(
                task, state, action, tasks.draw((count,), gen)
            )
            pair = (each, state.squeeze(-1), action)
            earned[:, e] += task["rewards"][pair]
            belief.counts[(*pair, after.squeeze(-1))] += 1
            belief.paid[pair] += reward
            state = after
    return earned


def known_mdp_value(tasks: TabularMDP, task: Task) -> Tensor:
    """What an agent that knows the process earns in an episode on average, exactly, `[N]`: no agent earns more."""
    check_like(TabularMDP, "horizon", tasks=tasks)
    values, _ = value_iteration(task["transitions"], task["rewards"], tasks.horizon)
    return values[0, :, 0]


def _check_model(model: Any, task: Task) -> tuple[Tensor, Tensor]:
    both = model if isinstance(model, tuple | list) and len(model) == 2 else (model, 0)
    wanted = "a rule gives two tensors, transitions and mean rewards, as psrl does."
    transitions, rewards = (
        check_result(
            found,
            dict(zip(("N", "S", "A", "next S"), task[name].shape, strict=False)),
            f"the rule, for {name},",
            wanted,
        )
        for found, name in zip(both, ("transitions", "rewards"), strict=True)
    )
    return transitions, rewards


def _check(tasks: TabularMDP, task: Task, episodes: int, epsilon: float) -> None:
    check_positive(episodes=episodes)
    check_like(TabularMDP, "reward_noise check_task", tasks=tasks)
    tasks.check_task(task, len(next(iter(task.values()))))
    if tasks.reward_noise == 0:
        raise ValueError(
            "reward_noise = 0: the posterior is that of noisy rewards; use "
            "TabularMDP(reward_noise=1.0)."
        )
    if not 0 <= real(epsilon) <= 1:
        raise ValueError(
            f"epsilon = {epsilon}: the chance of a random action is from 0 to 1; use "
            "epsilon=.1."
        )
