"""Acting in batches against acting one by one, in episodes and in trials, and what happens after an early end."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import Tensor

from metarl_lite.algorithms.configs import MAMLConfig, RL2Config
from metarl_lite.algorithms.inner import adapt
from metarl_lite.algorithms.maml import maml, meta_gradient
from metarl_lite.algorithms.rl2 import rl2
from metarl_lite.evaluate.curves import adaptation_curve, trial_returns
from metarl_lite.losses import policy_gradient
from metarl_lite.policies.base import tile
from metarl_lite.policies.gru import GRUPolicy
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.returns import with_advantages
from metarl_lite.rng import generator
from metarl_lite.rollout import Noise, draw_noise, rollout, trial
from metarl_lite.tasks.bandits import BernoulliBandit
from metarl_lite.tasks.base import TaskDistribution, index_task
from metarl_lite.tasks.families import FAMILIES as BY_NAME
from metarl_lite.tasks.finite import FiniteTasks
from metarl_lite.tasks.navigation import GridGoal, PointGoal
from metarl_lite.tasks.physics import CartPoleTasks, PendulumTasks
from metarl_lite.tasks.tabular import TabularMDP
from metarl_lite.types import Diverged, Params, Rollout, Task
from tests.policies.test_gru import by_equations

F64 = torch.float64

FAMILIES = [
    PointGoal(horizon=12, dtype=torch.float64),
    GridGoal(4, 7, torch.float64),
    BernoulliBandit(3, 5, torch.float64),
]


@pytest.mark.parametrize("tasks", FAMILIES, ids=lambda t: t.name)
def test_a_batch_equals_one_episode_at_a_time(tasks: TaskDistribution) -> None:
    gen = generator(0)
    policy = MLPPolicy.for_tasks(tasks, gen, hidden=(6,))
    task, noise = tasks.sample(3, gen), draw_noise(tasks, policy, 3, 2, gen)
    params = {
        name: p + 0.1 * torch.randn(p.shape, generator=gen, dtype=p.dtype)
        for name, p in tile(policy.params(), 3).items()
    }
    batch = rollout(tasks, policy, params, task, 2, noise=noise)
    for n in range(3):
        own, mine = index_task(task, n), {name: p[n : n + 1] for name, p in params.items()}
        for e in range(2):
            state, over = tasks.reset(own, noise.reset[n, e]), False
            for t in range(tasks.horizon):
                obs = tasks.observe(own, state)
                torch.testing.assert_close(batch.observations[n, e, t], obs)
                assert batch.mask[n, e, t].item() == (not over)
                action = policy.act(mine, obs[None, None], noise.action[n, e, t][None, None])[0, 0]
                torch.testing.assert_close(batch.actions[n, e, t], action)
                after, reward, terminated = tasks.step(own, state, action, noise.step[n, e, t])
                assert batch.rewards[n, e, t].item() == pytest.approx(0.0 if over else reward.item(), abs=1e-12)
                assert batch.terminated[n, e, t].item() == (bool(terminated) and not over)
                state = state if over else after
                over = over or bool(terminated)
            torch.testing.assert_close(batch.last_observations[n, e], tasks.observe(own, state))


def test_after_an_early_end_nothing_moves_and_nothing_counts() -> None:
    tasks = PointGoal(horizon=6)
    policy = MLPPolicy.for_tasks(tasks, generator(0))
    params = {name: torch.zeros_like(p) for name, p in tile(policy.params(), 1).items()}
    params["b2"] = torch.tensor([[0.1, 0.0]])  # always one step to the right, without noise
    params["log_std"] = torch.full((1, 2), -50.0)
    batch = rollout(tasks, policy, params, {"goal": torch.tensor([[0.2, 0.0]])}, 1, generator(0))
    assert batch.observations[0, 0, :, 0].tolist() == pytest.approx([0.0, 0.1, 0.2, 0.2, 0.2, 0.2])
    assert batch.rewards[0, 0].tolist() == pytest.approx([-0.1, 0, 0, 0, 0, 0], abs=1e-6)
    assert batch.mask[0, 0].tolist() == [1, 1, 0, 0, 0, 0]
    assert batch.terminated[0, 0].tolist() == [False, True, False, False, False, False]


def test_an_episode_ends_once_though_it_stays_where_it_ended() -> None:
    """Every further step on the goal would end there again."""
    tasks = PointGoal(horizon=4)
    policy = MLPPolicy.for_tasks(tasks, generator(0), hidden=())
    params = {name: torch.zeros_like(p) for name, p in tile(policy.params(), 2).items()}
    params["log_std"] = torch.full((2, 2), -50.0)  # nobody moves
    batch = rollout(tasks, policy, params, {"goal": torch.tensor([[0.005, 0.0], [0.3, 0.0]])}, 1, generator(0))
    assert batch.terminated[:, 0].tolist() == [[True, False, False, False], [False] * 4]
    assert batch.mask[:, 0].tolist() == [[1, 0, 0, 0], [1] * 4]
    assert batch.rewards[:, 0].flatten().tolist() == pytest.approx([-0.005, 0, 0, 0, -0.3, -0.3, -0.3, -0.3])
    assert batch.done()[:, 0].tolist() == [[True] * 4, [False, False, False, True]]


def test_same_noise_same_episodes_and_other_noise_others() -> None:
    tasks = PointGoal(horizon=8)
    policy = MLPPolicy.for_tasks(tasks, generator(0))
    task, params = tasks.sample(2, generator(1)), tile(policy.params(), 2)
    one, two, other = (rollout(tasks, policy, params, task, 3, generator(seed)) for seed in (2, 2, 3))
    assert torch.equal(one.rewards, two.rewards)
    assert not torch.equal(one.rewards, other.rewards)


def test_no_gradient_flows_through_acting() -> None:
    tasks = PointGoal(horizon=3)
    policy = MLPPolicy.for_tasks(tasks, generator(0))
    params = tile({name: p.requires_grad_() for name, p in policy.params().items()}, 2)
    batch = rollout(tasks, policy, params, tasks.sample(2, generator(0)), 1, generator(0))
    assert not batch.actions.requires_grad
    assert not batch.rewards.requires_grad


def test_returns_are_the_undiscounted_sums() -> None:
    """By counting: up, up and then to stay costs .1 a step, and pays 1 for each on the goal."""
    tasks = GridGoal(3, horizon=5)
    policy = MLPPolicy.for_tasks(tasks, generator(0), hidden=())
    params = {name: torch.zeros_like(p) for name, p in tile(policy.params(), 2).items()}
    params["w0"][:, [0, 1], 1] = 100.0  # up from (0, 0) and from (0, 1)
    params["w0"][:, 2, 0] = 100.0  # and stay at (0, 2)
    batch = rollout(tasks, policy, params, {"goal": torch.tensor([[0, 2], [2, 2]])}, 3, generator(0))
    assert batch.returns().tolist() == [pytest.approx([3.9] * 3), pytest.approx([-0.5] * 3)]


def test_missing_chance_is_named() -> None:
    tasks = PointGoal()
    policy = MLPPolicy.for_tasks(tasks, generator(0))
    with pytest.raises(ValueError, match=r"gen=generator\(seed\) or noise=draw_noise"):
        rollout(tasks, policy, tile(policy.params(), 2), tasks.sample(2, generator(0)), 1)


@pytest.mark.parametrize("episodes", [0, -1, 1.5, True])
def test_senseless_numbers_of_episodes_are_refused(episodes: int) -> None:
    tasks = PointGoal()
    policy = MLPPolicy.for_tasks(tasks, generator(0))
    with pytest.raises(ValueError, match=f"episodes = {episodes}: a positive integer is needed"):
        rollout(tasks, policy, tile(policy.params(), 2), tasks.sample(2, generator(0)), episodes, generator(0))


def test_a_policy_of_another_family_is_refused() -> None:
    tasks, policy = GridGoal(), MLPPolicy.for_tasks(PointGoal(), generator(0))
    with pytest.raises(ValueError, match=r"\(2, 2, False\), but grid-goal has \(25, 5, True\): make one with"):
        rollout(tasks, policy, tile(policy.params(), 2), tasks.sample(2, generator(0)), 1, generator(0))


def test_a_seed_in_place_of_a_generator_is_refused() -> None:
    tasks = PointGoal()
    policy = MLPPolicy.for_tasks(tasks, generator(0))
    params, task = tile(policy.params(), 2), tasks.sample(2, generator(0))
    with pytest.raises(ValueError, match=r"gen = 0: chance comes from a torch.Generator, such as generator\(0\)"):
        rollout(tasks, policy, params, task, 1, 0)  # type: ignore[arg-type]


def test_a_diverged_policy_is_named_before_the_environment_is_blamed() -> None:
    tasks = PointGoal(horizon=3)
    policy = MLPPolicy.for_tasks(tasks, generator(0))
    params = {name: p.detach().clone() for name, p in tile(policy.params(), 2).items()}
    params["b2"][1] = float("nan")
    with pytest.raises(Diverged, match=r"policy of task 1 gave the action \[nan, nan\].*Lower the learning rate"):
        rollout(tasks, policy, params, tasks.sample(2, generator(0)), 1, generator(0))


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_policy_that_chooses_from_no_probabilities_is_named(bad: float, deterministic: bool) -> None:
    """Softmax makes nan of such logits, and what is drawn from nan is action 0, for ever."""
    tasks = GridGoal(horizon=3)
    policy = MLPPolicy.for_tasks(tasks, generator(0), hidden=(4,))
    params = {name: p.detach().clone() for name, p in tile(policy.params(), 2).items()}
    params["b1"][1, 3] = bad
    with pytest.raises(Diverged, match=rf"logits \[.*{bad}.*\] \(task 1, episode 0, step 0\).*Lower the learning rate"):
        rollout(
            tasks, policy, params, tasks.sample(2, generator(0)), 2, generator(0), deterministic=deterministic
        )  # fmt: skip


def test_logits_that_overflow_on_the_way_are_named() -> None:
    """All parameters are finite, and so are the logits at the start; those of any other cell are not."""
    tasks = GridGoal(horizon=9)
    policy = MLPPolicy.for_tasks(tasks, generator(0), hidden=())
    params = {name: torch.zeros_like(p) for name, p in tile(policy.params(), 2).items()}
    params["w0"][0, 1:], params["b0"][0] = 3e38, 3e38
    with pytest.raises(Diverged, match=r"logits \[inf, .*\] \(task 0, episode 0, step [1-8]\)"):
        rollout(tasks, policy, params, tasks.sample(2, generator(0)), 2, generator(0))


def test_a_masked_action_is_no_divergence() -> None:
    tasks = GridGoal(horizon=5)
    policy = MLPPolicy.for_tasks(tasks, generator(0), hidden=(4,))
    params = {name: p.detach().clone() for name, p in tile(policy.params(), 2).items()}
    params["b1"][:, 3] = -float("inf")
    batch = rollout(tasks, policy, params, tasks.sample(2, generator(0)), 9, generator(0))
    assert sorted(batch.actions.unique().tolist()) == [0, 1, 2, 4]


def own_policy(change: Any, name: str = "act", base: Any = MLPPolicy) -> Any:
    """A class of policies whose actions are changed on their way out."""
    before = getattr(base, name)
    return type("Changed", (base,), {name: lambda self, *given: change(before(self, *given))})


NO_ACTIONS: dict[str, tuple[Any, Any, str]] = {
    "one before the first": (GridGoal, lambda a: a - 9, r"the action -\d \(task 0, episode 0\), and grid-goal takes"),
    "one beyond the last": (
        GridGoal,
        lambda a: a * 0 + 7,
        r"action 7 \(task 0, episode 0\), .* integers 0 \.\.\. 4: mend",
    ),
    "numbers": (GridGoal, Tensor.float, r"shape \[2, 3\] of torch.float32 for actions, and grid-goal takes integers 0"),
    "truth values": (GridGoal, Tensor.bool, r"of torch.bool for actions"),
    "bytes, which would be a mask": (GridGoal, Tensor.byte, r"of torch.uint8 for actions"),
    "a dimension more": (GridGoal, lambda a: a.unsqueeze(-1), r"\[2, 3, 1\] of torch.int64 .* of shape \[2, 3\]: mend"),
    "a coordinate less": (PointGoal, lambda a: a[..., :1], r"\[2, 3, 1\] .* takes 2 numbers each, .* \[2, 3, 2\]"),
    "none": (PointGoal, lambda a: None, r"the policy gave None for actions, and point-goal takes 2 numbers each"),
    "an array": (PointGoal, Tensor.numpy, r"an array of shape \[2, 3, 2\] for actions"),
}


@pytest.mark.parametrize("case", NO_ACTIONS)
@pytest.mark.parametrize("name", ["act", "sample"])
def test_what_a_policy_of_ones_own_does_is_looked_at(case: str, name: str) -> None:
    family, change, message = NO_ACTIONS[case]
    tasks = family(horizon=3)
    policy = own_policy(change, name).for_tasks(tasks, generator(0), hidden=())
    with pytest.raises(ValueError, match=message):
        rollout(tasks, policy, tile(policy.params(), 2), tasks.sample(2, generator(0)), 3, generator(0))


@pytest.mark.parametrize("case", NO_ACTIONS)
def test_so_is_what_a_memory_does(case: str) -> None:
    family, change, message = NO_ACTIONS[case]
    tasks = family(horizon=3)
    policy = own_policy(change, "sample", GRUPolicy).for_tasks(tasks, generator(0), hidden=4)
    words = message.replace("2, 3", "2").replace(", episode 0", "")
    with pytest.raises(ValueError, match=words):
        trial(tasks, policy, policy.params(), tasks.sample(2, generator(0)), 3, generator(0))


def test_an_action_that_there_is_none_of_is_found_at_any_step() -> None:
    """-1 would be the last action for an index."""
    calls: list[int] = []

    def later(a: Tensor) -> Tensor:
        calls.append(0)
        return a if len(calls) < 3 else torch.where(torch.arange(3) == 1, -1, a)

    tasks = GridGoal(horizon=4)
    policy = own_policy(later).for_tasks(tasks, generator(0), hidden=())
    with pytest.raises(ValueError, match=r"the action -1 \(task 0, episode 1, step 2\), and grid-goal takes"):
        rollout(tasks, policy, tile(policy.params(), 2), tasks.sample(2, generator(0)), 3, generator(0))


def test_integers_of_any_width_are_actions_and_a_policy_may_have_no_network() -> None:
    tasks = GridGoal(horizon=4)
    for change in (Tensor.int, lambda a: (a + 1) % 5):
        policy = own_policy(change).for_tasks(tasks, generator(0), hidden=())
        rollout(tasks, policy, tile(policy.params(), 2), tasks.sample(2, generator(0)), 3, generator(0))

    class Walks(MLPPolicy):
        def act(self, params: Params, observations: Tensor, noise: Tensor, deterministic: bool = False) -> Tensor:
            return (5 * noise[..., 0]).long()

        def forward(self, params: Params, observations: Tensor) -> Tensor:
            raise NotImplementedError

    walks = Walks.for_tasks(tasks, generator(0))
    batch = rollout(tasks, walks, tile(walks.params(), 2), tasks.sample(2, generator(0)), 3, generator(0))
    assert len(batch.actions.unique()) == 5


@pytest.mark.parametrize("family", [GridGoal, PointGoal])
def test_no_tasks_are_refused(family: Any) -> None:
    tasks = family(horizon=3)  # which has not been met before
    policy = MLPPolicy.for_tasks(tasks, generator(0), hidden=())
    memory = GRUPolicy.for_tasks(tasks, generator(0), hidden=4)
    none = {name: leaf[:0] for name, leaf in tasks.sample(2, generator(0)).items()}
    with pytest.raises(ValueError, match=r"task\['goal'\] of .* has shape \(0, 2\), which holds no task: at least one"):
        trial(tasks, memory, memory.params(), none, 2, generator(0))
    params = {name: p[:0] for name, p in tile(policy.params(), 2).items()}
    with pytest.raises(ValueError, match=r"has shape \(0, 2\), which holds no task"):
        rollout(tasks, policy, params, none, 2, generator(0))


@pytest.mark.parametrize("flag", ["no", 1, None])
def test_what_is_neither_true_nor_false_is_refused(flag: Any) -> None:
    tasks = GridGoal(horizon=3)
    policy, memory = MLPPolicy.for_tasks(tasks, generator(0)), GRUPolicy.for_tasks(tasks, generator(0), hidden=4)
    task, params = tasks.sample(2, generator(0)), tile(policy.params(), 2)
    for name, play in (
        ("deterministic", lambda: rollout(tasks, policy, params, task, 1, generator(0), deterministic=flag)),
        ("deterministic", lambda: trial(tasks, memory, memory.params(), task, 1, generator(0), deterministic=flag)),
        ("memories", lambda: trial(tasks, memory, memory.params(), task, 1, generator(0), memories=flag)),
    ):
        with pytest.raises(ValueError, match=f"{name} = {flag!r}: True or False is needed"):
            play()


# --- Trials: one memory over all the episodes of a task ---------------------------------------------------------------


class LeaningPole(CartPoleTasks):
    """Cart-pole that also pays for the angle, so that no two rewards are alike."""

    def step(self, task: Task, state: Tensor, action: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        after, reward, over = super().step(task, state, action, noise)
        return after, reward + after[..., 2], over


TRIAL_FAMILIES: list[TaskDistribution] = [
    BernoulliBandit(3, 4, F64),
    TabularMDP(4, 3, horizon=4, dtype=F64),
    GridGoal(3, 5, F64),
    PointGoal(horizon=12, dtype=F64),
    LeaningPole(horizon=14, dtype=F64),
    PendulumTasks(horizon=5, dtype=F64),
]


def by_loops(
    tasks: TaskDistribution,
    policy: GRUPolicy,
    params: Params,
    task: Task,
    episodes: int,
    noise: Noise,
    *,
    but: str = "",
) -> dict[str, Tensor]:
    """A second implementation, one task and one step at a time; `but` names a mistake that it makes."""
    out: dict[str, list[Tensor]] = {name: [] for name in ("observations", "actions", "rewards", "mask", "terminated")}
    last = []
    for n in range(len(noise.step)):
        memory = torch.zeros(policy.hidden, dtype=F64)
        x_end = torch.cat([torch.zeros(policy.action_size + 1, dtype=F64), torch.ones(1, dtype=F64)])
        own = index_task(task, n)
        state = tasks.reset(own, noise.reset[n, 0])
        for e in range(episodes):
            if but == "another task in every episode":
                own = index_task(task, (n + e) % len(noise.step))
            if but != "the world goes on":
                state = tasks.reset(own, noise.reset[n, e])
            if but == "memory ends with the episode":
                memory = torch.zeros_like(memory)
            if but == "zeros at an episode's start":
                x_end = torch.zeros_like(x_end)
            over = False
            for t in range(tasks.horizon):
                seen = tasks.observe(own, state)
                if not over:  # what is not done is not remembered, see test_early_ends.py
                    memory = by_equations(params, memory, torch.cat([seen, x_end]))
                output = memory @ params["actor_w"] + params["actor_b"]
                if policy.discrete:
                    action = (noise.action[n, e, t] >= output.softmax(-1).cumsum(-1)[:-1]).sum()
                    code = torch.eye(policy.action_size, dtype=F64)[action]
                else:
                    action = code = output + noise.action[n, e, t] * params["log_std"].exp()
                after, reward, terminated = tasks.step(own, state, action, noise.step[n, e, t])
                if over and but != "an ended episode pays":
                    reward = torch.zeros_like(reward)
                for name, value in (
                    ("observations", seen), ("actions", action), ("rewards", reward),
                    ("mask", torch.tensor(float(not over), dtype=F64)), ("terminated", terminated & (not over)),
                ):  # fmt: skip
                    out[name].append(value)
                if not over or but == "an ended episode goes on":
                    state = after
                if not over:
                    done = bool(terminated) or t == tasks.horizon - 1
                    x_end = torch.cat([code, reward.reshape(1), torch.tensor([float(done)], dtype=F64)])
                over = over or bool(terminated)
            last.append(tasks.observe(own, state))
    shape = (len(noise.step), episodes, tasks.horizon)
    result = {name: torch.stack(steps).reshape(*shape, *steps[0].shape) for name, steps in out.items()}
    return result | {"last_observations": torch.stack(last).reshape(*shape[:2], -1)}


def trial_and_loops(tasks: TaskDistribution, but: str = "") -> Rollout:
    gen = generator(3)
    options = {} if tasks.discrete else {"init_std": 1.0}  # bold steps, of which some end on the goal
    policy = GRUPolicy.for_tasks(tasks, gen, hidden=4, **options)
    params = {name: 5 * p.detach() for name, p in policy.params().items()}  # an agent whose memory matters
    task, noise = tasks.sample(8, gen), draw_noise(tasks, policy, 8, 3, gen)
    if isinstance(tasks, PointGoal):
        task = {"goal": torch.tensor([[0.1, 0.1], [0.0, 0.1], [0.3, 0.2], [0.1, -0.1]], dtype=F64).repeat(2, 1)}
    batch = trial(tasks, policy, params, task, 3, noise=noise)
    for name, expected in by_loops(tasks, policy, params, task, 3, noise, but=but).items():
        torch.testing.assert_close(getattr(batch, name), expected, msg=lambda m, name=name: f"{name}: {m}")
    for episode, over in zip(batch.terminated.flatten(0, 1).tolist(), batch.done().flatten(0, 1).tolist(), strict=True):
        assert over == [any(episode[: t + 1]) or t == tasks.horizon - 1 for t in range(tasks.horizon)]
    return batch


@pytest.mark.parametrize("tasks", TRIAL_FAMILIES, ids=lambda t: t.name)
def test_a_trial_equals_one_step_of_one_task_at_a_time(tasks: TaskDistribution) -> None:
    ended = trial_and_loops(tasks).terminated.sum()
    assert 0 < ended < 24 or not tasks.can_terminate, "some episodes should end early, and some not"


MISTAKES = [
    (tasks, but)
    for tasks in TRIAL_FAMILIES
    for but in (
        "another task in every episode", "the world goes on", "memory ends with the episode",
        "zeros at an episode's start", "an ended episode pays", "an ended episode goes on",
    )
    if not (tasks.name == "bernoulli-bandit" and but == "the world goes on")  # a bandit's world stands still
    and not ("ended" in but and not tasks.can_terminate)
]  # fmt: skip


@pytest.mark.parametrize(("tasks", "but"), MISTAKES, ids=lambda x: x if isinstance(x, str) else x.name)
def test_a_broken_trial_differs(tasks: TaskDistribution, but: str) -> None:
    with pytest.raises(AssertionError):
        trial_and_loops(tasks, but)


def small_trial(seed: int, **changes: Any) -> Rollout:
    tasks = changes.pop("tasks", PointGoal(horizon=4))
    policy = GRUPolicy.for_tasks(tasks, generator(0), hidden=4)
    given = {"params": policy.params(), "task": tasks.sample(2, generator(1)), "episodes": 3, "gen": generator(seed)}
    return trial(tasks, policy, **given | changes)


def test_same_noise_same_trial_and_no_gradient() -> None:
    one, two, other = small_trial(2), small_trial(2), small_trial(3)
    assert torch.equal(one.rewards, two.rewards)
    assert not torch.equal(one.rewards, other.rewards)
    assert not one.actions.requires_grad
    assert not one.rewards.requires_grad


class PaysNoNumberAfterTheEnd(CartPoleTasks):
    """A step from a state that has ended is nobody's business; its reward may be anything."""

    def step(self, task: Task, state: Tensor, action: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        after, reward, over = super().step(task, state, action, noise)
        return after, reward.masked_fill(state[..., 2].abs() > self.max_angle, float("nan")), over


def test_what_is_paid_after_the_end_does_not_matter() -> None:
    batch = small_trial(2, tasks=PaysNoNumberAfterTheEnd(horizon=60))
    assert (batch.mask == 0).any()
    assert torch.equal(batch.rewards, batch.mask)


class PaysInfinity(BernoulliBandit):
    def step(self, task: Task, state: Tensor, action: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        state, reward, over = super().step(task, state, action, noise)
        return state, reward / 0, over


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gen": None}, r"gen=generator\(seed\) or noise=draw_noise"),
        ({"gen": 0}, r"gen = 0: chance comes from a torch.Generator"),
        *(({"episodes": e}, f"episodes = {e}: a positive integer") for e in (0, -1, 1.5, True)),
        ({"task": PointGoal().default_task()}, r"has shape \(2,\): this is one task, and a batch of them is needed"),
        ({"task": {"goal": torch.zeros(2, 3)}}, r"has shape \(2, 3\), but \(2, 2\) was expected"),
        ({"task": {}}, r"dict with the leaves \['goal'\], got \[\]"),
        ({"task": 7}, r"dict with the leaves \['goal'\], got int"),
        ({"task": PendulumTasks().default_task(), "tasks": PendulumTasks()}, r"shape \(\): this is one task"),
        ({"tasks": PaysInfinity(2, 3)}, r"bernoulli-bandit gave the reward (nan|inf) to task 0 in episode 0 at step 0"),
    ],
    ids=lambda part: part if isinstance(part, str) else ", ".join(part),
)  # fmt: skip
def test_what_a_trial_refuses_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_trial(2, **changes)


