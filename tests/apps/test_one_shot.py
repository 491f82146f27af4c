"""Imitation in control: an expert against its closed form, two implementations, finite differences, and bad input."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl_lite.apps import one_shot, one_shot_training
from metarl_lite.apps.demonstrations import (
    Demonstrations,
    Expert,
    TurnedPlane,
    demonstrate,
    moves,
    until_arrival,
)
from metarl_lite.apps.one_shot import MIL, Conditioned, Learner, MultiTask, StatesMIL, cloning_loss, fine_tune
from metarl_lite.apps.one_shot_training import Exam, OneShotConfig, OneShotHistory, learn_from_one, meta_gradient
from metarl_lite.rng import generator
from metarl_lite.rollout import rollout
from metarl_lite.tasks.base import index_task
from metarl_lite.types import Diverged, Params, Rollout

PLANE = TurnedPlane()
SMALL: dict[str, Any] = {"iterations": 3, "num_tasks": 4, "hidden": 8}
METHODS = ("mil", "states", "conditioned", "multi-task")


def small(method: str, tasks: TurnedPlane = PLANE, seed: int = 1) -> Learner:
    return OneShotConfig(method=method, hidden=8).learner(tasks, generator(seed))


def shown(num_tasks: int = 3, episodes: int = 2, tasks: TurnedPlane = PLANE, seed: int = 2) -> Demonstrations:
    gen = generator(seed)
    return demonstrate(tasks, tasks.sample(num_tasks, gen), episodes, gen)


# the expert


def test_the_expert_walks_straight_to_the_goal_as_fast_as_anyone_can() -> None:
    tasks, gen = TurnedPlane(dtype=torch.float64), generator(0)
    task = tasks.sample(50, gen)
    batch = demonstrate(tasks, task, 4, gen).batch
    first = (batch.observations[:, :, 0] - task["goal"].unsqueeze(1)).norm(dim=-1)
    after = torch.arange(1, 21, dtype=torch.float64)
    # no step brings anybody nearer than by its length: this is the optimum, in closed form
    distances = (first.unsqueeze(-1) - 0.1 * after).clamp(min=0)
    assert torch.allclose(-batch.rewards, distances, atol=1e-9)
    assert bool((tasks.success(task, batch) == 1).all())
    assert float(first.max()) > 1  # some had far to go


def test_no_first_action_is_better_than_the_expert_s() -> None:
    """By brute force over a fine circle of actions: none ends nearer to the goal."""
    tasks, gen = TurnedPlane(dtype=torch.float64), generator(0)
    task = tasks.sample(20, gen)
    batch = demonstrate(tasks, task, 1, gen).batch
    state = batch.observations[:, 0, 0]
    angles = torch.linspace(0, 2 * math.pi, 721, dtype=torch.float64)
    for length in (0.02, 0.05, 0.1, 0.3):
        tried = length * torch.stack([angles.cos(), angles.sin()], -1)
        leads = {"goal": task["goal"].unsqueeze(1)}
        _, rewards, _ = tasks.step(leads, state.unsqueeze(1).expand(-1, 721, -1), tried.expand(20, -1, -1), state)
        assert bool((rewards.amax(1) <= batch.rewards[:, 0, 0] + 1e-12).all())


def test_the_turn_is_what_the_equation_says_it_is() -> None:
    tasks = TurnedPlane(turn=math.pi)
    state, task = torch.tensor([0.5, 0.0]), {"goal": torch.zeros(2)}
    after, reward, ended = tasks.step(task, state, torch.tensor([0.1, 0.0]), state)
    assert after.tolist() == pytest.approx([0.5, 0.1], abs=1e-6)  # a quarter-turn to the left
    assert reward.item() == pytest.approx(-math.hypot(0.5, 0.1))
    assert not bool(ended)
    far, _, _ = tasks.step(task, state, torch.tensor([5.0, 0.0]), state)
    assert torch.allclose(far, after)  # a step is a step long at most


def test_noise_makes_a_worse_expert_of_known_quality() -> None:
    gen = generator(0)
    task = PLANE.sample(500, gen)
    batch = rollout(PLANE, Expert(PLANE, 0.02), task, task, 10, gen)
    # one step from the goal the noise is all that is left: a Rayleigh distribution, cut nowhere near a step's length
    median = PLANE.distances(task, batch).median().item()
    assert median == pytest.approx(0.02 * math.sqrt(2 * math.log(2)), rel=0.05)
    worse = rollout(PLANE, Expert(PLANE, 0.05), task, task, 10, gen)
    assert 0.8 < PLANE.success(task, worse).mean().item() < 0.95


# what is shown


def test_moves_are_where_the_expert_came_to_and_no_actions() -> None:
    seen = shown()
    found = moves(seen).batch.actions
    batch = seen.batch
    assert torch.allclose(found[:, :, -1], batch.last_observations - batch.observations[:, :, -1])
    assert torch.allclose(found.norm(dim=-1), batch.actions.norm(dim=-1), atol=1e-5)
    assert not torch.allclose(found, batch.actions, atol=0.02)
    calm = shown(tasks=TurnedPlane(turn=0.0))
    assert torch.allclose(moves(calm).batch.actions, calm.batch.actions, atol=1e-6)


def test_until_arrival_shows_the_way_and_not_the_stay() -> None:
    gen = generator(0)
    task = PLANE.sample(5, gen)
    whole = demonstrate(PLANE, task, 3, gen)
    batch = until_arrival(PLANE, task, whole).batch
    distance = (batch.observations[:, :, 0] - task["goal"].unsqueeze(1)).norm(dim=-1)
    assert torch.equal(batch.mask.sum(-1), (distance / 0.1).ceil())
    at_goal = {"goal": whole.batch.observations[:, 0, 0]}
    start = replace(
        whole, batch=replace(whole.batch, observations=at_goal["goal"][:, None, None].expand(-1, 3, 20, -1))
    )
    assert bool((until_arrival(PLANE, at_goal, start).batch.mask.sum(-1) == 1).all())


@pytest.mark.parametrize("method", ["mil", "states", "conditioned"])
def test_steps_that_are_not_shown_change_nothing(method: str) -> None:
    seen = shown()
    mask = seen.batch.mask.clone()
    mask[:, :, 7:] = 0
    hidden = replace(seen.batch, mask=mask)
    other = replace(hidden, observations=hidden.observations.clone(), actions=hidden.actions.clone())
    other.observations[:, :, 7:] = 9.0
    other.actions[:, :, 7:] = -9.0
    learner = small(method)
    answers = [learner.imitate(Demonstrations(batch, seen.family)) for batch in (hidden, other)]
    for name, p in answers[0].items():
        assert torch.allclose(p, answers[1][name], atol=1e-6)
    whole = learner.imitate(seen)
    assert any(not torch.allclose(p, answers[0][name], atol=1e-4) for name, p in whole.items())


def test_the_loss_is_the_mean_of_the_steps_shown() -> None:
    seen = shown(2, 1).batch
    mask = seen.mask.clone()
    mask[0, 0, 3:] = 0
    batch, learner = replace(seen, mask=mask), small("multi-task")
    params = learner.imitate(shown(2, 1))
    found = cloning_loss(learner.actor, params, batch)
    for i, steps in ((0, 3), (1, 20)):
        by_hand = 0.0
        for t in range(steps):
            x = batch.observations[i, 0, t]
            for layer in range(3):
                x = x @ params[f"w{layer}"][i] + params[f"b{layer}"][i]
                x = x.tanh() if layer < 2 else x
            by_hand += ((x - batch.actions[i, 0, t]) ** 2).sum().item() / (2 * 0.1**2) / steps
        assert found[i].item() == pytest.approx(by_hand, rel=1e-4)


# a meta-batch against a loop over its tasks


@pytest.mark.parametrize("method", METHODS)
def test_tasks_are_answered_as_each_by_itself(method: str) -> None:
    learner, seen = small(method), shown(4, 3)
    together = learner.imitate(seen)
    for i in range(4):
        alone = learner.imitate(replace(seen, batch=seen.batch.each(lambda x, i=i: x[i : i + 1])))  # type: ignore[misc]
        for name, p in together.items():
            assert torch.allclose(p[i], alone[name][0], atol=1e-5), name


def test_cloning_many_tasks_is_cloning_each() -> None:
    learner, seen = small("multi-task"), shown(3, 2)
    together = fine_tune(learner, seen, 20, 0.01)
    for i in range(3):
        alone = fine_tune(learner, replace(seen, batch=seen.batch.each(lambda x, i=i: x[i : i + 1])), 20, 0.01)  # type: ignore[misc]
        for name, p in together.items():
            assert torch.allclose(p[i], alone[name][0], atol=1e-4), name
    before = cloning_loss(learner.actor, learner.imitate(seen), seen.batch)
    assert bool((cloning_loss(learner.actor, together, seen.batch) < before).all())


def test_a_code_is_one_more_input() -> None:
    """The bias that is told, against a network that is given the code beside what it sees."""
    learner, seen = small("conditioned"), shown(2, 1)
    params = learner.params()
    answer = learner.answer(params, seen.batch)
    assert isinstance(learner, Conditioned)
    code = learner.code(params, seen.batch)
    x = seen.batch.observations.flatten(1, 2)  # [N, B, 2]
    both = torch.cat([x, code.unsqueeze(1).expand(-1, x.shape[1], -1)], -1)
    first = both @ torch.cat([params["w0"], params["told_w"]]) + params["b0"]
    assert torch.allclose(first, x @ answer["w0"] + answer["b0"].unsqueeze(1), atol=1e-5)
    turned = replace(seen.batch, observations=seen.batch.observations.flip(2), actions=seen.batch.actions.flip(2))
    assert torch.allclose(learner.code(params, turned), code, atol=1e-5)  # without order


# the meta-gradient


def off_finite_differences(method: str) -> float:
    """How far the meta-gradient is from central differences along random directions, relative to its length."""
    tasks = TurnedPlane(dtype=torch.float64)
    learner, both = small(method, tasks), shown(3, 2, tasks)
    first, second = both.some(0, 1).batch, both.some(1, 2).batch
    theta = learner.params()
    _, found = meta_gradient(learner, theta, first, second)
    gen, wrong, length, h = generator(3), 0.0, 0.0, 1e-5
    for _ in range(4):
        way = {n: torch.randn(p.shape, generator=gen, dtype=p.dtype) for n, p in theta.items()}
        ends = []
        for sign in (1, -1):
            moved = {n: (p + sign * h * way[n]).detach().requires_grad_() for n, p in theta.items()}
            ends.append(cloning_loss(learner.actor, learner.answer(moved, first), second).mean().item())
        slope = sum((found[n] * way[n]).sum().item() for n in theta)
        wrong, length = max(wrong, abs(slope - (ends[0] - ends[1]) / (2 * h))), max(length, abs(slope))
    return wrong / length


@pytest.mark.parametrize("method", METHODS)
def test_the_meta_gradient_goes_through_the_answer(method: str) -> None:
    assert off_finite_differences(method) < 1e-6


RIGHT = one_shot.adapt


def first_order(*given: Any) -> Params:
    return RIGHT(*given, create_graph=False)


def detached(*given: Any) -> Params:
    return {name: p.detach().requires_grad_() for name, p in RIGHT(*given).items()}


def from_a_copy(policy: Any, params: Params, *rest: Any) -> Params:
    """A deep copy of the start adapts: nothing is learned of where to begin."""
    return RIGHT(policy, {name: p.detach().clone().requires_grad_() for name, p in params.items()}, *rest)


@pytest.mark.parametrize("method", ["mil", "states"])
@pytest.mark.parametrize("broken", [first_order, from_a_copy])
def test_a_broken_inner_step_would_be_noticed(
    method: str, broken: Callable[..., Params], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_shot, "adapt", broken)
    assert off_finite_differences(method) > 1e-3


def test_a_step_cut_off_its_graph_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_shot, "adapt", detached)
    with pytest.raises(ValueError, match="none of the parameters"):
        off_finite_differences("mil")


def spied(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> list[tuple[Rollout, Rollout]]:
    """What is shown and what is judged in each iteration of a short training."""
    seen: list[tuple[Rollout, Rollout]] = []
    right = one_shot_training.meta_gradient

    def spy(learner: Learner, theta: Params, first: Rollout, second: Rollout) -> Any:
        seen.append((first, second))
        return right(learner, theta, first, second)

    monkeypatch.setattr(one_shot_training, "meta_gradient", spy)
    learn_from_one(PLANE, OneShotConfig(**SMALL, **changes), generator(0))
    monkeypatch.undo()
    return seen


def test_it_is_judged_on_another_demonstration(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shown and what is judged start elsewhere; with same=True they are one."""
    for first, second in spied(monkeypatch):
        assert bool((first.observations[:, :, 0] != second.observations[:, :, 0]).all())
        assert torch.allclose(first.last_observations, second.last_observations, atol=1e-4)  # one goal
    for first, second in spied(monkeypatch, same=True):
        assert torch.equal(first.observations, second.observations)


