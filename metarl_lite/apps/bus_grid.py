"""DREAM in miniature: an explorer that is paid for what it finds out, and an exploiter that is told the task.

Trained end to end, exploring pays only once exploiting knows what to do with what was found, and the other way round.
DREAM (Liu et al., 2021) parts them: the exploiter learns from the task's identity, the explorer to find that out.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from ..algorithms.actor_critic import look_back, trial_loss, with_trial_advantages
from ..algorithms.configs import RL2Config
from ..given import as_params, real
from ..optim import ClippedAdam
from ..oracles.bus_grid import bus_grid_plan
from ..policies.base import check_fit, no_params_of
from ..policies.gru import GRUPolicy, by_columns
from ..rng import check_generator, generator, uniform
from ..rollout import trial
from ..state import History, State, identity
from ..tasks.base import check_kind, check_like
from ..tasks.bus_grid import BusGrid
from ..training import train
from ..types import Params, Rollout, Task

TASKS = 24  # of the family

#: Numbers with which an explorer learns to read the map in 300 iterations.
EXPLORER = RL2Config(
    iterations=300, num_tasks=256, trials=1, episodes=1, lr=5e-3,
    discount=0.95, entropy=0.1, final_entropy=0.01, value_weight=0.5,
)  # fmt: skip
#: Numbers for `rl2` on both phases, end to end: it learns to walk, not to explore.
END_TO_END = RL2Config(
    iterations=400, num_tasks=256, trials=1, episodes=1, lr=5e-3,
    discount=0.99, entropy=0.05, final_entropy=0.0, value_weight=0.5,
)  # fmt: skip


class Explorer(GRUPolicy):
    r"""A recurrent policy with a decoder: what its memory says of which of the 24 tasks this is.

    $$ q(z \mid h_t) = \mathrm{softmax}(h_t W + b)_z $$

    Args:
        observation_size: O.
        action_size: A.
        gen: draws the initial weights.
        options: of `GRUPolicy`; actor and critic share one memory.

    Raises:
        ValueError: for `separate=True`, or what `GRUPolicy` refuses.

    Source: Liu et al. (2021), where the decoder predicts a code of the task.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        gen: torch.Generator,
        **options: Any,
    ) -> None:
        super().__init__(observation_size, action_size, gen, **options)
        if self.separate:
            raise ValueError(
                "separate = True: an explorer's decoder reads the memory that acts, "
                "and there is one: leave this out."
            )
        bound = math.sqrt(6 / (self.hidden + TASKS))
        drawn = uniform((self.hidden, TASKS), gen, self.dtype)
        self._params["decoder_w"] = bound * (2 * drawn - 1)
        self._params["decoder_b"] = drawn.new_zeros(TASKS)

    def log_guess(self, params: Params, memory: Tensor) -> Tensor:
        """log q(z | memory) of each task, `[..., 24]`."""
        return (memory @ params["decoder_w"] + params["decoder_b"]).log_softmax(-1)

    @classmethod
    def from_params(cls, params: Params) -> Self:
        """The explorer that these parameters belong to.

        Raises:
            ValueError: if they belong to no such network.
        """
        params = as_params(params, "policy.params()", empty=True)
        try:
            hidden, action_size = params["actor_w"].shape
            inputs = params["actor_gru_in"].shape[1]
            policy = cls(
                inputs - action_size - 2,
                action_size,
                generator(0),
                hidden=hidden,
                dtype=params["actor_w"].dtype,
            )
        except (KeyError, ValueError, RuntimeError) as error:
            raise no_params_of(Explorer, params, error) from None
        return policy.replace(params)


@dataclass(repr=False)
class ExplorerHistory(History):
    """What training saw, one entry for each iteration."""

    returns: list[float] = field(default_factory=list)  # information less cost
    information: list[float] = field(default_factory=list)  # gained, nats of log 24
    right: list[float] = field(
        default_factory=list
    )  # tasks that are guessed at the end
    entropy: list[float] = field(default_factory=list)  # of the policy, nats
    value_error: list[float] = field(default_factory=list)  # critic's mean square
    kl: list[float] = field(default_factory=list)  # 0: each batch is used once
    grad_norm: list[float] = field(default_factory=list)  # before it was clipped