def test_a_policy_of_another_family_is_refused_a_trial() -> None:
    tasks, policy = GridGoal(), GRUPolicy.for_tasks(PointGoal(), generator(0))
    with pytest.raises(ValueError, match=r"\(2, 2, False\), but grid-goal has \(25, 5, True\).*GRUPolicy.for_tasks"):
        trial(tasks, policy, policy.params(), tasks.sample(2, generator(0)), 1, generator(0))


def test_a_diverged_memory_is_named() -> None:
    tasks = PointGoal(horizon=3)
    policy = GRUPolicy.for_tasks(tasks, generator(0), hidden=4)
    params = policy.params() | {"actor_b": torch.tensor([0.0, float("nan")])}
    with pytest.raises(Diverged, match=r"policy of task 0 gave the action .*nan.* in episode 0 at step 0"):
        trial(tasks, policy, params, tasks.sample(2, generator(0)), 2, generator(0))


@pytest.mark.parametrize("where", ["actor_b", "actor_w", "actor_gru_in", "actor_gru_memory", "actor_gru_in_b"])
@pytest.mark.parametrize("deterministic", [False, True])
def test_a_memory_that_chooses_from_no_probabilities_is_named(where: str, deterministic: bool) -> None:
    tasks = CartPoleTasks(horizon=9)  # whose episodes end early: then the memory is frozen
    policy = GRUPolicy.for_tasks(tasks, generator(0), hidden=4)
    params = {name: p.detach().clone() for name, p in policy.params().items()}
    params[where].flatten()[-1] = float("nan")
    with pytest.raises(Diverged, match=r"logits \[.*nan.*\] \(task 0\).*Lower the learning rate"):
        trial(
            tasks, policy, params, tasks.sample(2, generator(0)), 2, generator(0), deterministic=deterministic
        )  # fmt: skip


