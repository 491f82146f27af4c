"""The two-step task against rounds written out by hand, and its four probabilities by counting."""

from __future__ import annotations

import pytest
import torch

from metarl_lite.rng import generator
from metarl_lite.tasks import TwoStep

F64 = torch.float64


def step(task: tuple[int, int], state: list[int], action: int, noise: list[float]) -> tuple[list[int], float]:
    """One step of the task (good, common)."""
    leaves = {"good": torch.tensor(task[0]), "common": torch.tensor(task[1])}
    after, reward, over = TwoStep(dtype=F64).step(
        leaves, torch.tensor(state), torch.tensor(action), torch.tensor(noise, dtype=F64)
    )
    assert not over
    return after.tolist(), reward.item()


@pytest.mark.parametrize(
    ("common", "action", "chance", "place"),
    [
        (1, 0, 0.74, 1), (1, 0, 0.76, 2), (1, 1, 0.74, 2), (1, 1, 0.76, 1),
        (2, 0, 0.74, 2), (2, 0, 0.76, 1), (2, 1, 0.74, 1), (2, 1, 0.76, 2),
    ],
)  # fmt: skip
def test_the_first_stage(common: int, action: int, chance: float, place: int) -> None:
    for good in (1, 2):  # which place is good has no influence, and nothing changes or is paid before the second stage
        assert step((good, common), [0, good], action, [chance, 0.0]) == ([place, good], 0.0)


@pytest.mark.parametrize("action", [0, 1])
@pytest.mark.parametrize(
    ("state", "noise", "after", "reward"),
    [
        ([1, 1], [0.89, 0.5], [0, 1], 1), ([1, 1], [0.91, 0.5], [0, 1], 0), ([2, 1], [0.09, 0.5], [0, 1], 1),
        ([2, 1], [0.11, 0.5], [0, 1], 0), ([2, 2], [0.89, 0.5], [0, 2], 1), ([1, 2], [0.11, 0.5], [0, 2], 0),
        ([1, 1], [0.89, 0.024], [0, 2], 1), ([1, 2], [0.11, 0.024], [0, 1], 0), ([1, 1], [0.89, 0.026], [0, 1], 1),
    ],
)  # fmt: skip
def test_the_second_stage(state: list[int], noise: list[float], after: list[int], reward: int, action: int) -> None:
    assert step((1, 1), state, action, noise) == (after, reward)


def test_a_session_starts_at_the_first_stage_with_the_tasks_good_place() -> None:
    tasks = TwoStep()
    task = {"good": torch.tensor([[1], [2]]), "common": torch.tensor([[1], [1]])}
    state = tasks.reset(task, torch.zeros(2, 3, 0))
    assert state.tolist() == [[[0, 1]] * 3, [[0, 2]] * 3]
    state = torch.tensor([[0, 1], [0, 2], [1, 1], [2, 1]])
    assert tasks.observe(task, state).tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_the_probabilities_by_counting() -> None:
    tasks, gen, count, rounds = TwoStep(dtype=F64), generator(0), 4000, 10
    task = tasks.sample(count, gen)
    state = tasks.reset(task, tasks.draw_reset((count,), gen))
    common, paid_good, paid_bad, changed = [], [], [], []
    for _ in range(rounds):
        action = torch.randint(2, (count,), generator=gen)
        state, reward, _ = tasks.step(task, state, action, tasks.draw((count,), gen))
        assert not reward.any()
        common.append(state[:, 0] == torch.where(action == 0, task["common"], 3 - task["common"]))
        place, good = state.unbind(-1)
        state, reward, _ = tasks.step(task, state, action, tasks.draw((count,), gen))
        assert (state[:, 0] == 0).all()
        paid_good.append(reward[place == good])
        paid_bad.append(reward[place != good])
        changed.append(state[:, 1] != good)
    for events, p in ((common, 0.75), (paid_good, 0.9), (paid_bad, 0.1), (changed, 0.025)):
        hits = torch.cat(events).double()
        assert float(hits.mean()) == pytest.approx(p, abs=4 * (p * (1 - p) / hits.numel()) ** 0.5)


def test_what_differs_between_tasks() -> None:
    task = TwoStep().sample(10_000, generator(0))
    for leaf in task.values():
        assert leaf.unique().tolist() == [1, 2]
        assert float((leaf == 1).double().mean()) == pytest.approx(0.5, abs=4 * 0.5 / 100)
    both = (task["good"] == task["common"]).double().mean()
    assert float(both) == pytest.approx(0.5, abs=4 * 0.5 / 100)  # one says nothing about the other
    fixed = TwoStep(vary_transitions=False).sample(100, generator(0))
    assert fixed["common"].unique().tolist() == [1]
    assert fixed["good"].unique().tolist() == [1, 2]


@pytest.mark.parametrize("leaf", ["good", "common"])
@pytest.mark.parametrize("place", [0, 3])
def test_a_place_that_is_none_of_the_two_is_refused(leaf: str, place: int) -> None:
    tasks = TwoStep()
    with pytest.raises(ValueError, match=rf"task\['{leaf}'\].*{place}.*1 or 2"):
        tasks.check_task({**tasks.default_task(), leaf: torch.tensor(place)})