def test_a_recording_until_arrival_is_one_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    for first, second in spied(monkeypatch, arrival=True):
        assert bool((first.mask.sum(-1) <= 15).all())
        assert bool((second.mask == 1).all())  # who is learned from stays at the goal


# training


@pytest.mark.parametrize("method", METHODS)
def test_equal_seeds_give_equal_numbers(method: str) -> None:
    before = torch.get_rng_state()
    config = OneShotConfig(method=method, **SMALL)
    runs = [learn_from_one(PLANE, config, generator(5)) for _ in range(2)]
    for name, p in runs[0][0].params().items():
        assert torch.equal(p, runs[1][0].params()[name])
    assert runs[0][1].loss == runs[1][1].loss
    other, _ = learn_from_one(PLANE, config, generator(6))
    assert any(not torch.equal(p, other.params()[name]) for name, p in runs[0][0].params().items())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("method", METHODS)
def test_an_interrupted_run_ends_where_a_whole_one_does(method: str, tmp_path: Path) -> None:
    config = OneShotConfig(method=method, **SMALL)
    whole, history = learn_from_one(PLANE, config, generator(5))

    def stop(iteration: int, learner: Learner, seen: OneShotHistory) -> bool:
        return iteration == 0

    file = tmp_path / "run.ck"
    _, part = learn_from_one(PLANE, config, generator(5), stop, checkpoint=file)
    resumed, again = learn_from_one(PLANE, config, generator(5), checkpoint=file)
    assert len(part.loss) == 1
    assert again.loss == history.loss
    assert again.steps == history.steps == 3 * 4 * 2 * 20
    assert "3 iterations" in repr(again)
    for name, p in whole.params().items():
        assert torch.equal(p, resumed.params()[name])
    with pytest.raises(ValueError, match="another run"):
        learn_from_one(TurnedPlane(turn=1.0), config, generator(5), checkpoint=file)


