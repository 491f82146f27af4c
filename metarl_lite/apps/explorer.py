"""An explorer that is paid for what it finds out: the first half of DREAM (Liu et al., 2021), in miniature.

No reward of the world is used. A decoder says after each step which task this seems to be, and the explorer is paid for
every nat by which it then believes more in the truth.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..algorithms.actor_critic import look_back, trial_loss, with_trial_advantages
from ..algorithms.configs import RL2Config
from ..given import real
from ..optim import ClippedAdam
from ..policies.base import check_fit
from ..policies.gru import GRUPolicy, by_columns
from ..rng import check_generator, uniform
from ..rollout import trial
from ..state import History, State, identity
from ..tasks.base import check_kind, check_like
from ..tasks.bus_grid import TASKS, BusGrid
from ..training import train
from ..types import Params

#: Numbers with which an explorer learns to read the map in 300 iterations.
EXPLORER = RL2Config(
    iterations=300, num_tasks=256, trials=1, episodes=1, lr=5e-3,
    discount=0.95, entropy=0.1, final_entropy=0.01, value_weight=0.5,
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


@dataclass(repr=False)
class ExplorerHistory(History):
    """What training saw, one entry for each iteration."""

    returns: list[float] = field(default_factory=list)  # information less cost
    information: list[float] = field(default_factory=list)  # gained, nats of log 24
    right: list[float] = field(default_factory=list)  # share of right last guesses
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

    Source: Liu et al. (2021), their reward for exploring; there every step costs c.
    """
    gain = torch.zeros_like(log_guess)
    gain[:, :-1] = log_guess[:, 1:] - log_guess[:, :-1]
    return gain - cost * (actions != 0).to(gain)


def payoff(
    log_guess: Tensor, truth: Tensor, worth: Tensor, actions: Tensor, cost: float
) -> Tensor:
    r"""What an explorer is paid, `[N, L]`, if only the use counts that is made of its guess: once, at the end.

    $$ r_t = [t = L] \, G(z, \arg\max_y q(y \mid h_L)) - c\, [a_t \ne \text{stay}] $$

    Args:
        log_guess: log q of each task at each step, `[N, L, 24]`.
        truth: the number of each task z, `[N]`.
        worth: G, `[24, 24]`: what is earned on each task when it is taken for each.
        actions: `[N, L]`; 0 is to stay.
        cost: c, of a step that is no stay.
    """
    paid = torch.zeros_like(log_guess[..., 0])
    paid[:, -1] = worth.to(paid)[truth, log_guess[:, -1].argmax(-1)]
    return paid - cost * (actions != 0).to(paid)


def explorer_iteration(
    tasks: BusGrid, config: RL2Config, cost: float, worth: Tensor | None, state: State
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
    actions = batch.actions.flatten(1)
    gain = information_gain(told.detach(), actions, cost)
    if worth is not None:
        gain = payoff(log_guess.detach(), truth[:, 0, 0], worth, actions, cost)
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
    worth: Tensor | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    every: int = 50,
) -> tuple[Explorer, ExplorerHistory]:
    """Trains an explorer to find out which task it is in; no reward of the world is used, unless `worth` says what is.

    Args:
        tasks: the family; its first phase alone is played.
        policy: where training starts; it is not changed.
        config: the numbers of the run, such as `EXPLORER`: one episode, and "a2c".
        gen: draws tasks and noise.
        callback: as in `rl2`.
        cost: of each step that is no stay, nats.
        worth: `[24, 24]`, to be paid by `payoff` and not by information.
        checkpoint: a file that keeps the state of the run.
        every: iterations from one writing of it to the next.

    Raises:
        ValueError: for a family without exploration, a cost that is negative, or another config.
        Diverged: if a loss is not finite.
    """
    alone = exploration_of(tasks)
    check_fit(alone, policy, Explorer)
    check_generator(gen)
    _check_run(config, cost)
    theta = policy.params()
    adam = ClippedAdam(
        theta, config.lr, config.final_lr, config.iterations, config.max_grad_norm
    )
    state = State(
        policy, theta, adam, gen, ExplorerHistory(), asdict(config),
        identity("explorer", alone, policy, gen, cost=cost, paid=worth is not None),
    )  # fmt: skip
    iterate = partial(explorer_iteration, alone, config, cost, worth)
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
    return BusGrid(tasks.explore, 0, tasks.entrance, tasks.dtype)


def _check_run(config: RL2Config, cost: float) -> None:
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