def test_acting_refuses_a_policy_of_the_other_kind_and_parameters_of_another_network() -> None:
    tasks, gen = BernoulliBandit(2, horizon=1), generator(0)
    plain, policy = MLPPolicy.for_tasks(tasks, gen), GRUPolicy.for_tasks(tasks, gen, hidden=8)
    task = tasks.sample(3, gen)
    with pytest.raises(ValueError, match="policy is of type MLPPolicy: GRUPolicy is needed"):
        trial(tasks, cast(Any, plain), plain.params(), task, 2, gen)
    with pytest.raises(ValueError, match="policy is of type GRUPolicy: MLPPolicy is needed"):
        rollout(tasks, cast(Any, policy), policy.params(), task, 2, gen)
    other = GRUPolicy.for_tasks(tasks, gen, hidden=16).params()
    with pytest.raises(ValueError, match=r"'actor_w': \(16, 2\).*do not fit this policy, which needs .*\(8, 2\)"):
        trial(tasks, policy, other, task, 2, gen)


def test_what_is_too_long_to_be_played_is_refused_before_it_begins() -> None:
    tasks, gen = BernoulliBandit(2, horizon=1), generator(0)
    policy = GRUPolicy.for_tasks(tasks, gen, hidden=8)
    with pytest.raises(ValueError, match=r"to play 1000 times 10000000000 episodes of 1 steps needs about .* GB"):
        trial(tasks, policy, policy.params(), tasks.sample(1000, gen), 10**10, gen)


