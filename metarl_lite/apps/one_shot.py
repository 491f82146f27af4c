r"""Who imitates in control: four ways from a demonstration to the parameters of a network that acts.

Each answers demonstrations of N tasks with a set of parameters for each task, `[N, ...]`, of one and the same network.
They differ in nothing else: it is moved by one gradient step (MIL), biased by what an encoder has read (conditioned),
left as it is (multi-task), or cloned by many steps of Adam (`fine_tune`), from there or from scratch.

Source: Finn, Yu, Zhang, Abbeel and Levine (2017), "One-shot visual imitation learning via meta-learning"; Duan et al.
(2017), "One-shot imitation learning".
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..algorithms.checks import Rates
from ..algorithms.inner import adapt
from ..given import counts, real
from ..losses import gradients
from ..policies.base import Policy, tile
from ..policies.mlp import MLPPolicy
from ..rng import normal
from ..tasks.base import check_kind, check_like, digest
from ..types import Params, Rollout
from .demonstrations import Demonstrations, TurnedPlane, check_demonstrations


def cloning_loss(policy: MLPPolicy, params: Params, batch: Rollout) -> Tensor:
    r"""Behaviour cloning: the mean squared error of the actions over the steps that are shown, `[N]`.

    $$ L_i(\theta) = \frac{\sum_{e,t} m_{et}\, \lVert f_\theta(s_{et}) - a_{et} \rVert^2}
       {2 \delta^2 \sum_{e,t} m_{et}} $$

    In units of a step, $\delta = 0.1$: an error of 1 is as long as the longest action.
    """
    wrong = (policy.forward(params, batch.observations) - batch.actions) / UNIT
    each = (wrong**2).sum(-1) / 2  # [N, E, T]
    return (each * batch.mask).sum((1, 2)) / batch.mask.sum((1, 2))


UNIT = TurnedPlane.max_step


class Learner(Policy):
    """Who answers demonstrations with the parameters of a network; what is learned are its own parameters.

    Args:
        tasks: the family.
        gen: draws the first weights.
        hidden: units of the hidden layers of the network that acts.
    """

    def __init__(
        self,
        tasks: TurnedPlane,
        gen: torch.Generator,
        hidden: tuple[int, ...] = (64, 64),
    ) -> None:
        check_like(TurnedPlane, "success angle", tasks=tasks)
        super().__init__(tasks.observation_size, tasks.action_size, False, tasks.dtype)
        self.actor = MLPPolicy.for_tasks(tasks, gen, hidden=hidden)
        self.family = tasks.identity()
        self._params = dict(self.actor.params())
        self._std = {"log_std": self._params.pop("log_std").detach()}
        self._params = {name: p.detach() for name, p in self._params.items()}
        self.weights = list(self._params)  # of the network that acts

    def answer(self, params: Params, batch: Rollout) -> Params:
        """The network's weights `[N, ...]`, for demonstrations `[N, E, T, ...]`; `params` have no task dimension."""
        raise NotImplementedError

    def start(self, params: Params, num_tasks: int) -> Params:
        """The weights where each task begins, `[N, ...]`: those of the network alone."""
        return tile({name: params[name] for name in self.weights}, num_tasks)

    @torch.inference_mode(False)  # a gradient step needs gradients
    def imitate(self, shown: Demonstrations) -> Params:
        """Parameters of `self.actor`, `[N, ...]`, with which it imitates those who are shown; without gradient.

        Raises:
            ValueError: if nothing is shown, or what is shown is of another family, horizon or action space.
        """
        check_demonstrations(shown, self.family, self.action_size)
        return self.acting(self.answer(self.params(), shown.batch))

    def acting(self, weights: Params) -> Params:
        """All that `self.actor` needs in order to act with weights `[N, ...]`; without gradient."""
        own = {name: p.detach() for name, p in weights.items()}
        return own | tile(self._std, len(own["w0"]))

    def identity(self) -> dict[str, Any]:
        kind, hidden = type(self).__name__, list(self.actor.hidden)
        parameters = digest(self._params)
        return {"class": kind, "hidden": hidden, "parameters": parameters}


