"""Few-shot imitation: the gradient through the step by hand, and what training reaches against exact optima."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from metarl_lite.apps import imitators
from metarl_lite.apps.imitation import (
    ImitationConfig,
    ImitationHistory,
    Imitator,
    LinearExpert,
    OneStep,
    Reader,
    Unadapted,
    clone,
    imitation_error,
    imitation_loss,
    learn_to_imitate,
    meta_gradient,
)
from metarl_lite.oracles.imitation import best_step, cloning_error, conditioned_error, posterior_mean, step_error
from metarl_lite.rng import generator
from metarl_lite.types import Diverged, Params

EXPERT = LinearExpert()
SHORT = {"iterations": 3, "num_tasks": 4}
METHODS = ("none", "one_step", "first_order", "conditioned")


def exact_error(params: Params, expert: LinearExpert) -> float:
    """The error of a step of a learned size from a learned start: the start s makes k - s of k, and adds |s|^2."""
    d, n, alpha = expert.size, expert.pairs, params["step"].item()
    more = step_error(alpha, d, n, 0.0) / d * (params["start"] ** 2).sum().item()
    return step_error(alpha, d, n, expert.noise) + more


def off_by_hand() -> float:
    """How far the meta-gradient of a step is from the one that is written out here, relative to its length."""
    theta = OneStep(4, generator(1), 0.3).params()
    gen = generator(2)
    task = EXPERT.sample(6, gen)
    (x, y), (new_x, new_y) = EXPERT.demonstrate(task, gen), EXPERT.demonstrate(task, gen, 7)
    _, found = meta_gradient(OneStep(4, generator(1), 0.3), theta, (x, y), (new_x, new_y))
    start, step = theta["start"].detach(), theta["step"].detach()
    g = torch.einsum("bnd,bn->bd", x, x @ start - y) / 5
    k = start - step * g
    new = torch.einsum("bnd,bn->bd", new_x, torch.einsum("bnd,bd->bn", new_x, k) - new_y) / 7
    through = new - step * torch.einsum("bnd,bn->bd", x, torch.einsum("bnd,bd->bn", x, new)) / 5
    exact = torch.cat([through.mean(0), -(new * g).sum(-1).mean(0, keepdim=True)])
    mine = torch.cat([found["start"], found["step"][None]])
    return ((mine - exact).norm() / exact.norm()).item()


def test_the_meta_gradient_goes_through_the_step() -> None:
    assert off_by_hand() < 1e-5


def test_a_first_order_gradient_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = imitators.gradient
    monkeypatch.setattr(imitators, "gradient", lambda losses, params, create_graph: right(losses, params, False))
    assert off_by_hand() > 0.05


def detached(self: OneStep, params: Params, x: Tensor, y: Tensor) -> Tensor:
    """A broken step: nothing is learned of its size, for its gradient is not asked."""
    fixed = {"start": params["start"], "step": params["step"].detach()}
    return RIGHT(self, fixed, x, y)


RIGHT = OneStep.answer


def learned_step(iterations: int = 150) -> float:
    config = ImitationConfig(iterations=iterations, num_tasks=128, lr=0.02)
    imitator, _ = learn_to_imitate(LinearExpert(size=1, pairs=3), config, generator(0))
    return imitator.params()["step"].item()


def test_the_step_size_is_learned() -> None:
    assert learned_step() == pytest.approx(best_step(1, 3, 0.5), rel=0.1)


def test_a_step_size_without_a_gradient_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OneStep, "answer", detached)
    assert off_by_hand() > 0.05
    assert learned_step(5) == pytest.approx(0.1)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_trained_step_reaches_the_best_one(seed: int) -> None:
    imitator, _ = learn_to_imitate(EXPERT, ImitationConfig(), generator(seed))
    params, best = imitator.params(), best_step(4, 5, 0.5)
    assert params["step"].item() == pytest.approx(best, rel=0.02)
    assert exact_error(params, EXPERT) == pytest.approx(4 * (1 - best), rel=0.01)
    mean, error = imitation_error(EXPERT, imitator.imitate, 50_000, generator(9))
    assert abs(mean - exact_error(params, EXPERT)) < 4.5 * error
    assert error < 0.01


def test_without_adaptation_nothing_beats_zero() -> None:
    imitator, _ = learn_to_imitate(EXPERT, ImitationConfig(method="none"), generator(0))
    assert (imitator.params()["start"] ** 2).sum().item() < 0.01
    mean, error = imitation_error(EXPERT, imitator.imitate, 50_000, generator(9))
    assert abs(mean - 4) < 4.5 * error


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_trained_reader_comes_close_to_the_optimum(seed: int) -> None:
    imitator, _ = learn_to_imitate(EXPERT, ImitationConfig(method="conditioned"), generator(seed))
    mean, error = imitation_error(EXPERT, imitator.imitate, 100_000, generator(9))
    assert conditioned_error(4, 5, 0.5) - 4.5 * error < mean < 0.70 - 3 * error
    # it was shown five pairs in training, and does well with others: a rule was learned, not a table
    for pairs in (1, 3, 10):
        other = LinearExpert(pairs=pairs)
        mean, error = imitation_error(other, imitator.imitate, 50_000, generator(9))
        least = conditioned_error(4, pairs, 0.5)
        assert least - 4.5 * error < mean < 1.05 * least


def test_a_reader_of_one_number_comes_close_to_the_optimum() -> None:
    expert = LinearExpert(size=1, pairs=3)
    config = ImitationConfig(method="conditioned", iterations=200, num_tasks=128, layers=2, width=8)
    imitator, _ = learn_to_imitate(expert, config, generator(0))
    # on the same experts, so that chance cancels
    mean, _ = imitation_error(expert, imitator.imitate, 20_000, generator(9))
    best, _ = imitation_error(expert, lambda x, y: posterior_mean(x, y, 0.5), 20_000, generator(9))
    assert best < mean < 1.15 * best
    assert mean < step_error(best_step(1, 3, 0.5), 1, 3, 0.5)


def test_cloning_is_least_squares() -> None:
    expert = LinearExpert(pairs=9)  # the variance of its error is finite
    mean, error = imitation_error(expert, clone, 50_000, generator(4))
    assert abs(mean - cloning_error(4, 9, 0.5)) < 4.5 * error
    x, y = LinearExpert(noise=0.0).demonstrate({"k": torch.tensor([[1.0, -2.0, 0.5, 3.0]])}, generator(0), 6)
    assert clone(x, y)[0].tolist() == pytest.approx([1, -2, 0.5, 3], abs=1e-4)


def test_cloning_fewer_pairs_than_numbers_gives_the_shortest_solution() -> None:
    x, y = torch.tensor([[[1.0, 1.0]]]), torch.tensor([[4.0]])
    assert clone(x, y)[0].tolist() == pytest.approx([2, 2], abs=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_equal_seeds_give_equal_numbers(method: str) -> None:
    runs = [learn_to_imitate(EXPERT, ImitationConfig(method=method, **SHORT), generator(5)) for _ in range(2)]  # type: ignore[arg-type]
    for name, p in runs[0][0].params().items():
        assert torch.equal(p, runs[1][0].params()[name])
    assert runs[0][1].loss == runs[1][1].loss
    other, _ = learn_to_imitate(EXPERT, ImitationConfig(method=method, **SHORT), generator(6))  # type: ignore[arg-type]
    assert any(not torch.equal(p, other.params()[name]) for name, p in runs[0][0].params().items())


@pytest.mark.parametrize("method", METHODS)
def test_the_global_state_of_chance_stays(method: str) -> None:
    before = torch.get_rng_state()
    learn_to_imitate(EXPERT, ImitationConfig(method=method, **SHORT), generator(5))  # type: ignore[arg-type]
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("method", METHODS)
def test_an_interrupted_run_ends_where_a_whole_one_does(method: str, tmp_path: Path) -> None:
    config = ImitationConfig(method=method, **SHORT)  # type: ignore[arg-type]
    whole, history = learn_to_imitate(EXPERT, config, generator(5))

    def stop(iteration: int, imitator: Imitator, seen: ImitationHistory) -> bool:
        return iteration == 0

    file = tmp_path / "run.ck"
    _, part = learn_to_imitate(EXPERT, config, generator(5), stop, checkpoint=file)
    resumed, again = learn_to_imitate(EXPERT, config, generator(5), checkpoint=file)
    assert len(part.loss) == 1
    assert again.loss == history.loss
    assert again.steps == history.steps == 3 * 4 * 25
    assert "3 iterations" in repr(again)
    for name, p in whole.params().items():
        assert torch.equal(p, resumed.params()[name])
    with pytest.raises(ValueError, match="another run"):
        learn_to_imitate(LinearExpert(noise=0.1), config, generator(5), checkpoint=file)


@pytest.mark.parametrize("make", [lambda: OneStep(4, generator(1), 0.3), lambda: Reader(4, generator(1), 2, 8)])
def test_neither_the_order_of_pairs_nor_other_experts_change_an_answer(make: Callable[[], Imitator]) -> None:
    gen = generator(0)
    x, y = EXPERT.demonstrate(EXPERT.sample(3, gen), gen)
    imitator = make()
    answer = imitator.imitate(x, y)
    assert torch.allclose(imitator.imitate(x.flip(1), y.flip(1)), answer, atol=1e-5)
    assert torch.allclose(imitator.imitate(x[1:2], y[1:2]), answer[1:2], atol=1e-5)
    with torch.no_grad():
        assert torch.equal(imitator.imitate(x, y), answer)
    with torch.inference_mode():
        assert torch.equal(imitator.imitate(x.clone(), y.clone()), answer)
    assert not answer.requires_grad


def test_experts_are_as_they_are_said_to_be() -> None:
    gen = generator(0)
    task = EXPERT.sample(20_000, gen)
    x, y = EXPERT.demonstrate(task, gen)
    assert x.shape == (20_000, 5, 4)
    assert y.shape == (20_000, 5)
    noise = y - torch.einsum("bnd,bd->bn", x, task["k"])
    # 100,000 of them: the standard error of a variance s^2 is s^2 sqrt(2 / 100,000)
    assert noise.var().item() == pytest.approx(0.25, abs=4.5 * 0.25 * (2 / 100_000) ** 0.5)
    assert task["k"].var().item() == pytest.approx(1, abs=4.5 * (2 / 80_000) ** 0.5)
    assert imitation_loss(task["k"], x, y).mean().item() == pytest.approx(0.125, abs=0.003)
    assert Unadapted(4, generator(0)).imitate(x, y).unique(dim=0).shape == (1, 4)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_divergence_names_the_iteration() -> None:
    config = ImitationConfig(step=1e30, iterations=2, num_tasks=4)
    with pytest.raises(Diverged, match="imitation stopped in iteration 0 with lr"):
        learn_to_imitate(EXPERT, config, generator(0))


def shown(n: int = 5, d: int = 4) -> tuple[Tensor, Tensor]:
    return torch.ones(2, n, d), torch.ones(2, n)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: LinearExpert(size=0), "size = 0"),
        (lambda: LinearExpert(pairs=0), "pairs = 0: a demonstration of nothing"),
        (lambda: LinearExpert(noise=-1.0), "noise = -1.0"),
        (lambda: EXPERT.demonstrate(EXPERT.sample(2, generator(0)), generator(0), 0), "pairs = 0"),
        (lambda: EXPERT.demonstrate(EXPERT.sample(2, generator(0)), generator(0), -1), "pairs = -1"),
        (lambda: EXPERT.demonstrate(LinearExpert(3).sample(2, generator(0)), generator(0)), "experts of size 4"),
        (lambda: EXPERT.demonstrate(torch.ones(2, 4), generator(0)), "task"),  # type: ignore[arg-type]
        (lambda: EXPERT.sample(0, generator(0)), "num_tasks = 0"),
        (lambda: EXPERT.sample(2, 0), "gen = 0"),  # type: ignore[arg-type]
        (lambda: OneStep(4, generator(0), 0.1).imitate(*shown(d=3)), r"demonstrations \[N, n, 4\]"),
        (lambda: Reader(4, generator(0), 1, 8).imitate(*shown(d=5)), r"demonstrations \[N, n, 4\]"),
        (lambda: OneStep(4, generator(0), 0.1).imitate(*shown(n=0)), "a demonstration of nothing"),
        (lambda: clone(*shown(n=0)), "a demonstration of nothing"),
        (lambda: clone(torch.ones(5, 4), torch.ones(5)), "x is a tensor"),
        (lambda: clone(torch.ones(2, 5, 4), torch.ones(2, 4)), "y: a tensor"),
        (lambda: ImitationConfig(method="bc"), "method = 'bc'"),
        (lambda: ImitationConfig(iterations=0), "iterations = 0"),
        (lambda: ImitationConfig(lr=0.0), "lr = 0.0"),
        (lambda: learn_to_imitate(4, ImitationConfig(), generator(0)), "expert is of type int"),  # type: ignore[arg-type]
        (lambda: learn_to_imitate(EXPERT, None, generator(0)), "config is of type NoneType"),  # type: ignore[arg-type]
        (lambda: learn_to_imitate(EXPERT, ImitationConfig(), 0), "gen = 0"),  # type: ignore[arg-type]
        (lambda: imitation_error(EXPERT, clone, 1, generator(0)), "num_tasks = 1"),
        (lambda: imitation_error(EXPERT, "clone", 10, generator(0)), "imitate = 'clone'"),  # type: ignore[arg-type]
        (lambda: imitation_error(EXPERT, lambda x, y: y, 10, generator(0)), "imitated: a tensor"),
    ],
)
def test_what_is_wrong_is_named(call: Callable[[], object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()