# --- The same luck for several rows -----------------------------------------------------------------------------------


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_copies_share_the_chance_of_the_world_and_not_that_of_their_actions(copies: int) -> None:
    """Rows of a group are equal in their resets and steps and differ in their actions; groups differ in all."""

    class Windy(CartPoleTasks):
        noise_size = 2

    tasks = Windy(horizon=5)
    policy = GRUPolicy.for_tasks(tasks, generator(0), hidden=4)
    noise = draw_noise(tasks, policy, 4, 3, generator(1), copies=copies)
    assert noise.reset.shape == (4 * copies, 3, 4)
    assert noise.step.shape == (4 * copies, 3, 5, 2)
    assert noise.action.shape == (4 * copies, 3, 5, 1)
    for part in (noise.reset, noise.step):
        groups = part.reshape(4, copies, *part.shape[1:])
        for k in range(copies):
            assert torch.equal(groups[:, k], groups[:, 0])
        assert len(groups[:, 0].unique(dim=0)) == 4
        assert len(groups[0, 0].unique(dim=0)) == 3, "every episode has chance of its own"
    assert len(noise.action.unique(dim=0)) == 4 * copies
    assert len(noise.action.flatten(0, 1).unique(dim=0)) == 12 * copies
    if copies == 1:
        again = draw_noise(tasks, policy, 4, 3, generator(1))
        assert all(torch.equal(x, y) for x, y in zip(vars(noise).values(), vars(again).values(), strict=True))