class MultiTask(Learner):
    """The same weights for everybody: what is best on all tasks at once. A start for `fine_tune`."""

    def answer(self, params: Params, batch: Rollout) -> Params:
        return self.start(params, len(batch.rewards))


class MIL(Learner):
    r"""MAML with behaviour cloning: one gradient step on the demonstration, from weights and by rates that are learned.

    $$ \phi_i = \theta - \alpha \odot \nabla_\theta L_i(\theta) $$

    Args:
        step: alpha, where learning begins; each weight has a rate of its own.

    Source: Finn, Yu et al. (2017), algorithm 1; the learned rates are Li et al. (2017).
    """

    def __init__(
        self,
        tasks: TurnedPlane,
        gen: torch.Generator,
        hidden: tuple[int, ...] = (64, 64),
        step: float = 0.1,
    ) -> None:
        super().__init__(tasks, gen, hidden)
        rates = {f"lr_{n}": torch.full_like(p, step) for n, p in self._params.items()}
        self._params = self._params | rates

    def loss(self, policy: MLPPolicy, params: Params, batch: Rollout) -> Tensor:
        """What the step descends, `[N]`."""
        return cloning_loss(policy, params, batch)

    def answer(self, params: Params, batch: Rollout) -> Params:
        rates: Rates = {name: params[f"lr_{name}"] for name in self.weights}
        start = self.start(params, len(batch.rewards))
        return adapt(self.actor, start, batch, self.loss, rates)


class StatesMIL(MIL):
    r"""MIL without actions: the step descends a loss of the states alone, which is learned too.

    $$ L_i(\theta, \psi) = \operatorname{mean}_t
       \tfrac1K \big\lVert W_\psi\, [y_\theta(s_t), y_\theta(s_{t+1})] + b_\psi \big\rVert^2 $$

    $y_\theta$ are the units of the last hidden layer of the network that acts; $W_\psi$, with K outputs, is what MIL's
    authors call a head of its own for the inner loop. What the loss measures nobody has said: it is whatever makes the
    step a good one. It does not see the last layer, which stays.

    Source: Finn, Yu et al. (2017), who imitate without the expert's actions; two states at a time are in the manner of
    Yu et al. (2018), whose learned loss is a convolution over time.
    """

    width = 32

    def __init__(
        self,
        tasks: TurnedPlane,
        gen: torch.Generator,
        hidden: tuple[int, ...] = (64, 64),
        step: float = 0.1,
    ) -> None:
        super().__init__(tasks, gen, hidden, step)
        shape = (2 * self.actor.hidden[-1], self.width)
        self._params["head_w"] = normal(shape, gen, self.dtype) / math.sqrt(shape[0])
        self._params["head_b"] = torch.zeros(self.width, dtype=self.dtype)

    def answer(self, params: Params, batch: Rollout) -> Params:
        start = self.start(params, len(batch.rewards))
        moving = [n for n in self.weights if int(n[1:]) < self.actor.num_layers - 1]
        rates: Rates = {name: params[f"lr_{name}"] for name in moving}
        w, b = params["head_w"], params["head_b"]

        def loss(policy: MLPPolicy, weights: Params, batch: Rollout) -> Tensor:
            y = last_hidden(policy, weights, batch.observations)  # [N, E, T, H]
            both = torch.cat([y[:, :, :-1], y[:, :, 1:]], -1)
            each = ((both @ w + b) ** 2).mean(-1)  # [N, E, T - 1]
            seen = batch.mask[:, :, 1:]
            return (each * seen).sum((1, 2)) / seen.sum((1, 2)).clamp(min=1)

        return adapt(self.actor, start, batch, loss, rates)


