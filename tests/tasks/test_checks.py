"""All promises of a family asked at once: the package's own keep them, and each broken one is named."""

from __future__ import annotations

from typing import Any

import gymnasium
import pytest
import torch
from torch import Tensor

from metarl_lite.rng import generator
from metarl_lite.tasks import FiniteTasks, GridGoal, GymTasks, PointGoal, check_family
from metarl_lite.types import Task

from .families import SMALL
from .own import Own, stepping, variant


@pytest.mark.parametrize("name", SMALL)
def test_the_packages_families_keep_what_is_promised(name: str) -> None:
    for dtype in (torch.float32, torch.float64):
        tasks = SMALL[name](dtype)
        check_family(tasks)
        check_family(FiniteTasks(tasks, tasks.sample(3, generator(0))))


@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize("name", SMALL)
def test_none_of_them_is_told_that_its_tasks_are_alike(name: str, seed: int) -> None:
    """Also where a task shows only at a goal, and where a pool holds one task; a warning would be an error."""
    tasks = SMALL[name](torch.float32)
    check_family(tasks, seed)
    check_family(FiniteTasks(tasks, tasks.sample(1, generator(seed))), seed)
    if name == "grid-goal":
        check_family(GridGoal(15, horizon=30), seed)


def test_so_do_a_family_of_ones_own_and_one_of_environments() -> None:
    before = torch.get_rng_state()
    check_family(Own())
    assert torch.equal(before, torch.get_rng_state())
    tasks = GymTasks(
        lambda: gymnasium.make("Pendulum-v1"),
        lambda env, task: setattr(env.unwrapped, "g", task["g"]),
        lambda n, gen: {"g": 9 + torch.rand(n, generator=gen)},
        {"g": torch.tensor(10.0)},
        horizon=10,
    )
    check_family(tasks)
    low, high = tasks.observation_bounds()
    assert (low.tolist(), high.tolist()) == ([-1, -1, -8], [1, 1, 8])
    tasks.close()


def leaning(self: Any, task: Task, state: Tensor, action: Tensor, noise: Tensor) -> Any:
    """Steps whose rewards are compared with the others in the batch."""
    state, reward, ended = Own.step(self, task, state, action, noise)
    return state, reward - (reward.mean() if reward.numel() != 6 else 0), ended


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "a size": ({"horizon": 0}, r"horizon = 0: a positive integer"),
    "a signature": ({"observe": lambda self, task: None}, r"observe is called with \(task, state\)"),
    "other tasks than asked for": (
        {"sample": lambda self, n, gen: Own.sample(self, n + 1, gen)},
        r"sample\(1, gen\): task\['goal'\] of own has shape \(2,\), but \(1,\)",
    ),
    "tasks of one number": ({"sample": lambda self, n, gen: {"goal": torch.tensor(0.1)}}, r"sample\(1, gen\): .*\(\)"),
    "global chance": (
        {"sample": lambda self, n, gen: {"goal": torch.rand(n)}},
        r"sample gives other tasks for the same",
    ),
    "global chance, unused": (
        {"sample": lambda self, n, gen: (torch.rand(1), Own.sample(self, n, gen))[1]},
        r"sample draws from torch's global state",
    ),
    "the default task": ({"default_task": lambda self: {"goal": torch.zeros(3)}}, r"goal.* has shape \(3,\), but \(\)"),
    "bounds": (
        {"observation_bounds": lambda self: (torch.zeros(2), torch.ones(2))},
        r"observation_bounds says that number 0 .* between 0 and 1, and observe gave -0",
    ),
    "sizes of bounds": ({"observation_bounds": lambda self: (torch.zeros(1), torch.ones(1))}, r"observation_bounds"),
    "rows that depend on each other": ({"step": leaning}, r"step \(reward\) gives a task something else alone"),
    "batches alone": (
        {"observe": lambda self, task, state: torch.zeros(2, 3, 2) if state.ndim == 3 else torch.zeros(2)},
        r"observe gives an observation of shape \(2,\), tried on 5 tasks",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_each_broken_promise_is_named(what: str) -> None:
    members, message = BROKEN[what]
    with pytest.raises(ValueError, match=message):
        check_family(variant(**members)())


def test_a_start_as_long_as_two_tasks_are_many_is_blamed_on_reset() -> None:
    class Alone(PointGoal):
        def reset(self, task: Task, noise: Tensor) -> Tensor:
            return torch.zeros(2)  # where [..., 2] is needed

    with pytest.raises(ValueError, match=r"Alone\.reset gives a state of shape \(2,\), tried on 5 tasks"):
        check_family(Alone())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, r, d: (s, r.double(), d), r"Variant gives the reward in another type than torch.float32"),
        (lambda s, r, d: (s, r, d.float()), r"Variant gives the terminated in another type than torch.bool"),
        (lambda s, r, d: (s, r, d | True), r"own ended task 0 in episode 0 at step 0: Variant.step .*can_terminate"),
        (lambda s, r, d: (s, r / 0, d), r"own gave the reward -inf to task 0 in episode 0 at step 0"),
        (lambda s, r, d: (s.add_(0), r, d), None),
    ],
)
def test_so_is_a_step_that_rollout_would_mend_or_refuse(change: Any, message: str | None) -> None:
    """The last one changes a tensor of its own, which is nobody else's business."""
    if message is None:
        check_family(stepping(change)())
        return
    with pytest.raises(ValueError, match=message):
        check_family(stepping(change)())


