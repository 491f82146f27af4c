"""Every number of a run is used, at its place: runs are replayed from sums written out, step by step of Adam.

A replay draws what the run draws, plays the same episodes, and computes by itself what Adam must have been given, with
each number of the configuration put where its comment says. So a number that is ignored, used too early or at another
place shows, in the first step or in a later one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, Normal, kl_divergence

from metarl_lite.algorithms.configs import ALGORITHMS, MAMLConfig, RL2Config
from metarl_lite.algorithms.maml import History, maml
from metarl_lite.algorithms.rl2 import RL2History, rl2
from metarl_lite.losses import LOSSES
from metarl_lite.policies.gru import GRUPolicy
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.returns import with_advantages
from metarl_lite.rng import generator, normal
from metarl_lite.rollout import draw_noise, rollout, trial
from metarl_lite.tasks import PointGoal, TabularMDP
from metarl_lite.types import Params, Rollout
from tests.policies.test_gru import by_equations

F64 = torch.float64


# --- What Adam is given -----------------------------------------------------------------------------------------------


@dataclass
class Step:
    """One step of Adam: its rate, theta before it, the gradient, and theta after it."""

    rate: float
    theta: Params
    gradient: Params
    after: Params


class Recorded:
    """The steps that Adam takes meanwhile, with the names that theta has."""

    def __init__(self, theta: Params) -> None:
        self.names, self.steps = list(theta), []  # type: ignore[var-annotated]

    def __enter__(self) -> list[Step]:
        self.patch, real = pytest.MonkeyPatch(), torch.optim.Adam.step

        def step(optimiser: torch.optim.Adam, *args: Any, **options: Any) -> Any:
            (group,) = optimiser.param_groups
            now = {n: p.detach().clone().requires_grad_() for n, p in zip(self.names, group["params"], strict=True)}
            slopes = {n: p.grad.clone() for n, p in zip(self.names, group["params"], strict=True)}
            done = real(optimiser, *args, **options)
            after = {n: p.detach().clone() for n, p in zip(self.names, group["params"], strict=True)}
            self.steps.append(Step(group["lr"], now, slopes, after))
            return done

        self.patch.setattr(torch.optim.Adam, "step", step)
        return self.steps

    def __exit__(self, *args: Any) -> None:
        self.patch.undo()


class Replayed:
    """Compares a run with what each step of Adam should have been: gradient, clipping, rate, and the step itself."""

    def __init__(self, steps: list[Step], max_norm: float) -> None:
        self.steps, self.max_norm, self.taken = steps, max_norm, 0
        self.first, self.second = ({n: torch.zeros_like(p) for n, p in steps[0].gradient.items()} for _ in range(2))

    def next(self) -> Step:
        """The step that comes."""
        return self.steps[self.taken]

    def compare(self, gradient: Params, rate: float) -> float:
        """Holds the step that comes to what it should be; the length of the gradient."""
        step = self.next()
        self.taken += 1
        length = math.sqrt(sum(g.square().sum().item() for g in gradient.values()))
        assert step.rate == pytest.approx(rate, rel=1e-9)
        for name, g in gradient.items():
            cut = g.detach() * min(1.0, self.max_norm / length)
            # torch divides by the length and 1e-6 more
            torch.testing.assert_close(step.gradient[name], cut, rtol=1e-4, atol=1e-9 * min(1.0, self.max_norm))
            g = step.gradient[name]
            self.first[name] = 0.9 * self.first[name] + 0.1 * g
            self.second[name] = 0.999 * self.second[name] + 0.001 * g**2
            mean, square = self.first[name] / (1 - 0.9**self.taken), self.second[name] / (1 - 0.999**self.taken)
            expected = step.theta[name] - rate * mean / (square.sqrt() + 1e-8)
            torch.testing.assert_close(step.after[name], expected.detach(), rtol=1e-7, atol=1e-9)
        return length


def moved(theta: Params, seed: int) -> Params:
    """Random numbers added to all parameters; at first biases are 0 and heads are small."""
    gen = generator(seed)
    return {n: p.detach() + 0.3 * normal(tuple(p.shape), gen, F64) for n, p in theta.items()}


def line(first: float, last: float | None, iteration: int, iterations: int) -> float:
    """A straight line that reaches `last` after the last iteration."""
    return first if last is None else first + (last - first) * iteration / iterations


# --- RL2 --------------------------------------------------------------------------------------------------------------

#: Rewards are real numbers, and each step draws chance for the state that follows and for the reward.
MDPS = TabularMDP(3, 2, horizon=2, dtype=F64)
A2C = RL2Config(
    iterations=2, num_tasks=2, trials=2, episodes=2, lr=0.02, final_lr=0.01, discount=0.9, gae_lambda=0.8,
    entropy=0.05, value_weight=0.3, max_grad_norm=1e9,
)  # fmt: skip
PPO = replace(A2C, algorithm="ppo", minibatches=2, lr=0.1, final_lr=None)


def recurrent(separate: bool) -> GRUPolicy:
    policy = GRUPolicy.for_tasks(MDPS, generator(0), hidden=4, separate=separate)
    return policy.replace(moved(policy.params(), 1))


@cache
def rl2_run(config: RL2Config, separate: bool = False) -> tuple[list[Step], RL2History]:
    policy = recurrent(separate)
    with Recorded(policy.params()) as steps:
        _, history = rl2(MDPS, policy, config, generator(2))
    return steps, history


def passed(policy: GRUPolicy, theta: Params, batch: Rollout, config: RL2Config) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities of what was done, entropies and values, `[B, L]` each, one step after the other."""
    seen, done = batch.observations.flatten(1, 2), torch.eye(2, dtype=F64)[batch.actions.flatten(1)]
    paid, (count, length) = batch.rewards.flatten(1), batch.actions.flatten(1).shape
    memories = {owner: torch.zeros(count, 4, dtype=F64) for owner in ("actor", "critic")}
    log_probs, entropies, values = [], [], []
    for j in range(length):
        before = torch.cat([done[:, j - 1], paid[:, j - 1 : j]], 1) if j else torch.zeros(count, 3, dtype=F64)
        begins = torch.full((count, 1), float(j % MDPS.horizon == 0), dtype=F64)
        x = torch.cat([seen[:, j], before, begins], 1)
        for owner in memories:
            memories[owner] = by_equations(theta, memories[owner], x, owner if policy.separate else "actor")
        chosen = Categorical(logits=memories["actor"] @ theta["actor_w"] + theta["actor_b"])
        log_probs.append(chosen.log_prob(batch.actions.flatten(1)[:, j]))
        entropies.append(chosen.entropy())
        read = memories["critic"]
        if not policy.separate and not config.critic_trains_memory:
            read = read.detach()
        values.append((read @ theta["critic_w"] + theta["critic_b"])[:, 0])
    return torch.stack(log_probs, 1), torch.stack(entropies, 1), torch.stack(values, 1)


