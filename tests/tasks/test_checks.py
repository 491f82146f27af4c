"""All promises of a family asked at once: the package's own keep them, and each broken one is named."""

from __future__ import annotations

from typing import Any

import gymnasium
import pytest
import torch
from torch import Tensor

from metarl_lite.rng import generator
from metarl_lite.tasks import FiniteTasks, GymTasks, check_family
from metarl_lite.types import Task

from .families import SMALL
from .own import Own, stepping, variant


@pytest.mark.parametrize("name", SMALL)
def test_the_packages_families_keep_what_is_promised(name: str) -> None:
    for dtype in (torch.float32, torch.float64):
        tasks = SMALL[name](dtype)
        check_family(tasks)
        check_family(FiniteTasks(tasks, tasks.sample(3, generator(0))))


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
        r"observe gives an observation of shape \(2,\) for 2 tasks",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_each_broken_promise_is_named(what: str) -> None:
    members, message = BROKEN[what]
    with pytest.raises(ValueError, match=message):
        check_family(variant(**members)())


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
