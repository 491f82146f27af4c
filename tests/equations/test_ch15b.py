"""Equations of chapter 15, part 2, each from its symbols alone, against the package."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from metarl_lite.apps.demonstrations import Expert, TurnedPlane, demonstrate
from metarl_lite.apps.one_shot import MIL, Conditioned, Learner, StatesMIL, cloning_loss
from metarl_lite.apps.one_shot_training import OneShotConfig, meta_gradient
from metarl_lite.lesson.exercises import find
from metarl_lite.rng import generator, normal
from metarl_lite.rollout import rollout
from metarl_lite.types import Params, Rollout

F64 = torch.float64
PLANE = TurnedPlane(dtype=F64)
DELTA, OMEGA = 0.1, 2.0


def turned(v: Tensor, angle: float) -> Tensor:
    """R(angle) v, by the matrix."""
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, -s], [s, c]], dtype=F64) @ v


def cut(v: Tensor) -> Tensor:
    length = math.hypot(*v.tolist())
    return v if length <= DELTA else v * DELTA / length


def network(weights: Params, s: Tensor, i: int = 0) -> Tensor:
    """f(s) of task i, layer by layer."""
    for layer in range(3):
        s = s @ weights[f"w{layer}"][i] + weights[f"b{layer}"][i]
        s = torch.tanh(s) if layer < 2 else s
    return s


def last_units(weights: Params, s: Tensor) -> Tensor:
    """y(s), for weights without a task dimension."""
    for layer in range(2):
        s = torch.tanh(s @ weights[f"w{layer}"] + weights[f"b{layer}"])
    return s


def pair(num_tasks: int = 3) -> tuple[Rollout, Rollout]:
    """What is shown, and the query."""
    gen = generator(1)
    both = demonstrate(PLANE, PLANE.sample(num_tasks, gen), 2, gen)
    return both.some(0, 1).batch, both.some(1, 2).batch


def learner(method: str) -> Learner:
    found = OneShotConfig(method=method, hidden=6).learner(PLANE, generator(2))
    moved = {n: p + 0.3 * normal(tuple(p.shape), generator(3), F64) for n, p in found.params().items()}
    return found.replace(moved)


def by_hand(weights: Params, batch: Rollout, i: int) -> Tensor:
    """The loss of task i, step by step."""
    total, steps = torch.zeros((), dtype=F64), 0.0
    for e in range(batch.rewards.shape[1]):
        for t in range(20):
            if batch.mask[i, e, t]:
                off = network(weights, batch.observations[i, e, t], i) - batch.actions[i, e, t]
                total, steps = total + off @ off, steps + 1
    return total / (2 * DELTA**2 * steps)


def test_eq_turned_plane() -> None:
    gen = generator(0)
    task = PLANE.sample(30, gen)
    batch = rollout(PLANE, Expert(PLANE, 0.1), task, task, 1, gen)
    path = torch.cat([batch.observations, batch.last_observations.unsqueeze(2)], 2)[:, 0]
    for i in range(30):
        for t in range(20):
            x = path[i, t]
            after = x + turned(cut(batch.actions[i, 0, t]), OMEGA * x[0].item())
            assert torch.allclose(path[i, t + 1], after, atol=1e-12)
    drawn = torch.cat([path[:, 0], task["goal"]])
    assert float(drawn.abs().max()) <= 0.5
    assert float(drawn.abs().max()) > 0.4


def test_eq_straight_walk() -> None:
    gen = generator(0)
    task = PLANE.sample(10, gen)
    batch = demonstrate(PLANE, task, 1, gen).batch
    for i in range(10):
        g, first = task["goal"][i], batch.observations[i, 0, 0]
        for t in range(20):
            x = batch.observations[i, 0, t]
            assert torch.allclose(batch.actions[i, 0, t], turned(cut(g - x), -OMEGA * x[0].item()), atol=1e-9)
            straight = max(0.0, (first - g).norm().item() - DELTA * t)
            assert (x - g).norm().item() == pytest.approx(straight, abs=1e-9)


def test_eq_cloning_control_loss() -> None:
    shown, _ = pair()
    mask = shown.mask.clone()
    mask[1, 0, 5:] = 0
    shown = Rollout(**(vars(shown) | {"mask": mask}))
    one = learner("multi-task")
    weights = one.answer(one.params(), shown)
    found = cloning_loss(one.actor, weights, shown)
    for i in range(3):
        assert found[i].item() == pytest.approx(by_hand(weights, shown, i).item(), rel=1e-9)


def test_eq_mil_step() -> None:
    shown, _ = pair()
    one = learner("mil")
    assert isinstance(one, MIL)
    theta = one.params()
    phi = one.answer(theta, shown)
    for i in range(3):
        own = {n: theta[n].detach().clone().requires_grad_() for n in one.weights}
        batched = {n: p.expand(3, *p.shape) for n, p in own.items()}
        grads = torch.autograd.grad(by_hand(batched, shown, i), list(own.values()))
        for (name, p), g in zip(own.items(), grads, strict=True):
            assert torch.allclose(phi[name][i], p - theta[f"lr_{name}"] * g, atol=1e-9)


def test_eq_mil_objective() -> None:
    shown, query = pair()
    one = learner("mil")
    theta = one.params()
    loss, grads = meta_gradient(one, theta, shown, query)
    phi = one.answer(theta, shown)
    mean = torch.stack([by_hand(phi, query, i) for i in range(3)]).mean()
    assert loss.item() == pytest.approx(mean.item(), rel=1e-9)
    again = torch.autograd.grad(mean, list(theta.values()))
    for found, g in zip(grads.values(), again, strict=True):
        assert torch.allclose(found, g, atol=1e-9)


def test_eq_told_bias() -> None:
    shown, _ = pair()
    one = learner("conditioned")
    assert isinstance(one, Conditioned)
    theta = one.params()
    answer = one.answer(theta, shown)
    for i in range(3):
        codes = []
        for t in range(20):
            code = torch.cat([shown.observations[i, 0, t], shown.actions[i, 0, t] / DELTA])
            for layer in range(2):
                code = torch.tanh(code @ theta[f"code_w{layer}"] + theta[f"code_b{layer}"])
            codes.append(code)
        c = torch.stack(codes).mean(0)
        assert torch.allclose(answer["b0"][i], theta["b0"] + c @ theta["told_w"], atol=1e-9)
        assert all(torch.equal(answer[n][i], theta[n]) for n in one.weights if n != "b0")


def test_eq_states_loss() -> None:
    shown, _ = pair()
    one = learner("states")
    assert isinstance(one, StatesMIL)
    theta = one.params()
    phi = one.answer(theta, shown)
    for i in range(3):
        own = {n: theta[n].detach().clone().requires_grad_() for n in one.weights}
        y = last_units(own, shown.observations[i, 0])
        squares = [(torch.cat([y[t], y[t + 1]]) @ theta["head_w"] + theta["head_b"]).square().mean() for t in range(19)]
        loss = torch.stack(squares).mean()
        moving = [n for n in one.weights if not n.endswith("2")]
        grads = torch.autograd.grad(loss, [own[n] for n in moving])
        for name, g in zip(moving, grads, strict=True):
            assert torch.allclose(phi[name][i], own[name] - theta[f"lr_{name}"] * g, atol=1e-9)
        assert torch.equal(phi["w2"][i], theta["w2"])


def test_the_share_of_a_step_that_moves_for_actions_lead() -> None:
    """Exercise 15.7, by the dynamics: towards the goal as if nothing were turned, at places all over the square."""
    line = torch.linspace(-0.5, 0.5, 41, dtype=F64)
    places = torch.cartesian_prod(line, line)
    way = turned(torch.tensor([1.0, 0.0], dtype=F64), 0.3)
    goal = places + 1000 * way  # far off: distances differ to first order
    after, _, _ = PLANE.step({"goal": goal}, places, 0.1 * way.expand_as(places), places)
    nearer = ((goal - places).norm(dim=-1) - (goal - after).norm(dim=-1)) / 0.1
    assert float(nearer.min()) == pytest.approx(find("15.7").reference, abs=1e-3)