# --- Tasks that make no difference ------------------------------------------------------------------------------------


def ignoring(self: Any, task: Task, state: Tensor, action: Tensor, noise: Tensor) -> Any:
    return Own.step(self, {"goal": torch.zeros(())}, state, action, noise)


def drawing(self: Any, task: Task, noise: Tensor) -> Tensor:
    """A goal of its own beside the place."""
    return torch.cat([0.1 * noise, noise], -1)


def own_goal(self: Any, task: Task, state: Tensor, action: Tensor, noise: Tensor) -> Any:
    place, reward, ended = Own.step(self, {"goal": state[..., 1]}, state[..., :1], action, noise)
    return torch.cat([place, state[..., 1:]], -1), reward, ended


OWN_GOAL = {"reset": drawing, "step": own_goal, "observe": lambda self, task, s: Own.observe(self, task, s[..., :1])}


def late(member: str) -> dict[str, Any]:
    """The task shows in one thing alone, and only at the end: with the action 1 and no push it is not seen before."""

    def step(self: Any, task: Task, state: Tensor, action: Tensor, noise: Tensor) -> Any:
        (x, t), goal = state.unbind(-1), task["goal"]
        ends, zero = t == 5, torch.zeros_like(t)
        reward = torch.where(ends & (member == "reward"), goal + zero, zero)
        ended = ends & (goal + zero > 0.5) if member == "end" else ends & False
        return torch.stack([torch.where(ends & (member == "observation"), goal + zero, x), t + 1], -1), reward, ended

    return {
        "reset": lambda self, task, noise: torch.cat([0.1 * noise, 0 * noise], -1),
        "step": step,
        "observe": lambda self, task, s: torch.stack([s[..., 0], 0 * s[..., 0]], -1),
        "can_terminate": member == "end",
    }


@pytest.mark.parametrize("members", [{"step": ignoring}, OWN_GOAL], ids=["not read", "drawn in reset"])
def test_a_task_that_nothing_depends_on_is_told(members: Any) -> None:
    with pytest.warns(
        UserWarning, match=r"Variant plays 256 tasks like others, to the bit, for 6 steps .* all is well"
    ):
        check_family(variant(**members)())


@pytest.mark.parametrize("member", ["reward", "end", "observation"])
def test_one_that_shows_late_and_in_one_thing_alone_is_seen(member: str) -> None:
    check_family(variant(**late(member))())
    with pytest.warns(UserWarning, match=r"Variant plays 256 tasks like others"):
        check_family(variant(**late("nothing"))())


def test_a_task_that_is_drawn_once_for_all_is_refused_and_one_for_ever_told() -> None:
    def copied(self: Any, num_tasks: int, gen: torch.Generator) -> Task:
        return {"goal": Own.sample(self, 1, gen)["goal"].expand(num_tasks)}

    def constant(self: Any, num_tasks: int, gen: torch.Generator) -> Task:
        return {"goal": torch.full((num_tasks,), 0.5)}

    def seldom(self: Any, num_tasks: int, gen: torch.Generator) -> Task:
        return {"goal": (Own.sample(self, num_tasks, gen)["goal"] > 0.9).float()}

    with pytest.raises(ValueError, match=r"Variant.sample\(32, gen\) gives one task 32 times: draw each of them by"):
        check_family(variant(sample=copied)())
    with pytest.warns(UserWarning, match=r"Variant.sample gives the same task each time: there is nothing to adapt"):
        check_family(variant(sample=constant)())
    for seed in range(20):
        check_family(variant(sample=seldom)(), seed)
    check_family(variant(sample=lambda self, n, gen: {}, default_task=lambda self: {}, task_shape={}, step=ignoring)())


def test_the_leaf_is_blamed_for_the_type_that_it_brings() -> None:
    def precise(self: Any, num_tasks: int, gen: torch.Generator) -> Task:
        return {"goal": Own.sample(self, num_tasks, gen)["goal"].double()}

    with pytest.raises(
        ValueError, match=r"Variant.sample gives the leaf 'goal' in torch.float64, and so the reward .*"
    ):
        check_family(variant(sample=precise)())
    default = {"default_task": lambda self: {"goal": torch.tensor(0.5, dtype=torch.float64)}}
    with pytest.raises(ValueError, match=r"Variant.default_task gives the leaf 'goal' in torch.float64, and so the"):
        check_family(variant(**default)())
    with pytest.raises(ValueError, match=r"Variant gives the reward in another type than torch.float32\."):
        check_family(type("Variant", (stepping(lambda s, r, d: (s, r.double(), d)),), {"sample": precise})())


def test_a_leaf_of_another_type_is_taken_where_the_family_converts_it() -> None:
    def step(self: Any, task: Task, state: Tensor, action: Tensor, noise: Tensor) -> Any:
        return Own.step(self, {"goal": task["goal"].float()}, state, action, noise)

    def precise(self: Any, num_tasks: int, gen: torch.Generator) -> Task:
        return {"goal": Own.sample(self, num_tasks, gen)["goal"].double()}

    check_family(variant(sample=precise, step=step)())