def test_divergence_names_the_iteration() -> None:
    with pytest.raises(Diverged, match="one-shot imitation stopped in iteration"):
        learn_from_one(PLANE, OneShotConfig(step=1e30, **SMALL), generator(0))


def test_an_exam_is_the_same_for_everyone() -> None:
    exams = [Exam.draw(PLANE, 3, 2, 4, generator(0)) for _ in range(2)]
    learner = small("mil")
    played = [exam.played(learner, learner.imitate(exam.shown)) for exam in exams]
    assert torch.equal(played[0].observations, played[1].observations)
    starts, first = played[0].observations[:, :, 0], exams[0].shown.batch.observations[:, :, 0]
    assert torch.equal(starts, exams[0].noise.reset - 0.5)
    assert bool((torch.cdist(starts, first) > 1e-3).all())  # new ones
    same = exams[0].from_shown_starts()
    again = same.played(learner, learner.imitate(same.shown)).observations[:, :, 0]
    assert torch.allclose(again, first, atol=1e-6)


def test_a_little_training_already_imitates() -> None:
    """One goal in two is reached on a plane that does not turn, where the best without adaptation reaches none."""
    tasks = TurnedPlane(turn=0.0)
    exam = Exam.draw(tasks, 50, 1, 5, generator(9))
    config = OneShotConfig(method="conditioned", iterations=60, num_tasks=16, hidden=32)
    learner, _ = learn_from_one(tasks, config, generator(0))
    reached = tasks.success(exam.task, exam.played(learner, learner.imitate(exam.shown))).mean().item()
    untold = learner.acting(learner.start(learner.params(), 50))
    before = tasks.success(exam.task, exam.played(learner, untold)).mean().item()
    assert reached > 0.5
    assert before < 0.2