def merits(rewards: Tensor, values: Tensor, config: RL2Config, discount: float) -> tuple[Tensor, Tensor]:
    """Advantages of whole trials, as the definition sums them, and what the critic is to learn."""
    rewards, length = config.reward_scale * rewards, rewards.shape[1]
    after = torch.cat([values[:, 1:], torch.zeros(len(values), 1, dtype=F64)], 1)
    delta = rewards + discount * after - values
    fade = discount * config.gae_lambda
    advantages = torch.stack([
        sum((fade ** (m - j) * delta[:, m] for m in range(j, length)), torch.zeros(len(values), dtype=F64))
        for j in range(length)
    ], 1)  # fmt: skip
    targets = advantages + values
    if config.normalise:
        group = config.trials if config.trials > 1 else len(advantages)  # alone it is compared with all
        grouped = advantages.reshape(-1, group, length)
        centred = (grouped - grouped.mean(1, keepdim=True)).reshape(advantages.shape)
        advantages = centred / centred.square().mean().sqrt()
    return advantages, targets


def parts_of(config: RL2Config, gen: torch.Generator) -> Iterator[Tensor]:
    """Which trials each step of an iteration sees."""
    count = config.num_tasks * config.trials
    if config.algorithm == "a2c":
        yield torch.arange(count)
        return
    for _ in range(config.epochs):
        yield from torch.randperm(count, generator=gen).tensor_split(config.minibatches)