def information_gain(log_guess: Tensor, actions: Tensor, cost: float) -> Tensor:
    r"""What an explorer is paid for each action, `[N, L]`: how much more its decoder then believes in the truth.

    $$ r_t = \log q(z \mid h_{t+1}) - \log q(z \mid h_t) - c\, [a_t \ne \text{stay}] $$

    The sum over an exploration is what the decoder has learned of the task, less the cost of moving. The last action
    is followed by no memory, and gains nothing.

    Args:
        log_guess: log q of the true task at each step, `[N, L]`.
        actions: `[N, L]`; 0 is to stay.
        cost: c, of a step that is no stay.

    Source: Liu et al. (2021), their reward for exploring.
    """
    gain = torch.zeros_like(log_guess)
    gain[:, :-1] = log_guess[:, 1:] - log_guess[:, :-1]
    return gain - cost * (actions != 0)


def explorer_iteration(
    tasks: BusGrid, config: RL2Config, cost: float, state: State
) -> dict[str, Any]:
    """One iteration: explorations of fresh tasks, their gains of information, and a step of A2C and of the decoder."""
    policy, theta = state.policy, state.theta
    task = tasks.sample(config.num_tasks, state.gen)
    task = {k: leaf.repeat_interleave(config.trials, 0) for k, leaf in task.items()}
    batch = trial(tasks, policy, by_columns(theta), task, 1, state.gen, memories=True)
    chosen, values, memory = look_back(policy, theta, batch, config)
    truth = tasks.number(task).view(-1, 1, 1).expand(-1, tasks.horizon, 1)
    log_guess = policy.log_guess(theta, memory)  # [B, L, 24]
    told = log_guess.gather(-1, truth).squeeze(-1)  # [B, L]
    gain = information_gain(told.detach(), batch.actions.flatten(1), cost)
    batch = replace(batch, rewards=gain.unsqueeze(1))
    now = config.at(state.iteration)
    batch, targets = with_trial_advantages(batch, values.detach(), config, now.discount)
    loss, seen = trial_loss(
        policy, chosen, values, batch, targets, None, config, now.entropy
    )
    loss = loss - told.mean()  # the decoder's cross-entropy
    grads = torch.autograd.grad(loss, list(theta.values()))
    seen["grad_norm"] = state.adam.step(grads)
    state.adam.end_iteration()
    right = log_guess[:, -1].argmax(-1) == truth[:, 0, 0]
    return seen | {
        "returns": gain.sum(1).mean().item(),
        "information": (told[:, -1] + math.log(TASKS)).mean().item(),
        "right": right.double().mean().item(),
        "steps": gain.numel(),
    }