@pytest.mark.slow
@pytest.mark.parametrize("method", ["mil", "conditioned"])
def test_one_demonstration_suffices(method: str) -> None:
    learner, _ = learn_from_one(PLANE, OneShotConfig(method=method), generator(0))
    exam = Exam.draw(PLANE, 100, 1, 10, generator(9))
    reached = PLANE.success(exam.task, exam.played(learner, learner.imitate(exam.shown))).mean().item()
    assert reached > 0.6
    scratch = MultiTask(PLANE, generator(0))
    cloned = exam.played(scratch, fine_tune(scratch, exam.shown, 200, 1e-2))
    assert PLANE.success(exam.task, cloned).mean().item() < 0.5


# bad input


class Flat(TurnedPlane):
    """Another family with the same sizes."""

    name = "flat"


def three_numbers() -> Demonstrations:
    seen = shown()
    wide = torch.cat([seen.batch.actions, seen.batch.actions[..., :1]], -1)
    return replace(seen, batch=replace(seen.batch, actions=wide))


def nothing() -> Demonstrations:
    seen = shown()
    return replace(seen, batch=replace(seen.batch, mask=torch.zeros_like(seen.batch.mask)))


def task() -> dict[str, Tensor]:
    return PLANE.sample(2, generator(0))


@pytest.mark.parametrize("answer", [lambda s: small("mil").imitate(s), lambda s: fine_tune(small("mil"), s, 2, 0.1)])
@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (lambda: None, "no demonstration is shown"),
        (lambda: shown().some(0, 0), "no demonstration is shown"),
        (nothing, "no demonstration is shown"),
        (lambda: shown(tasks=Flat()), r"another family: .*flat.*Record them where"),
        (lambda: shown(tasks=TurnedPlane(turn=1.0)), r"turn differ, \[1.0\] instead of \[2.0\]"),
        (lambda: shown(tasks=TurnedPlane(horizon=15)), "15 steps, but this imitator was made for a horizon of 20"),
        (three_numbers, r"acts with 2 numbers, \[N, E, T, 2\]"),
        (lambda: shown().batch, "shown is of type Rollout: Demonstrations is needed"),
    ],
)
def test_what_cannot_be_imitated_is_refused(
    answer: Callable[[Any], object], wrong: Callable[[], Any], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        answer(wrong())


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: demonstrate(PLANE, task(), 2, generator(0), noise=0.3), "of its own episodes, and at_least = 0.5"),
        (lambda: demonstrate(PLANE, task(), 20, generator(0), noise=0.05, at_least=1.0), "show a better one"),
        (lambda: demonstrate(PLANE, task(), 0, generator(0)), "no demonstration is shown"),
        (lambda: demonstrate(PLANE, task(), -1, generator(0)), "episodes = -1"),
        (lambda: demonstrate(PLANE, task(), 1, generator(0), at_least=2.0), "at_least = 2.0"),
        (lambda: demonstrate(PLANE, task(), 1, generator(0), noise=-1.0), "noise = -1.0"),
        (lambda: demonstrate(PLANE, {}, 1, generator(0)), "task"),
        (lambda: demonstrate(PLANE, index_task(task(), 0), 1, generator(0)), "goal"),
        (lambda: demonstrate(4, task(), 1, generator(0)), "tasks is of type int"),  # type: ignore[arg-type]
        (lambda: TurnedPlane(turn=math.nan), "turn = nan"),
        (lambda: TurnedPlane(horizon=0), "horizon = 0"),
        (lambda: OneShotConfig(method="bc"), "method = 'bc'"),
        (lambda: OneShotConfig(iterations=0), "iterations = 0"),
        (lambda: OneShotConfig(same=1), "same = 1"),  # type: ignore[arg-type]
        (lambda: learn_from_one(4, OneShotConfig(), generator(0)), "tasks is of type int"),  # type: ignore[arg-type]
        (lambda: learn_from_one(PLANE, None, generator(0)), "config is of type NoneType"),  # type: ignore[arg-type]
        (lambda: learn_from_one(PLANE, OneShotConfig(), 0), "gen = 0"),  # type: ignore[arg-type]
        (lambda: fine_tune(small("mil"), shown(), 0, 0.1), "steps = 0"),
        (lambda: fine_tune(small("mil"), shown(), 2, 0.0), "lr = 0.0"),
        (lambda: fine_tune("mil", shown(), 2, 0.1), "learner is of type str"),  # type: ignore[arg-type]
        (lambda: MIL("plane", generator(0)), "tasks is of type str"),  # type: ignore[arg-type]
        (lambda: StatesMIL(PLANE, 0), "gen = 0"),  # type: ignore[arg-type]
    ],
)
def test_what_is_wrong_is_named(call: Callable[[], object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()