def some(batch: Rollout, part: Tensor) -> Rollout:
    return Rollout(**{name: x[part] for name, x in vars(batch).items() if x is not None})


def check_rl2(config: RL2Config, separate: bool = False) -> list[Step]:
    """The whole run, replayed."""
    steps, history = rl2_run(config, separate)
    policy, gen, replay = recurrent(separate), generator(2), Replayed(steps, config.max_grad_norm)
    for k in range(config.iterations):
        task = MDPS.sample(config.num_tasks, gen)
        task = {n: torch.stack([x for x in leaf for _ in range(config.trials)]) for n, leaf in task.items()}
        rows, copies = config.num_tasks * config.trials, 1
        if config.common_noise:
            rows, copies = config.num_tasks, config.trials
        noise = draw_noise(MDPS, policy, rows, config.episodes, gen, copies=copies)
        batch = trial(MDPS, policy, replay.next().theta, task, config.episodes, noise=noise)
        discount = line(config.discount, config.final_discount, k, config.iterations)
        bonus = line(config.entropy, config.final_entropy, k, config.iterations)
        with torch.no_grad():
            acted, _, judged = passed(policy, replay.next().theta, batch, config)
        advantages, targets = merits(batch.rewards.flatten(1), judged, config, discount)
        for part in parts_of(config, gen):
            theta = replay.next().theta
            log_prob, entropy, value = passed(policy, theta, some(batch, part), config)
            ratio, gain = (log_prob - acted[part]).exp(), advantages[part]
            each = ratio * gain
            if config.algorithm == "ppo":  # on the far side a better ratio pays no more
                bound = 1 + config.clip * gain.sign()
                each = torch.where((ratio - bound) * gain.sign() > 0, bound * gain, each)
            error = (value - targets[part]) ** 2
            loss = (-each + config.value_weight * error / 2 - bonus * entropy).mean()  # all trials are equally long
            slopes = dict(zip(theta, torch.autograd.grad(loss, list(theta.values())), strict=True))
            length = replay.compare(slopes, line(config.lr, config.final_lr, k, config.iterations))
        returns = batch.rewards.sum(2).mean(0)
        noted = {
            "returns": returns.sum(), "first": returns[0], "last": returns[-1], "grad_norm": length,
            "entropy": entropy.mean(), "value_error": error.mean(), "kl": (acted[part] - log_prob).mean(),
        }  # fmt: skip
        for name, value in noted.items():
            expected = torch.as_tensor(value).item()
            assert getattr(history, name)[k] == pytest.approx(expected, rel=1e-6, abs=1e-12), name
    assert replay.taken == len(steps)
    assert len(history.returns) == config.iterations
    return steps


#: A value for each field that is not the one of A2C or PPO above.
RL2_CHANGES: list[tuple[RL2Config, dict[str, Any]]] = [
    (A2C, {"iterations": 3}), (A2C, {"num_tasks": 3}), (A2C, {"trials": 3}), (A2C, {"trials": 1}),
    (A2C, {"common_noise": True}), (A2C, {"episodes": 3}), (A2C, {"algorithm": "ppo", "minibatches": 2}),
    (A2C, {"lr": 0.05}), (A2C, {"final_lr": 0.002}), (A2C, {"final_lr": None}), (A2C, {"discount": 0.5}),
    (A2C, {"final_discount": 0.4}), (A2C, {"gae_lambda": 0.3}), (A2C, {"entropy": 0.5}),
    (A2C, {"final_entropy": 0.6}), (A2C, {"value_weight": 0.9}), (A2C, {"critic_trains_memory": False}),
    (A2C, {"reward_scale": 0.4}), (A2C, {"normalise": False}), (A2C, {"max_grad_norm": 1e-3}),
    (PPO, {"clip": 0.05}), (PPO, {"epochs": 3}), (PPO, {"epochs": 1}), (PPO, {"minibatches": 1}),
    (PPO, {"minibatches": 4}), (PPO, {"max_grad_norm": 1e-3}), (PPO, {"common_noise": True}),
]  # fmt: skip