def last_hidden(policy: MLPPolicy, params: Params, observations: Tensor) -> Tensor:
    """The units of the last hidden layer, `[N, ..., H]`."""
    y = observations.flatten(1, -2)  # [N, B, O]
    for i in range(policy.num_layers - 1):
        y = torch.tanh(y @ params[f"w{i}"] + params[f"b{i}"].unsqueeze(1))
    return y.reshape(*observations.shape[:-1], y.shape[-1])


class Conditioned(Learner):
    r"""A network that is told what was shown: the mean of codes of its steps is one more input.

    $$ c_i = \operatorname{mean}_{e,t}\, g_\psi(s_{et}, a_{et} / \delta), \qquad
       f(s, c_i) = f_{\theta,\; b_0 + V c_i}(s) $$

    An input that is the same in all states adds a constant to the first layer, so it is a bias, $V c_i$: the one
    parameter that differs from task to task. Neither the order of the steps nor their number matters.

    Source: Duan et al. (2017), where attention reads a demonstration of many stages; a mean of codes is enough for one.
    """

    width = 64

    def __init__(
        self,
        tasks: TurnedPlane,
        gen: torch.Generator,
        hidden: tuple[int, ...] = (64, 64),
    ) -> None:
        super().__init__(tasks, gen, hidden)
        inputs = self.observation_size + self.action_size
        shapes = {"code_w0": (inputs, self.width), "code_w1": (self.width, self.width)}
        shapes["told_w"] = (self.width, self.actor.hidden[0])
        for name, shape in shapes.items():
            drawn = normal(shape, gen, self.dtype) / math.sqrt(shape[0])
            self._params[name] = drawn * (0.5 if name == "told_w" else 1)
        for i in range(2):
            self._params[f"code_b{i}"] = torch.zeros(self.width, dtype=self.dtype)

    def code(self, params: Params, batch: Rollout) -> Tensor:
        """What was shown, in `[N, width]` numbers."""
        code = torch.cat([batch.observations, batch.actions / UNIT], -1)
        for i in range(2):
            code = torch.tanh(code @ params[f"code_w{i}"] + params[f"code_b{i}"])
        mask = batch.mask.unsqueeze(-1)
        return (code * mask).sum((1, 2)) / mask.sum((1, 2))

    def answer(self, params: Params, batch: Rollout) -> Params:
        start = self.start(params, len(batch.rewards))
        told = self.code(params, batch) @ params["told_w"]  # [N, H]
        return start | {"b0": start["b0"] + told}


@torch.inference_mode(False)  # gradients are on, wherever this is called
def fine_tune(learner: Learner, shown: Demonstrations, steps: int, lr: float) -> Params:
    """Clones by many steps of Adam, every task by itself: parameters of `learner.actor`, `[N, ...]`.

    From a `MultiTask` that was trained this is fine-tuning; from one that was not, cloning from scratch.

    Args:
        learner: where each task begins.
        shown: what is cloned.
        steps: of Adam, on all that is shown.
        lr: its rate.

    Raises:
        ValueError: if nothing is shown, or what is shown is of another family, horizon or action space.
    """
    check_kind(Learner, learner=learner)
    check_demonstrations(shown, learner.family, learner.action_size)
    (steps,) = counts(steps=steps)
    if not 0 < real(lr) < math.inf:
        raise ValueError(f"lr = {lr!r}: a positive rate is needed, such as lr=0.01.")
    num_tasks = len(shown.batch.rewards)
    start = learner.start(learner.params(), num_tasks)
    moving = {n: p.detach().clone().requires_grad_() for n, p in start.items()}
    adam = torch.optim.Adam(moving.values(), lr=lr, foreach=True)
    for _ in range(steps):
        # tasks are independent: the gradient of the sum is every task's own
        loss = cloning_loss(learner.actor, moving, shown.batch).sum()
        for p, g in zip(moving.values(), gradients(loss, moving).values(), strict=True):
            p.grad = g
        adam.step()
    return learner.acting(moving)
