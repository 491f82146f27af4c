"""What a memory remembers after an early end, against a plain loop that begins the next episode at once."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from metarl_lite.algorithms.actor_critic import judge
from metarl_lite.algorithms.configs import RL2Config
from metarl_lite.policies.belief import BeliefPolicy
from metarl_lite.policies.gru import GRUPolicy
from metarl_lite.policies.keyed import keyed
from metarl_lite.returns import trial_gae
from metarl_lite.rng import generator, normal
from metarl_lite.rollout import Noise, draw_noise, frozen, trial
from metarl_lite.tasks.base import TaskDistribution
from metarl_lite.types import Params, Rollout, Task

F64 = torch.float64
TRIALS, EPISODES, HORIZON = 12, 4, 5


class Hourglass(TaskDistribution):
    """An episode ends after a number of steps that its reset draws, one to six where the horizon is five.

    The state is a place and the steps that are left, of which the place alone is seen.
    """

    name, observation_size, horizon, can_terminate, dtype = "hourglass", 1, HORIZON, True, F64
    task_shape = {"pays": (3,)}  # noqa: RUF012
    reset_noise_size, noise_size = 2, 1

    def __init__(self, discrete: bool) -> None:
        self.discrete, self.action_size = discrete, 3 if discrete else 2

    def sample(self, num_tasks: int, gen: torch.Generator) -> Task:
        return {"pays": normal((num_tasks, 3), gen, F64)}

    def default_task(self) -> Task:
        return {"pays": torch.ones(3, dtype=F64)}

    def reset(self, task: Task, noise: Tensor) -> Tensor:
        return torch.stack([noise[..., 0], 1 + (6 * noise[..., 1]).floor()], -1)

    def step(self, task: Task, state: Tensor, action: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        place, left = state.unbind(-1)
        if self.discrete:
            paid = (task["pays"] * torch.nn.functional.one_hot(action, 3)).sum(-1) + place
        else:
            paid = (task["pays"][..., :2] * action).sum(-1) + place
        return torch.stack([noise[..., 0] - 0.5, left - 1], -1), paid, left <= 1

    def observe(self, task: Task, state: Tensor) -> Tensor:
        return state[..., :1]


class Step(NamedTuple):
    """A step as the loop lived through it."""

    episode: int
    t: int
    read: np.ndarray[Any, Any]
    memory: np.ndarray[Any, Any]
    action: Any
    reward: float
    log_prob: float
    value: float


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def cell(p: dict[str, Any], h: Any, x: Any, owner: str) -> Any:
    """A GRU in numpy, gate by gate."""
    names = ("in", "memory", "in_b", "memory_b")
    w, u, b, c = (np.split(p[f"{owner}_gru_{name}"], 3) for name in names)
    r, z = (sigmoid(w[i] @ x + b[i] + u[i] @ h + c[i]) for i in (0, 1))
    return z * h + (1 - z) * np.tanh(w[2] @ x + b[2] + r * (u[2] @ h + c[2]))


def lived(tasks: Hourglass, policy: GRUPolicy, params: Params, task: Task, noise: Noise, n: int) -> list[Step]:
    """Trial n, step by step in numpy: where an episode ends, the next one begins; nothing is ever filled up."""
    p = {name: tensor.detach().numpy() for name, tensor in params.items()}
    own = {name: leaf[n] for name, leaf in task.items()}
    memories = {owner: np.zeros(policy.hidden) for owner in ("actor", "critic")}
    came, steps = np.array([0.0] * (policy.action_size + 1) + [1.0]), []
    for episode in range(EPISODES):
        state = tasks.reset(own, noise.reset[n, episode])
        for t in range(HORIZON):
            x = np.concatenate([tasks.observe(own, state).numpy(), came])
            for owner in memories:
                memories[owner] = cell(p, memories[owner], x, owner if policy.separate else "actor")
            h, v = memories["actor"], memories["critic"]
            if isinstance(policy, BeliefPolicy):
                h = np.concatenate([h, x])
                v = np.tanh(h @ p["trunk_w"] + p["trunk_b"])
            output = (v if isinstance(policy, BeliefPolicy) else h) @ p["actor_w"] + p["actor_b"]
            luck = noise.action[n, episode, t].numpy()
            if policy.discrete:
                chances = np.exp(output) / np.exp(output).sum()
                action = int((luck >= chances.cumsum()[:-1]).sum())
                code, log_prob = np.eye(policy.action_size)[action], np.log(chances[action])
            else:
                std = np.exp(p["log_std"])
                action = code = output + luck * std
                log_prob = (-0.5 * luck**2 - p["log_std"] - 0.5 * np.log(2 * np.pi)).sum()
            state, reward, ended = tasks.step(own, state, torch.as_tensor(action), noise.step[n, episode, t])
            value = (v @ p["critic_w"] + p["critic_b"])[0]
            steps.append(Step(episode, t, x, h, action, reward.item(), log_prob, value))
            over = bool(ended) or t == HORIZON - 1
            came = np.concatenate([np.asarray(code), [reward.item(), float(over)]])
            if over:
                break
    return steps


def case(kind: str, discrete: bool) -> tuple[Hourglass, GRUPolicy, Params, Task, Noise]:
    """A family, a policy with a memory that matters, and the chance of twelve trials."""
    tasks, gen = Hourglass(discrete), generator(5)
    options: dict[str, Any] = {"init_std": 0.5} if not discrete else {}
    policy = {
        "gru": lambda: GRUPolicy.for_tasks(tasks, gen, hidden=4, **options),
        "two memories": lambda: GRUPolicy.for_tasks(tasks, gen, hidden=4, separate=True, **options),
        "keyed": lambda: keyed(GRUPolicy.for_tasks(tasks, gen, hidden=16, **options), gen),
        "belief": lambda: BeliefPolicy.for_tasks(tasks, gen, code=4, units=3, **options),
    }[kind]()
    params = {n: p.detach() + 0.4 * normal(tuple(p.shape), gen, F64) for n, p in policy.params().items()}
    return tasks, policy, params, tasks.sample(TRIALS, gen), draw_noise(tasks, policy, TRIALS, EPISODES, generator(6))


def check_acting(kind: str, discrete: bool) -> Rollout:
    """The trials as they are played in a batch, step by step those of the loop."""
    tasks, policy, params, task, noise = case(kind, discrete)
    batch = trial(tasks, policy, params, task, EPISODES, noise=noise, memories=True)
    assert batch.memories is not None
    for n in range(TRIALS):
        steps = lived(tasks, policy, params, task, noise, n)
        assert batch.mask[n].nonzero().tolist() == [[s.episode, s.t] for s in steps]
        for s in steps:
            np.testing.assert_allclose(batch.actions[n, s.episode, s.t], s.action, rtol=1e-9, atol=1e-9)
            memory = batch.memories[n, s.episode * HORIZON + s.t]
            np.testing.assert_allclose(memory, s.memory, rtol=1e-9, atol=1e-9)
            assert batch.rewards[n, s.episode, s.t].item() == pytest.approx(s.reward, abs=1e-9)
    return batch


def check_learning(kind: str, discrete: bool) -> None:
    """What an update computes of recorded trials: inputs, memories, log-probabilities, values and advantages."""
    tasks, policy, params, task, noise = case(kind, discrete)
    batch = trial(tasks, policy, params, task, EPISODES, noise=noise)
    read = policy.inputs(batch)
    chosen, values, memory = judge(policy, params, read, batch, RL2Config())
    log_prob, advantages = policy.log_prob_of(chosen, batch.actions), trial_gae(batch, values, 0.9, 0.8)
    for n in range(TRIALS):
        steps = lived(tasks, policy, params, task, noise, n)
        later = 0.0
        for k, s in reversed(list(enumerate(steps))):
            following = steps[k + 1].value if k + 1 < len(steps) else 0.0
            later = s.reward + 0.9 * following - s.value + 0.72 * later
            at, j = (n, s.episode, s.t), s.episode * HORIZON + s.t
            np.testing.assert_allclose(read[n, j], s.read, rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(memory[n, j], s.memory, rtol=1e-9, atol=1e-9)
            assert log_prob[at].item() == pytest.approx(s.log_prob, abs=1e-9)
            assert values[at].item() == pytest.approx(s.value, abs=1e-9)
            assert advantages[at].item() == pytest.approx(later, abs=1e-9)
        for j in range(1, EPISODES * HORIZON):  # where nothing is done, all stays as it was
            if batch.mask[n].flatten()[j] == 0:
                assert torch.equal(memory[n, j], memory[n, j - 1])


KINDS = [(kind, discrete) for kind in ("gru", "two memories", "keyed", "belief") for discrete in (True, False)]


@pytest.mark.parametrize(("kind", "discrete"), KINDS)
def test_a_loop_that_resets_at_once_plays_the_same_trial(kind: str, discrete: bool) -> None:
    batch = check_acting(kind, discrete)
    lengths = batch.mask.sum(-1).long()  # [N, E]
    assert set(lengths.flatten().tolist()) == {1, 2, 3, 4, 5}
    assert len({tuple(row) for row in lengths.tolist()}) == TRIALS, "each trial ends its episodes elsewhere"
    assert ((lengths == HORIZON) & ~batch.terminated.any(-1)).any(), "some run to the horizon"
    assert (lengths.sum(1) < EPISODES * HORIZON).all()


@pytest.mark.parametrize(("kind", "discrete"), KINDS)
def test_a_loop_that_resets_at_once_learns_from_the_same_memories(kind: str, discrete: bool) -> None:
    check_learning(kind, discrete)


# --- Mistakes ---------------------------------------------------------------------------------------------------------


def lives_on(alive: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """The memory goes on, and so do reward and done; the state of the world does stay."""
    return frozen(alive, before, after) if before.shape[-1:] == (2,) and before.ndim == 2 else after


def only_memory_and_action(alive: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Reward and done are lost: the next input brings those of a step that nobody took."""
    return after if before.ndim == 1 else frozen(alive, before, after)