@pytest.mark.parametrize("tasks", [CartPoleTasks(horizon=5), PendulumTasks(horizon=5)], ids=lambda t: t.name)
def test_trials_with_the_same_luck_begin_in_the_same_states(tasks: TaskDistribution) -> None:
    policy = GRUPolicy.for_tasks(tasks, generator(0), hidden=4)
    task = {name: leaf.repeat_interleave(3, 0) for name, leaf in tasks.sample(2, generator(1)).items()}
    noise = draw_noise(tasks, policy, 2, 2, generator(2), copies=3)
    first = trial(tasks, policy, policy.params(), task, 2, noise=noise).observations[:, :, 0].reshape(2, 3, 2, -1)
    assert torch.equal(first, first[:, :1].expand_as(first))
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("act", ["rollout", "trial"])
def test_noise_is_drawn_for_as_many_episodes_as_are_played(act: str) -> None:
    """What is drawn inside is what would have been drawn outside; every episode has its own."""
    tasks = PendulumTasks(horizon=3)
    task = tasks.sample(2, generator(1))
    policy: Any = (MLPPolicy if act == "rollout" else GRUPolicy).for_tasks(tasks, generator(0))
    params = tile(policy.params(), 2) if act == "rollout" else policy.params()
    play = rollout if act == "rollout" else trial
    inside = play(tasks, policy, params, task, 4, generator(2))
    outside = play(tasks, policy, params, task, 4, noise=draw_noise(tasks, policy, 2, 4, generator(2)))
    assert torch.equal(inside.rewards, outside.rewards)
    assert inside.rewards.shape == (2, 4, 3)
    assert len(inside.observations[0, :, 0].unique(dim=0)) == 4
    assert len(inside.actions[0].unique(dim=0)) == 4