def name_of(value: Any) -> str:
    if isinstance(value, RL2Config | MAMLConfig):
        return value.algorithm
    return ", ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else str(value)


def differ(one: list[Step], other: list[Step]) -> bool:
    """Whether two runs gave Adam other things to do."""
    return len(one) != len(other) or any(
        a.rate != b.rate or any(not torch.equal(g, a.gradient[name]) for name, g in b.gradient.items())
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("config", [A2C, PPO], ids=name_of)
@pytest.mark.parametrize("separate", [False, True])
def test_a_run_of_rl2_is_its_replay(config: RL2Config, separate: bool) -> None:
    check_rl2(config, separate)


@pytest.mark.parametrize(("config", "changes"), RL2_CHANGES, ids=name_of)
def test_each_number_of_rl2_does_what_it_says(config: RL2Config, changes: dict[str, Any]) -> None:
    assert differ(check_rl2(replace(config, **changes)), rl2_run(config)[0]), "what is changed should matter here"


def test_a_separate_critic_trains_its_memory_whatever_is_said_of_a_shared_one() -> None:
    without = check_rl2(replace(A2C, critic_trains_memory=False), separate=True)
    assert not differ(without, rl2_run(A2C, separate=True)[0])
    assert without[0].gradient["critic_gru_in"].abs().max() > 1e-4


def test_single_trials_are_compared_with_those_of_other_tasks() -> None:
    """With one trial of each task there is no other of its own; the mean is over all tasks."""
    steps, _ = rl2_run(replace(A2C, trials=1, num_tasks=4))
    assert steps[0].gradient["actor_w"].abs().max() > 1e-3


def test_ppo_goes_on_from_the_ratios_of_the_policy_that_acted() -> None:
    """With a large rate the second epoch meets ratios beyond the clip, and the divergence that is noted is not 0."""
    config = replace(PPO, iterations=1, minibatches=1, epochs=2, lr=0.3)
    steps = check_rl2(config)
    first, second = (torch.cat([g.flatten() for g in step.gradient.values()]) for step in steps)
    assert (first - second).norm() > 0.1 * first.norm()
    _, history = rl2_run(config)
    assert abs(history.kl[0]) > 1e-3
    unclipped = rl2_run(replace(config, clip=1e6))[0]
    assert not differ(steps[:1], unclipped[:1])
    assert differ(steps[1:], unclipped[1:]), "the clip should have something to do"


def test_every_number_of_rl2_is_changed_by_some_test() -> None:
    assert {name for _, changes in RL2_CHANGES for name in changes} == {f.name for f in fields(RL2Config)}


# --- MAML and its relatives, with Adam --------------------------------------------------------------------------------

PLANE = PointGoal(horizon=5, dtype=F64)
MAML = MAMLConfig(
    iterations=2, num_tasks=3, episodes=3, inner_steps=2, inner_lr=0.2, later_steps=0.5, outer_lr=0.02, final_lr=0.01,
    discount=0.9, gae_lambda=0.8, max_grad_norm=1e9,
)  # fmt: skip


def feedforward(config: MAMLConfig) -> MLPPolicy:
    policy = MLPPolicy.for_tasks(PLANE, generator(0), hidden=(3,))
    policy = policy.replace(moved(policy.params(), 1))
    return policy.with_rates(config.inner_lr) if config.algorithm == "meta_sgd" else policy


@cache
def maml_run(config: MAMLConfig, outer: str = "adam") -> tuple[list[Step], History]:
    policy = feedforward(config)
    with Recorded(policy.params()) as steps:
        _, history = maml(PLANE, policy, config, generator(2), outer=outer)
    return steps, history


class Loop:
    """The inner loop of one meta-batch, written out with the numbers of a configuration."""

    def __init__(self, config: MAMLConfig, gen: torch.Generator) -> None:
        self.config, self.policy = config, feedforward(config)
        self.task = PLANE.sample(config.num_tasks, gen)
        self.noise = [
            draw_noise(PLANE, self.policy, config.num_tasks, config.episodes, gen)
            for _ in range(config.inner_steps + 1)
        ]
        self.graph = config.algorithm not in ("fomaml", "reptile")

    def start(self, theta: Params) -> Params:
        return {name: p.expand(self.config.num_tasks, *p.shape) for name, p in theta.items()}

    def batch(self, params: Params, step: int, normalise: bool | None = None) -> Rollout:
        config = self.config
        played = rollout(PLANE, self.policy, params, self.task, config.episodes, noise=self.noise[step])
        normalise = config.normalise if normalise is None else normalise
        return with_advantages(played, discount=config.discount, gae_lambda=config.gae_lambda, normalise=normalise)

    def chosen(self, params: Params, batch: Rollout) -> Any:
        mean = self.policy.forward(params, batch.observations)
        return Independent(Normal(mean, params["log_std"][:, None, None].exp().expand_as(mean)), 1)

    def log_prob(self, params: Params, batch: Rollout) -> Tensor:
        found: Tensor = self.chosen(params, batch).log_prob(batch.actions)
        return found

    def mean(self, each: Tensor, batch: Rollout) -> Tensor:
        """Over the steps of each task that were taken, `[N]`."""
        return torch.stack([(x * m).sum() / m.sum() for x, m in zip(each, batch.mask, strict=True)])

    def merit(self, params: Params, batch: Rollout) -> Tensor:
        """Minus the policy gradient is the slope of this, `[N]`."""
        assert batch.advantages is not None
        return -self.mean(self.log_prob(params, batch) * batch.advantages, batch)

    def walk(self, params: Params, loss: Tensor, step: int) -> Params:
        """One inner step, the rates of later ones multiplied by `later_steps`."""
        factor, config = (1.0 if step == 0 else self.config.later_steps), self.config
        rates: dict[str, Any] = dict.fromkeys(params, factor * config.inner_lr)
        if config.algorithm == "anil":
            rates = {name: rate for name, rate in rates.items() if name in ("w1", "b1")}
        if config.algorithm == "meta_sgd":
            rates = {name[3:]: factor * p for name, p in params.items() if name.startswith("lr_")}
        slopes = torch.autograd.grad(loss.sum(), [params[name] for name in rates], create_graph=self.graph)
        steps = {name: rates[name] * slope for name, slope in zip(rates, slopes, strict=True)}
        return {name: p - steps[name] if name in steps else p for name, p in params.items()}

    def gradient(self, theta: Params) -> tuple[Params, list[Rollout]]:
        """The meta-gradient at theta, and the episodes after 0, 1, ... steps."""
        config, params, batches, chosen = self.config, self.start(theta), [], []
        for step in range(config.inner_steps):
            batches.append(self.batch(params, step))
            chosen.append(self.log_prob(params, batches[-1]))
            loss = LOSSES[config.inner_loss](self.policy, params, batches[-1])
            params = self.walk(params, loss, step)
        raw = config.algorithm == "e_maml"
        batches.append(self.batch(params, config.inner_steps, normalise=False if raw else None))
        if config.algorithm == "reptile":
            end = self.walk(params, self.merit(params, batches[-1]), 0)
            way = {name: (p - end[name].mean(0)) / config.inner_lr for name, p in theta.items()}
            return {name: p.detach() for name, p in way.items()}, batches
        loss = self.merit(params, batches[-1])
        if raw:
            paid = self.mean(batches[-1].rewards, batches[-1])
            others = (paid.sum() - paid) / (config.num_tasks - 1)
            for log_prob, batch in zip(chosen, batches, strict=False):
                loss = loss - (paid - others) * (log_prob * batch.mask).sum((1, 2))
        slopes = torch.autograd.grad(loss.mean(), list(theta.values()))
        return dict(zip(theta, slopes, strict=True)), batches


def noted_returns(batches: list[Rollout]) -> list[float]:
    return [batch.rewards.sum(2).mean().item() for batch in batches]


def check_maml(config: MAMLConfig) -> list[Step]:
    """The whole run, replayed."""
    steps, history = maml_run(config)
    gen, replay = generator(2), Replayed(steps, config.max_grad_norm)
    for k in range(config.iterations):
        slopes, batches = Loop(config, gen).gradient(replay.next().theta)
        length = replay.compare(slopes, line(config.outer_lr, config.final_lr, k, config.iterations))
        assert history.returns[k] == pytest.approx(noted_returns(batches), rel=1e-9)
        assert history.grad_norm[k] == pytest.approx(length, rel=1e-6)
    assert replay.taken == len(steps) == len(history.returns)
    return steps


MAML_CHANGES: list[dict[str, Any]] = [
    {"iterations": 3}, {"num_tasks": 4}, {"episodes": 2}, {"inner_steps": 1}, {"inner_steps": 3}, {"inner_steps": 0},
    {"inner_lr": 0.4}, {"later_steps": 1.0}, {"later_steps": 2.0}, {"outer_lr": 0.05}, {"final_lr": 0.002},
    {"final_lr": None}, *({"algorithm": name} for name in ALGORITHMS if name != "maml"),
    *({"inner_loss": name} for name in LOSSES if name != "policy_gradient"), {"discount": 0.5}, {"gae_lambda": 0.3},
    {"normalise": False}, {"max_grad_norm": 1e-3},
]  # fmt: skip


def test_a_run_of_maml_is_its_replay() -> None:
    check_maml(MAML)


@pytest.mark.parametrize("changes", MAML_CHANGES, ids=name_of)
def test_each_number_of_maml_does_what_it_says(changes: dict[str, Any]) -> None:
    """Algorithms too: each takes the rates of later steps, where it takes such steps."""
    assert differ(check_maml(replace(MAML, **changes)), maml_run(MAML)[0]), "what is changed should matter here"


@pytest.mark.parametrize("algorithm", ["reptile", "e_maml"])
@pytest.mark.parametrize(
    "changes", [{"later_steps": 1.0}, {"normalise": False}, {"inner_loss": "dice"}, {"inner_lr": 0.1}], ids=name_of
)
def test_each_number_does_what_it_says_for_relatives_with_a_gradient_of_their_own(
    algorithm: str, changes: dict[str, Any]
) -> None:
    check_maml(replace(MAML, algorithm=algorithm, iterations=1, **changes))


@pytest.mark.parametrize("chunk_size", [1, 2])
def test_chunks_of_tasks_have_their_own_chance(chunk_size: int) -> None:
    check_maml(replace(MAML, chunk_size=chunk_size))


# --- MAML with the other outer updates --------------------------------------------------------------------------------

PROMP = replace(MAML, kl_penalty=0.3, epochs=3, outer_lr=0.005, final_lr=0.002, clip=0.1)


def check_promp(config: MAMLConfig) -> list[Step]:
    """The whole run, replayed: several steps of Adam on the same episodes, inner steps along ratios."""
    steps, history = maml_run(config, "promp")
    gen, replay = generator(2), Replayed(steps, config.max_grad_norm)
    for k in range(config.iterations):
        loop, theta = Loop(config, gen), replay.next().theta
        params, batches, acted = loop.start(theta), [], []
        for step in range(config.inner_steps + 1):
            batches.append(loop.batch(params, step))
            acted.append(loop.log_prob(params, batches[-1]).detach())
            if step < config.inner_steps:  # where ratios are 1 their slope is that of the logarithm
                params = loop.walk(params, loop.merit(params, batches[-1]), step)
        *support, query = batches
        assert query.advantages is not None
        first = {name: p.detach() for name, p in loop.start(theta).items()}

        def divergence(theta: Params, loop: Loop = loop, first: Params = first, seen: Rollout = support[0]) -> Tensor:
            each = kl_divergence(loop.chosen(first, seen), loop.chosen(loop.start(theta), seen))
            return loop.mean(each, seen).mean()

        for epoch in range(config.epochs):
            theta = replay.next().theta
            params = loop.start(theta)
            for step, (batch, old) in enumerate(zip(support, acted, strict=False)):
                assert batch.advantages is not None
                ratio = (loop.log_prob(params, batch) - old).exp()
                params = loop.walk(params, -loop.mean(ratio * batch.advantages, batch), step)
            ratio, gain = (loop.log_prob(params, query) - acted[-1]).exp(), query.advantages
            assert bool(((ratio - 1).abs() * query.mask < 1e-9).all()) == (epoch == 0)
            bound = 1 + config.clip * gain.sign()
            each = torch.where((ratio - bound) * gain.sign() > 0, bound * gain, ratio * gain)
            loss = -loop.mean(each, query).mean() + config.kl_penalty * divergence(theta)
            slopes = dict(zip(theta, torch.autograd.grad(loss, list(theta.values())), strict=True))
            length = replay.compare(slopes, line(config.outer_lr, config.final_lr, k, config.iterations))
        assert history.returns[k] == pytest.approx(noted_returns(batches), rel=1e-9)
        assert history.grad_norm[k] == pytest.approx(length, rel=1e-6)
        end = divergence(replay.steps[replay.taken - 1].after).item()
        assert history.kl[k] == pytest.approx(end, rel=1e-6)
    assert replay.taken == len(steps)
    return steps


PROMP_CHANGES: list[dict[str, Any]] = [
    {"clip": 0.03}, {"clip": 0.3}, {"epochs": 1}, {"epochs": 4}, {"kl_penalty": 3.0}, {"kl_penalty": 0.0},
    {"later_steps": 1.0}, {"inner_steps": 1}, {"max_grad_norm": 1e-3}, {"discount": 0.5}, {"algorithm": "fomaml"},
    {"algorithm": "anil"}, {"algorithm": "meta_sgd"},
]  # fmt: skip


def test_a_run_of_promp_is_its_replay() -> None:
    check_promp(PROMP)


@pytest.mark.parametrize("changes", PROMP_CHANGES, ids=name_of)
def test_each_number_of_promp_does_what_it_says(changes: dict[str, Any]) -> None:
    assert differ(check_promp(replace(PROMP, **changes)), maml_run(PROMP, "promp")[0])


TRPO = replace(MAML, iterations=1, damping=0.1)


@cache
def check_trpo(config: MAMLConfig) -> tuple[Tensor, Tensor]:
    """One step of TRPO: what is noted of it, measured; the gradient and the step, as vectors."""
    start, loop = feedforward(config), Loop(config, generator(3))
    trained, history = maml(PLANE, start, config, generator(3), outer="trpo")
    theta = start.params()
    slopes, batches = loop.gradient(theta)
    g = torch.cat([x.flatten() for x in slopes.values()])
    assert history.grad_norm[0] == pytest.approx(g.norm().item(), rel=1e-6)
    assert history.returns[0] == pytest.approx(noted_returns(batches), rel=1e-9)
    assert history.accepted == [1.0]
    *support, query = batches
    assert query.advantages is not None
    ends = []
    for theta in (start.params(), trained.params()):
        params = loop.start(theta)
        for step, batch in enumerate(support):
            params = loop.walk(params, LOSSES[config.inner_loss](loop.policy, params, batch), step)
        ends.append({name: p.detach() for name, p in params.items()})
    each = kl_divergence(*(loop.chosen(params, query) for params in ends))
    kl = loop.mean(each, query).mean().item()
    assert history.kl[0] == pytest.approx(kl, rel=1e-6)
    assert kl <= config.max_kl * (1 + 1e-9)  # by design: the search ends anywhere below
    old, new = (loop.log_prob(params, query) for params in ends)
    gain = loop.mean((new - old).exp() * query.advantages, query).mean()
    assert gain > loop.mean(query.advantages, query).mean()
    return g, torch.cat([(p - start.params()[name]).detach().flatten() for name, p in trained.params().items()])


TRPO_CHANGES: list[dict[str, Any]] = [
    {"max_kl": 1e-4}, {"max_kl": 0.05}, {"damping": 10.0}, {"cg_iterations": 2}, {"curvature_episodes": 1},
    {"later_steps": 1.0}, {"inner_loss": "linearised"}, {"discount": 0.5}, {"algorithm": "fomaml"},
]  # fmt: skip


@pytest.mark.parametrize("changes", TRPO_CHANGES, ids=name_of)
def test_each_number_of_trpo_matters_and_what_is_noted_of_a_step_is_true(changes: dict[str, Any]) -> None:
    _, plain = check_trpo(TRPO)
    _, other = check_trpo(replace(TRPO, **changes))
    assert (plain - other).norm() > 1e-3 * plain.norm()


@pytest.mark.parametrize("changes", [{"cg_iterations": 1}, {"damping": 1e9}], ids=name_of)
def test_without_curvature_trpo_steps_along_the_gradient(changes: dict[str, Any]) -> None:
    """One product with the Fisher matrix sets the length alone; so does damping that drowns it."""
    g, step = check_trpo(replace(TRPO, **changes))
    torch.testing.assert_close(step / step.norm(), -g / g.norm(), rtol=1e-3, atol=1e-4)
    straight, bent = check_trpo(TRPO)
    assert torch.nn.functional.cosine_similarity(straight, -bent, dim=0) < 0.99


@pytest.mark.parametrize("max_kl", [1e-4, 1e-3, 0.2])
def test_trpo_goes_as_far_as_its_bound_allows(max_kl: float) -> None:
    """The full step has this divergence by its quadratic model, and a shorter one is tried where it has more."""
    start, config = feedforward(TRPO), replace(TRPO, max_kl=max_kl, curvature_episodes=TRPO.episodes)
    _, history = maml(PLANE, start, config, generator(2), outer="trpo")
    assert max_kl / 6 < history.kl[0] <= max_kl * (1 + 1e-9)  # by design: a full step, or a half of it or two


def test_every_number_of_maml_is_changed_by_some_test() -> None:
    changed = {name for changes in (*MAML_CHANGES, *PROMP_CHANGES, *TRPO_CHANGES) for name in changes}
    assert changed | {"chunk_size"} == {f.name for f in fields(MAMLConfig)}


# --- What is seen of a run, and where it starts from ------------------------------------------------------------------


@pytest.mark.parametrize("train", ["maml", "rl2"])
def test_the_callback_and_the_caller_are_given_what_the_last_step_left(train: str) -> None:
    seen: list[tuple[int, Params]] = []
    policy: Any = feedforward(MAML) if train == "maml" else recurrent(False)
    with Recorded(policy.params()) as steps:
        if train == "maml":
            trained, _ = maml(PLANE, policy, MAML, generator(2), lambda k, p, h: seen.append((k, p.params())))
        else:
            trained, _ = rl2(MDPS, policy, A2C, generator(2), lambda k, p, h: seen.append((k, p.params())))  # type: ignore[assignment]
    assert [k for k, _ in seen] == [0, 1]
    for (_, params), step in zip(seen, steps, strict=True):
        assert all(torch.equal(p, step.after[name]) for name, p in params.items())
    assert all(torch.equal(p, steps[-1].after[name]) for name, p in trained.params().items())


def test_the_numbers_of_a_run_that_says_nothing() -> None:
    """The book prints results of these, and names only what it changes."""
    assert asdict(MAMLConfig()) == {
        "iterations": 100, "num_tasks": 20, "episodes": 20, "inner_steps": 1, "inner_lr": 0.1, "later_steps": 1.0,
        "outer_lr": 3e-3, "final_lr": None, "algorithm": "maml", "inner_loss": "policy_gradient", "discount": 0.99,
        "gae_lambda": 0.98, "normalise": True, "max_grad_norm": 1.0, "max_kl": 0.01, "damping": 1e-3,
        "cg_iterations": 10, "curvature_episodes": 2, "clip": 0.2, "epochs": 5, "kl_penalty": 5e-4, "chunk_size": None,
    }  # fmt: skip
    assert asdict(RL2Config()) == {
        "iterations": 1000, "num_tasks": 32, "trials": 8, "common_noise": False, "episodes": 10, "algorithm": "a2c",
        "lr": 1e-2, "final_lr": 0.0, "discount": 0.99, "final_discount": None, "gae_lambda": 0.95, "entropy": 0.02,
        "final_entropy": 0.0, "value_weight": 0.05, "critic_trains_memory": True, "reward_scale": 1.0,
        "normalise": True, "max_grad_norm": 1.0, "clip": 0.2, "epochs": 2, "minibatches": 8,
    }  # fmt: skip