def only_the_input(alive: Tensor, before: Tensor, after: Tensor) -> Tensor:
    return after if before.ndim == 2 and before.shape[1] > 3 else frozen(alive, before, after)


@pytest.mark.parametrize("broken", [lives_on, only_memory_and_action, only_the_input])
@pytest.mark.parametrize(("kind", "discrete"), KINDS)
def test_an_agent_that_lives_through_the_padding_fails(
    kind: str, discrete: bool, broken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("metarl_lite.rollout"), "frozen", broken)
    with pytest.raises(AssertionError):
        check_acting(kind, discrete)


@pytest.mark.parametrize(("kind", "discrete"), KINDS)
def test_learning_that_unrolls_the_padding_fails(kind: str, discrete: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GRUPolicy, "recall", lambda self, params, inputs, mask: self.unroll(params, inputs))
    with pytest.raises(AssertionError):
        check_learning(kind, discrete)


@pytest.mark.parametrize(("kind", "discrete"), KINDS)
def test_learning_that_reads_the_padding_fails(kind: str, discrete: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = torch.arange(EPISODES * HORIZON).expand(TRIALS, -1)
    monkeypatch.setattr("metarl_lite.policies.gru.latest_taken", lambda mask: everything)
    with pytest.raises(AssertionError):
        check_learning(kind, discrete)


# --- Nobody else is touched -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [GRUPolicy, BeliefPolicy])
def test_trials_without_early_ends_take_the_short_way(kind: type[GRUPolicy]) -> None:
    """`recall` is `unroll`, once, of the inputs as they are."""
    seen: list[Tensor] = []

    class Noted(kind):  # type: ignore[valid-type, misc]
        def unroll(self, params: Params, inputs: Tensor) -> Any:
            seen.append(inputs)
            return super().unroll(params, inputs)

    policy = Noted(3, 2, generator(0), dtype=F64)
    inputs = normal((3, 6, policy.input_size), generator(1), F64)
    memories = policy.recall(policy.params(), inputs, torch.ones(3, 2, 3, dtype=F64))
    assert len(seen) == 1
    assert seen[0] is inputs
    for one, other in zip(memories, policy.unroll(policy.params(), inputs), strict=True):
        assert torch.equal(one, other)