def test_done_is_true_at_an_end_after_it_and_at_the_horizon_alone() -> None:
    mask = torch.tensor([[[1.0, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1]]])
    ended = torch.zeros(1, 3, 4, dtype=torch.bool)
    ended[0, 1, 1] = True
    nothing = torch.zeros(1, 3, 4, 1)
    done = Rollout(nothing, nothing, mask, mask, ended, nothing[:, :, 0]).done()
    assert done.tolist() == [[[False, False, False, True], [False, True, True, True], [False, False, False, True]]]
    assert ended.sum() == 1, "the given ends are not changed"


POINT = PointGoal(horizon=3)
PLAIN = MLPPolicy.for_tasks(POINT, generator(0), hidden=())


def play(tasks: Any = POINT, policy: Any = PLAIN, params: Any = None, gen: Any = None) -> None:
    """A rollout in which one thing is not what it should be."""
    params = tile(PLAIN.params(), 2) if params is None else params
    gen = generator(0) if gen is None else gen
    rollout(tasks, policy, params, POINT.sample(2, generator(0)), 2, gen)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"tasks": PointGoal},
            r"tasks is the class PointGoal: an instance of it is needed here, made with PointGoal\(",
        ),
        ({"tasks": "point-goal"}, r"tasks is of type str: TaskDistribution is needed here, made with make_tasks"),
        ({"policy": MLPPolicy}, r"policy is the class MLPPolicy: .* made with MLPPolicy\.for_tasks\(tasks, gen\)"),
        ({"gen": 0}, r"gen = 0: chance comes from a torch\.Generator, such as generator\(0\)"),
        (
            {"tasks": PointGoal(horizon=3, dtype=torch.float64)},
            r"is of type torch\.float32, but what .* of type torch\.float64",
        ),
        ({"params": PLAIN}, r"params are a dict of tensors by name, such as tile\(policy\.params\(\), num_tasks\)"),
        ({"params": {}}, r"params are a dict of tensors by name, .*, not an empty one"),
        ({"params": {"w0": 1.0}}, r"params are a dict of tensors by name, .*, not one with 'w0': 1\.0"),
        ({"tasks": PLAIN, "policy": POINT}, r"tasks is of type MLPPolicy: TaskDistribution is needed here"),
        ({"params": PLAIN.params()}, r"one set for each task was expected, .* pass tile\(params, num_tasks\)"),
    ],
)
def test_what_is_not_what_it_should_be_is_refused_by_its_name(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        play(**given)
    if "tasks" in given or "policy" in given:
        with pytest.raises(ValueError, match=message.split(" but")[0]):
            maml(given.get("tasks", POINT), given.get("policy", PLAIN), MAMLConfig(), generator(0))


#: What is wrong with noise, and the words for it.
WRONG_NOISE = {
    "another kind of policy": ("action", lambda x: x[..., :1], r"\[2, 2, 3, 1\] .* need shape \[2, 2, 3, 2\]"),
    "fewer steps": ("step", lambda x: x[:, :, :2], r"\[2, 2, 2, 0\] .* need shape \[2, 2, 3, 0\]"),
    "another family": ("reset", lambda x: x[..., :0], r"need shape \[2, 2, "),
    "a wider type": ("reset", Tensor.double, r"of torch.float64: .* of torch.float32, as draw_noise\(tasks"),
    "nan": ("action", lambda x: x * float("nan"), r"noise.action holds nan, which draw_noise"),
    "inf": ("reset", lambda x: x + float("inf"), r"noise.reset holds inf"),
    "a text": ("action", lambda x: "a", r"noise.action is 'a'"),
    "an array": ("step", Tensor.numpy, r"noise.step is an array"),
}


class Scattered(PointGoal):
    """A goal on the plane, from a start that is drawn."""

    reset_noise_size = 2

    def reset(self, task: Task, noise: Tensor) -> Tensor:
        return noise - 0.5


@pytest.mark.parametrize("wrong", WRONG_NOISE)
@pytest.mark.parametrize("recurrent", [False, True])
def test_noise_that_no_draw_gives_is_named(wrong: str, recurrent: bool) -> None:
    tasks = Scattered(horizon=3)
    policy: Any = (GRUPolicy if recurrent else MLPPolicy).for_tasks(tasks, generator(0), hidden=4 if recurrent else ())
    name, change, message = WRONG_NOISE[wrong]
    right = draw_noise(tasks, policy, 2, 2, generator(0))
    noise = Noise(**(vars(right) | {name: cast(Any, change)(getattr(right, name))}))
    params = policy.params() if recurrent else tile(policy.params(), 2)
    play: Any = trial if recurrent else rollout
    with pytest.raises(ValueError, match=message):
        play(tasks, policy, params, tasks.sample(2, generator(0)), 2, noise=noise)


@pytest.mark.parametrize("value", [-0.25, 1.0, float("nan")])
def test_a_discrete_action_is_drawn_by_a_number_from_0_to_1(value: float) -> None:
    tasks = BernoulliBandit(2, horizon=3)
    policy = GRUPolicy.for_tasks(tasks, generator(0), hidden=4)
    noise = draw_noise(tasks, policy, 2, 2, generator(0))
    noise.action[1, 0, 2, 0] = value
    with pytest.raises(ValueError, match=rf"noise.action holds {value}, which draw_noise\(.*\) never draws"):
        trial(tasks, policy, policy.params(), tasks.sample(2, generator(0)), 2, noise=noise)


@pytest.mark.parametrize("noise", [generator(0), Noise, [1.0]])
def test_what_is_no_noise_is_refused_with_what_draws_it(noise: Any) -> None:
    with pytest.raises(
        ValueError, match=r"noise is .*(draw_noise\(tasks, policy, num_tasks, episodes, gen\)|of it is)"
    ):
        rollout(POINT, PLAIN, tile(PLAIN.params(), 2), POINT.sample(2, generator(0)), 2, noise=noise)


def test_maml_and_rl2_refuse_a_seed_and_each_other_s_policies_with_what_to_do() -> None:
    bandit, gen = BernoulliBandit(2, horizon=1), generator(0)
    memory: Any = GRUPolicy.for_tasks(bandit, gen, hidden=4)
    with pytest.raises(
        ValueError, match=r"made with MLPPolicy\.for_tasks\(tasks, gen\); for a GRUPolicy there are rl2"
    ):
        maml(bandit, memory, MAMLConfig(), gen)
    for train, policy, config in ((maml, PLAIN, MAMLConfig()), (rl2, memory, RL2Config())):
        with pytest.raises(ValueError, match=r"gen = 0: chance comes from a torch\.Generator"):
            cast(Any, train)(POINT if policy is PLAIN else bandit, policy, config, 0)


@pytest.mark.parametrize("family", BY_NAME.values())
def test_every_family_refuses_a_seed_where_a_generator_is_needed(family: Any) -> None:
    with pytest.raises(ValueError, match=r"gen = 0: chance comes from a torch\.Generator"):
        family().sample(2, 0)


def test_untiled_parameters_are_refused_by_the_inner_step() -> None:
    batch = rollout(POINT, PLAIN, tile(PLAIN.params(), 2), POINT.sample(2, generator(0)), 2, generator(0))
    for params, message in (
        (PLAIN.params(), r"'w0' has shape \(2, 2\), but one set for each task was expected, .*: pass tile\(params, "),
        (
            tile(PLAIN.params(), 3),
            r"of N = 3, but the observations of N = 2: .* as tile\(policy\.params\(\), 2\) gives",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            adapt(PLAIN, params, with_advantages(batch), policy_gradient, 0.1)


# --- What is of another class or type, and works ----------------------------------------------------------------------


class Wrapped:
    """A family that is derived from none, and hands on whatever it is asked."""

    def __init__(self, tasks: Any) -> None:
        self.tasks = tasks

    def begin(self) -> None:
        return

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["tasks"], name)


@pytest.mark.parametrize("kind", [BernoulliBandit, PointGoal, GridGoal])
def test_a_family_need_not_be_derived_from_task_distribution(kind: Any) -> None:
    own, gru_config = kind(horizon=3), RL2Config(iterations=1, num_tasks=2, episodes=2)
    other: Any = Wrapped(own)
    task, config = own.sample(2, generator(0)), MAMLConfig(iterations=1, num_tasks=2, episodes=2)
    for tasks in (own, other):
        policy = MLPPolicy.for_tasks(tasks, generator(0), hidden=(4,))
        memory = GRUPolicy.for_tasks(tasks, generator(0), hidden=4)
        noise = [draw_noise(tasks, policy, 2, 2, generator(i)) for i in range(2)]
        results = [
            rollout(tasks, policy, tile(policy.params(), 2), task, 2, generator(1)).rewards,
            meta_gradient(tasks, policy, policy.params(), task, config, noise)[1],
            adaptation_curve(tasks, policy, task, config, generator(1)),
            trial_returns(tasks, memory, task, 2, generator(1)),
            *maml(tasks, policy, config, generator(1))[0].params().values(),
            *rl2(tasks, memory, gru_config, generator(1))[0].params().values(),
            *FiniteTasks(tasks, task).sample(2, generator(1)).values(),
        ]
        if tasks is own:
            expected = results
    assert all(torch.equal(a, b) for a, b in zip(results, expected, strict=True))


class Converting(MLPPolicy):
    """A network that reads whatever type it is given."""

    def forward(self, params: Params, observations: Tensor) -> Tensor:
        return super().forward(params, observations.to(self.dtype))


def test_a_network_of_ones_own_may_convert_what_it_reads() -> None:
    policy = Converting.for_tasks(POINT, generator(0), hidden=(4,), dtype=torch.float64)
    batch = rollout(POINT, policy, tile(policy.params(), 2), POINT.sample(2, generator(0)), 2, generator(0))
    assert policy.log_prob(tile(policy.params(), 2), batch.observations, batch.actions).dtype == torch.float64
    maml(POINT, policy, MAMLConfig(iterations=1, num_tasks=2, episodes=2), generator(0))


def test_parameters_may_be_of_another_type_than_the_policy_where_the_family_is_too() -> None:
    wide = PointGoal(horizon=3, dtype=torch.float64)
    params = {name: p.double() for name, p in tile(PLAIN.params(), 2).items()}
    task, drawn = wide.sample(2, generator(0)), draw_noise(wide, PLAIN, 2, 2, generator(1))
    exact = MLPPolicy.for_tasks(wide, generator(0), hidden=()).replace({k: p[0] for k, p in params.items()})
    mine, its = (rollout(wide, policy, params, task, 2, noise=drawn) for policy in (PLAIN, exact))
    assert torch.equal(mine.rewards, its.rewards)


def test_a_memory_of_two_types_that_do_not_fit_is_refused_and_one_that_promotes_is_not() -> None:
    narrow, wide = (BernoulliBandit(2, horizon=3, dtype=kind) for kind in (torch.float32, torch.float64))
    for family, other, fits in ((narrow, wide, True), (wide, narrow, False)):
        policy = GRUPolicy.for_tasks(other, generator(0), hidden=4)
        if fits:
            trial(family, policy, policy.params(), family.sample(2, generator(0)), 2, generator(0))
            continue
        with pytest.raises(
            ValueError, match=r"is of type torch\.float32, but what this policy reads is of type torch\.f"
        ):
            trial(family, policy, policy.params(), family.sample(2, generator(0)), 2, generator(0))