def train_explorer(
    tasks: BusGrid,
    policy: Explorer,
    config: RL2Config,
    gen: torch.Generator,
    callback: Callable[[int, Explorer, ExplorerHistory], bool | None] | None = None,
    *,
    cost: float = 0.01,
    checkpoint: str | os.PathLike[str] | None = None,
    every: int = 50,
) -> tuple[Explorer, ExplorerHistory]:
    """Trains an explorer to find out which task it is in; no reward of the world is used.

    Args:
        tasks: the family; its first phase alone is played.
        policy: where training starts; it is not changed.
        config: the numbers of the run, such as `EXPLORER`: one episode, and "a2c".
        gen: draws tasks and noise.
        callback: as in `rl2`.
        cost: of each step that is no stay, nats.
        checkpoint: a file that keeps the state of the run.
        every: iterations from one writing of it to the next.

    Raises:
        ValueError: for a family without exploration, a cost that is negative, or another config.
        Diverged: if a loss is not finite.
    """
    alone = exploration_of(tasks)
    check_fit(alone, policy, Explorer)
    check_generator(gen)
    check_kind(RL2Config, config=config)
    if config.episodes != 1 or config.algorithm != "a2c":
        raise ValueError(
            f"episodes = {config.episodes}, algorithm = {config.algorithm!r}: an "
            "explorer explores once and learns by 'a2c': replace(EXPLORER, ...) "
            "changes other numbers."
        )
    if not 0 <= real(cost) < math.inf:
        raise ValueError(
            f"cost = {cost!r}: a step costs 0 or more nats, such as cost=0.01."
        )
    theta = policy.params()
    adam = ClippedAdam(
        theta, config.lr, config.final_lr, config.iterations, config.max_grad_norm
    )
    state = State(
        policy, theta, adam, gen, ExplorerHistory(), asdict(config),
        identity("explorer", alone, policy, gen, cost=cost),
    )  # fmt: skip
    iterate = partial(explorer_iteration, alone, config, cost)
    rates = f"lr = {config.lr}"
    return train("explorer", state, iterate, rates, callback, checkpoint, every)


def exploration_of(tasks: BusGrid) -> BusGrid:
    """The first phase of a family alone; a ValueError if it has none."""
    check_like(BusGrid, "explore exploit", tasks=tasks)
    if not tasks.explore:
        raise ValueError(
            "explore = 0: these tasks have no exploration to learn from: use "
            "BusGrid(explore=10)."
        )
    return BusGrid(tasks.explore, 0, tasks.dtype)


class Explored(NamedTuple):
    """What N episodes of both phases came to."""

    returns: Tensor  # [N] of exploiting
    guess: Tensor  # [N] the number of the task, as the decoder has it
    exploration: Rollout  # [N, 1, T, ...]


@torch.no_grad()
def explore_then_exploit(
    tasks: BusGrid,
    policy: Explorer,
    params: Params,
    task: Task,
    gen: torch.Generator,
    *,
    deterministic: bool = True,
) -> Explored:
    """Explores once, takes the task to be the one that is most probable then, and exploits by a plan for that.

    The explorer takes its most probable actions if `deterministic`; `gen` draws goals and noise.

    Raises a ValueError for a family that lacks a phase, or a task that is none of the family.
    """
    alone = exploration_of(tasks)
    batch = trial(
        alone, policy, params, task, 1, gen, deterministic=deterministic, memories=True
    )
    assert batch.memories is not None
    guess = policy.log_guess(params, batch.memories[:, -1]).argmax(-1)
    return Explored(exploit(tasks, task, guess, gen), guess, batch)


def exploit(tasks: BusGrid, task: Task, guess: Tensor, gen: torch.Generator) -> Tensor:
    """The return of the second phase for an agent that takes each task to be number `guess`, `[N]`.

    Raises a ValueError for a family without a second phase, or a task or guess that is none.
    """
    tasks.check_task(task, len(guess))
    if not bool(((guess >= 0) & (guess < TASKS)).all()):
        raise ValueError(
            f"guess runs from {guess.min().item()} to {guess.max().item()}: tasks are "
            "numbered 0 ... 23, as tasks.number(task) numbers them."
        )
    if not tasks.exploit:
        raise ValueError(
            "exploit = 0: these tasks have nothing to exploit: use BusGrid(exploit=20)."
        )
    second, count = BusGrid(0, tasks.exploit, tasks.dtype), len(guess)
    plan, returns = bus_grid_plan(), torch.zeros(count, dtype=tasks.dtype)
    state = second.reset(task, second.draw_reset((count,), gen))
    alive = torch.ones(count, dtype=torch.bool)
    for _ in range(second.horizon):
        column, row, _, goal = state.unbind(-1)
        action = plan[guess, goal, second.size * column + row]
        state, reward, ended = second.step(task, state, action, state)
        returns = returns + reward * alive
        alive = alive & ~ended
    return returns
