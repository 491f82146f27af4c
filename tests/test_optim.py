"""Adam against its equations; second-order optimisation without a matrix against matrices that are written down."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl_lite.algorithms.configs import MAMLConfig
from metarl_lite.algorithms.inner import sample
from metarl_lite.algorithms.outer import mean_kl, readapt
from metarl_lite.optim import ClippedAdam, conjugate_gradient, gauss_newton_product, line_search, to_params, to_vector
from metarl_lite.policies.base import tile
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.rng import generator, normal
from metarl_lite.rollout import draw_noise
from metarl_lite.tasks.bandits import BernoulliBandit
from metarl_lite.tasks.base import TaskDistribution
from metarl_lite.tasks.navigation import GridGoal, PointGoal
from metarl_lite.types import Diverged, Params, Rollout

F64 = torch.float64

# Forward mode loads what torch compiles for it, and torch warns of that itself.


# --- vectors ----------------------------------------------------------------------------------------------------------


def test_a_vector_and_back() -> None:
    gen = generator(0)
    params = {"w": normal((2, 3), gen, F64), "b": normal((4,), gen, F64), "one": normal((), gen, F64)}
    vector = to_vector(params)
    assert vector.tolist() == [*params["w"].flatten().tolist(), *params["b"].tolist(), params["one"].item()]
    back = to_params(vector, params)
    assert list(back) == list(params)
    for name, p in params.items():
        assert torch.equal(back[name], p)
    assert torch.equal(to_vector(to_params(2 * vector, params)), 2 * vector)


def test_gradients_pass_through_both_ways() -> None:
    vector = torch.arange(6.0, dtype=F64).requires_grad_()
    like = {"a": torch.zeros(2, 2), "b": torch.zeros(2)}
    out = to_vector({name: p**2 for name, p in to_params(vector, like).items()})
    assert torch.equal(torch.autograd.grad(out.sum(), vector)[0], 2 * vector.detach())


# --- Adam -------------------------------------------------------------------------------------------------------------


def two_leaves() -> Params:
    return {"w": normal((2, 3), generator(0), F64).requires_grad_(), "b": torch.zeros(2, dtype=F64).requires_grad_()}


def gradients(k: int) -> list[Tensor]:
    """Of iteration k: some shorter than 1 and some longer."""
    return [0.4 * (k + 1) * normal(shape, generator(10 * k + i), F64) for i, shape in enumerate(((2, 3), (2,)))]


def by_kingma_and_ba(lr: float, final_lr: float | None, iterations: int, max_norm: float, steps: int) -> Params:
    """Algorithm 1 of the paper, after clipping; two steps at the rate of each iteration."""
    theta = {name: p.detach().clone() for name, p in two_leaves().items()}
    m, v = ({name: torch.zeros_like(p) for name, p in theta.items()} for _ in range(2))
    for step in range(1, 2 * steps + 1):
        k = (step - 1) // 2
        rate = lr if final_lr is None else lr + (final_lr - lr) * k / iterations
        g = dict(zip(theta, gradients(step - 1), strict=True))
        length = math.sqrt(sum(x.square().sum().item() for x in g.values()))
        for name in theta:
            clipped = g[name] * min(1.0, max_norm / length)
            m[name] = 0.9 * m[name] + 0.1 * clipped
            v[name] = 0.999 * v[name] + 0.001 * clipped**2
            hat = m[name] / (1 - 0.9**step) / ((v[name] / (1 - 0.999**step)).sqrt() + 1e-8)
            theta[name] = theta[name] - rate * hat
    return theta


@pytest.mark.parametrize("final_lr", [None, 0.1, 0.02, 0.0])
def test_adam_clips_and_lowers_its_rate_on_a_straight_line(final_lr: float | None) -> None:
    theta = two_leaves()
    adam = ClippedAdam(theta, 0.1, final_lr, 5, 1.0)
    for k in range(5):
        for step in (2 * k, 2 * k + 1):
            length = adam.step(gradients(step))
            assert length == pytest.approx(to_vector(dict(enumerate(gradients(step)))).norm().item())  # type: ignore[arg-type]
        adam.end_iteration()
    for name, expected in by_kingma_and_ba(0.1, final_lr, 5, 1.0, 5).items():
        torch.testing.assert_close(theta[name].detach(), expected, rtol=1e-6, atol=1e-9)  # torch clips to 1 - 1e-6
    before = theta["w"].clone()
    adam.step(gradients(0))
    assert torch.equal(before, theta["w"]) == (final_lr == 0.0)


def test_adam_goes_on_from_its_state_to_the_bit() -> None:
    """And without a warning: they count as errors here."""

    def run(adam: ClippedAdam, first: int, last: int) -> None:
        for k in range(first, last):
            adam.step(gradients(k))
            adam.end_iteration()

    whole, half = two_leaves(), two_leaves()
    run(ClippedAdam(whole, 0.1, 0.01, 7, 1.0), 0, 7)
    first = ClippedAdam(half, 0.1, 0.01, 7, 1.0)
    run(first, 0, 3)
    state, there = first.state(), {name: p.detach().clone().requires_grad_() for name, p in half.items()}
    run(first, 3, 4)  # what was given is a copy, and the first one may go on
    second = ClippedAdam(there, 0.1, 0.01, 7, 1.0)
    second.restore(state, 3)
    run(second, 3, 7)
    for name, p in whole.items():
        assert torch.equal(p, there[name])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_adam_takes_no_step_along_a_gradient_that_is_not_finite(bad: float) -> None:
    theta = two_leaves()
    adam = ClippedAdam(theta, 0.1, None, 5, 1.0)
    with pytest.raises(Diverged, match="in the length of the meta-gradient"):
        adam.step([torch.full((2, 3), bad, dtype=F64), torch.zeros(2, dtype=F64)])
    assert torch.equal(theta["w"], two_leaves()["w"])


@pytest.mark.parametrize(("dtype", "rate"), [(torch.float32, 1e38), (torch.float32, 1e300), (F64, 1e308)])
def test_a_rate_beyond_what_numbers_can_be_is_divergence(dtype: torch.dtype, rate: float) -> None:
    """Adam divides its rate by 1 - .9, in the type of the parameters."""
    theta = {"w": torch.ones(2, dtype=dtype, requires_grad=True)}
    with pytest.raises(
        Diverged, match=rf"a step of Adam at the rate {re.escape(str(rate))} is beyond what {dtype} holds"
    ):
        ClippedAdam(theta, rate, None, 5, 1.0).step([torch.ones(2, dtype=dtype)])
    ClippedAdam({"w": torch.ones(2, dtype=F64, requires_grad=True)}, 1e39, None, 5, 1.0).step(
        [torch.ones(2, dtype=F64)]
    )


# --- conjugate gradients ----------------------------------------------------------------------------------------------


def positive_definite(seed: int, eigenvalues: Tensor) -> Tensor:
    basis = torch.linalg.qr(normal((len(eigenvalues),) * 2, generator(seed), F64)).Q
    return basis @ torch.diag(eigenvalues) @ basis.T


def check_solves(function: Any) -> None:
    """As a dense solve has it, at the default tolerance and at a far smaller one."""
    for seed, size in ((0, 5), (1, 20), (2, 40)):
        matrix = positive_definite(seed, torch.linspace(1, 30, size, dtype=F64))
        b = normal((size,), generator(seed + 10), F64)
        expected = torch.linalg.solve(matrix, b)
        for tolerance, close in ((1e-10, 1e-5), (1e-26, 1e-11)):
            x = function(lambda v: matrix @ v, b, 2 * size, tolerance)  # noqa: B023  (used before the next matrix)
            residual = (matrix @ x - b).norm() / b.norm()
            # by design: it ends at the first residual below; what it ends at and what is left differ by rounding
            assert residual <= close * (1 + 1e-6), (size, residual)
            # An error in x is at most 30 times as large: the ratio of the extreme eigenvalues.
            assert (x - expected).norm() <= 30 * close * expected.norm(), size


def check_scale(function: Any) -> None:
    """The tolerance is a share of the right-hand side: in smaller or larger units the solution is the same."""
    matrix = positive_definite(7, torch.linspace(1, 30, 10, dtype=F64))
    b = normal((10,), generator(8), F64)
    for unit in (1e-8, 1e8):
        x = function(lambda v: matrix @ v, unit * b, 5)
        torch.testing.assert_close(x / unit, function(lambda v: matrix @ v, b, 5), rtol=1e-9, atol=1e-12)


def check_few_eigenvalues(function: Any) -> None:
    """Three different eigenvalues among thirty need three products, not thirty."""
    matrix = positive_definite(3, torch.tensor([1.0, 4.0, 9.0], dtype=F64).repeat(10))
    b, products = normal((30,), generator(4), F64), 0

    def product(v: Tensor) -> Tensor:
        nonlocal products
        products += 1
        return matrix @ v

    x = function(product, b, 30)
    assert products == 3
    assert (matrix @ x - b).norm() < 1e-8 * b.norm()


def check_best_in_its_subspace(function: Any) -> None:
    """After k products x minimises x^T A x / 2 - b^T x among all sums of b, A b, ... A^(k-1) b."""
    matrix = positive_definite(5, torch.linspace(1, 50, 12, dtype=F64))
    b = normal((12,), generator(6), F64)
    for k in (1, 2, 4):
        span = torch.linalg.qr(torch.stack([torch.linalg.matrix_power(matrix, i) @ b for i in range(k)], 1)).Q
        best = span @ torch.linalg.solve(span.T @ matrix @ span, span.T @ b)
        torch.testing.assert_close(function(lambda v: matrix @ v, b, k), best, rtol=1e-8, atol=1e-10)


CONJUGATE = [check_solves, check_scale, check_few_eigenvalues, check_best_in_its_subspace]


@pytest.mark.parametrize("check", CONJUGATE, ids=lambda check: check.__name__)
def test_conjugate_gradient(check: Any) -> None:
    check(conjugate_gradient)


def test_a_right_hand_side_of_zeros_has_the_solution_zero() -> None:
    def never(v: Tensor) -> Tensor:
        raise AssertionError("no product is needed")

    assert torch.equal(conjugate_gradient(never, torch.zeros(4)), torch.zeros(4))


def test_the_right_hand_side_stays_as_it_was() -> None:
    b = torch.tensor([1.0, 2.0])
    conjugate_gradient(lambda v: v * torch.tensor([1.0, 3.0]), b)
    assert b.tolist() == [1.0, 2.0]


# --- Gauss-Newton products --------------------------------------------------------------------------------------------

FAMILIES: dict[str, TaskDistribution] = {
    "gaussian": PointGoal(horizon=5, dtype=F64),
    "grid": GridGoal(size=3, horizon=5, dtype=F64),
    "bandit": BernoulliBandit(num_arms=3, horizon=4, dtype=F64),
}


def problem(family: str, config: MAMLConfig) -> tuple[MLPPolicy, Params, list[Rollout]]:
    """A small policy and its episodes, one batch for each inner step and a last one."""
    tasks, gen = FAMILIES[family], generator(0)
    policy = MLPPolicy.for_tasks(tasks, gen, hidden=(2,))
    policy = policy.with_rates(config.inner_lr) if config.algorithm == "meta_sgd" else policy
    task, theta = tasks.sample(3, gen), policy.params()
    noise = [draw_noise(tasks, policy, 3, config.episodes, gen) for _ in range(config.inner_steps + 1)]
    return policy, theta, [sample(tasks, policy, tile(theta, 3), task, config, drawn) for drawn in noise]


def check_fisher(function: Any, family: str = "gaussian", create_graph: bool = True, **options: Any) -> None:
    """All columns of the matrix are those of autograd's Hessian of the KL divergence of the adapted policies."""
    config = MAMLConfig(**{"num_tasks": 3, "episodes": 3, "inner_lr": 0.2, **options})
    policy, theta, batches = problem(family, config)
    support, query = batches[: config.inner_steps], batches[-1]

    def outputs(params: Params, graph: bool = True) -> Params:
        moved = readapt(policy, params, support, config, graph) if support else tile(params, 3)
        return policy.distribution(moved, query.observations)

    old = {name: out.detach() for name, out in outputs(theta).items()}

    def divergence(new: Params) -> Tensor:
        return mean_kl(policy, old, new, query.mask)

    def whole(vector: Tensor) -> Tensor:
        return divergence(outputs(to_params(vector, theta)))

    hessian = torch.autograd.functional.hessian(whole, to_vector(theta).detach())
    product = function(lambda params: outputs(params, create_graph), divergence, theta)
    found = torch.stack([product(column) for column in torch.eye(len(hessian), dtype=F64)], 1)
    assert hessian.norm() > 0.01
    assert (found - hessian).norm() < 1e-9 * hessian.norm()


@pytest.mark.parametrize("family", ["gaussian", "bandit"])
@pytest.mark.parametrize("inner_steps", [0, 1, 2])
def test_the_fisher_product_is_the_hessian_of_the_divergence(family: str, inner_steps: int) -> None:
    check_fisher(gauss_newton_product, family, inner_steps=inner_steps)


@pytest.mark.parametrize("family", ["gaussian", "bandit"])
@pytest.mark.parametrize("algorithm", ["anil", "meta_sgd"])
def test_the_fisher_product_with_other_inner_rates(family: str, algorithm: str) -> None:
    check_fisher(gauss_newton_product, family, algorithm=algorithm)


@pytest.mark.parametrize("inner_loss", ["linearised", "dice"])
def test_the_fisher_product_through_other_inner_losses(inner_loss: str) -> None:
    check_fisher(gauss_newton_product, inner_loss=inner_loss)


def test_the_fisher_product_on_a_grid() -> None:
    check_fisher(gauss_newton_product, "grid")


def test_a_fisher_matrix_is_symmetric_and_has_no_negative_direction() -> None:
    config = MAMLConfig(num_tasks=3, episodes=3)
    policy, theta, (support, query) = problem("gaussian", config)

    def outputs(params: Params) -> Params:
        return policy.distribution(readapt(policy, params, [support], config, True), query.observations)

    old = {name: out.detach() for name, out in outputs(theta).items()}
    product = gauss_newton_product(outputs, lambda new: mean_kl(policy, old, new, query.mask), theta)
    size = len(to_vector(theta))
    matrix = torch.stack([product(column) for column in torch.eye(size, dtype=F64)], 1)
    torch.testing.assert_close(matrix, matrix.T, rtol=0, atol=1e-12)
    assert torch.linalg.eigvalsh(matrix).min() > -1e-10
    assert torch.equal(product(torch.zeros(size, dtype=F64)), torch.zeros(size, dtype=F64))


def test_outputs_that_not_all_parameters_reach() -> None:
    """Of the loss (5 x)^2 + 3 z^2 + 5 x c nothing but x and z has a curvature: c is data, and w reaches nothing."""
    params = {"x": torch.tensor([2.0], dtype=F64), "w": torch.ones(2, dtype=F64), "z": torch.tensor([1.0], dtype=F64)}
    product = gauss_newton_product(
        lambda p: {"first": 5 * p["x"], "second": p["z"], "constant": torch.ones(1, dtype=F64).requires_grad_()},
        lambda out: (out["first"] ** 2 + 3 * out["second"] ** 2 + out["first"] * out["constant"]).sum(),
        params,
    )
    assert product(torch.tensor([1.0, 1.0, 1.0, 1.0], dtype=F64)).tolist() == [50.0, 0.0, 0.0, 6.0]


# --- line search ------------------------------------------------------------------------------------------------------


class Judge:
    """Answers from a list, and keeps what it was asked."""

    def __init__(self, *answers: tuple[float, float]) -> None:
        self.answers, self.asked = list(answers), []  # type: ignore[var-annotated]

    def __call__(self, candidate: Tensor) -> tuple[float, float]:
        self.asked.append(candidate)
        return self.answers[len(self.asked) - 1]


START, STEP = torch.tensor([1.0, -1.0]), torch.tensor([4.0, 8.0])


def check_first_that_holds(function: Any) -> None:
    """Too far, no better, exactly as good, then one that holds on the border; a better one comes too late."""
    judge = Judge((0.1, 0.5), (2.0, 0.001), (1.0, 0.001), (0.9, 0.01), (0.1, 0.001))
    found, kl, accepted = function(judge, START, STEP, 1.0, 0.01)
    assert (found.tolist(), kl, accepted) == ([1.5, 0.0], 0.01, True)
    assert [asked.tolist() for asked in judge.asked] == [[5.0, 7.0], [3.0, 3.0], [2.0, 1.0], [1.5, 0.0]]


def check_none_holds(function: Any) -> None:
    for answer in ((2.0, 0.001), (0.5, 0.02), (1.0, 0.0)):
        judge = Judge(*[answer] * 7)
        found, kl, accepted = function(judge, START, STEP, 1.0, 0.01, 7)
        assert found is START
        assert (kl, accepted, len(judge.asked)) == (0.0, False, 7)


def check_not_finite(function: Any) -> None:
    nan, inf = math.nan, math.inf
    bad = [(nan, 0.001), (0.5, nan), (nan, nan), (inf, 0.001), (0.5, inf), (inf, inf)]
    found, kl, accepted = function(Judge(*bad, (0.5, 0.001)), START, STEP, 1.0, 0.01)
    assert (kl, accepted) == (0.001, True)
    assert torch.equal(found, START + STEP / 2 ** len(bad))
    found, _, accepted = function(Judge(*bad), START, STEP, 1.0, 0.01, len(bad))
    assert found is START
    assert not accepted


LINE = [check_first_that_holds, check_none_holds, check_not_finite]


@pytest.mark.parametrize("check", LINE, ids=lambda check: check.__name__)
def test_line_search(check: Any) -> None:
    check(line_search)


# --- broken variants --------------------------------------------------------------------------------------------------


def steepest_descent(product: Any, b: Tensor, iterations: int = 10, tolerance: float = 1e-10) -> Tensor:
    """The residual itself for a direction: not conjugate to the ones before it."""
    x = torch.zeros_like(b)
    for _ in range(iterations):
        residual = b - product(x)
        if residual @ residual <= tolerance * (b @ b):
            break
        x = x + (residual @ residual) / (residual @ product(residual)) * residual
    return x


def never_ends(product: Any, b: Tensor, iterations: int = 10, tolerance: float = 1e-10) -> Tensor:
    return conjugate_gradient(product, b, iterations, 0.0)


def ends_too_soon(product: Any, b: Tensor, iterations: int = 10, tolerance: float = 1e-10) -> Tensor:
    """The residual, not its square, is compared."""
    return conjugate_gradient(product, b, iterations, tolerance**0.5)


def absolute_tolerance(product: Any, b: Tensor, iterations: int = 10, tolerance: float = 1e-10) -> Tensor:
    return conjugate_gradient(product, b, iterations, tolerance / (b @ b).item())


def inverse_conjugacy(product: Any, b: Tensor, iterations: int = 10, tolerance: float = 1e-10) -> Tensor:
    """The factor upside down: old square over new."""
    x, residual, direction = torch.zeros_like(b), b.clone(), b.clone()
    for _ in range(iterations):
        before = residual @ residual
        if before <= tolerance * (b @ b):
            break
        image = product(direction)
        x = x + before / (direction @ image) * direction
        residual = residual - before / (direction @ image) * image
        direction = residual + before / (residual @ residual) * direction
    return x


@pytest.mark.parametrize(
    ("check", "broken"),
    [
        (check_solves, steepest_descent),
        (check_solves, ends_too_soon),
        (check_solves, inverse_conjugacy),
        (check_scale, absolute_tolerance),
        (check_few_eigenvalues, steepest_descent),
        (check_few_eigenvalues, never_ends),
        (check_best_in_its_subspace, steepest_descent),
        (check_best_in_its_subspace, inverse_conjugacy),
    ],
    ids=lambda function: function.__name__,
)
def test_a_broken_solver_fails_its_check(check: Any, broken: Any) -> None:
    with pytest.raises(AssertionError):
        check(broken)


def without_the_inner_steps(outputs: Any, loss: Any, params: Params) -> Any:
    """First order: the step of the inner loop counts as a constant."""

    def straight(theta: Params) -> Params:
        given = outputs(params)
        moved = outputs(theta)
        return {name: given[name].detach() + 0.5 * (moved[name] - given[name].detach()) for name in moved}

    return gauss_newton_product(straight, loss, params)


def twice(outputs: Any, loss: Any, params: Params) -> Any:
    product = gauss_newton_product(outputs, loss, params)
    return lambda v: 2 * product(v)


def first_output_only(outputs: Any, loss: Any, params: Params) -> Any:
    """The standard deviation of a Gaussian is held fixed."""

    def halved(theta: Params) -> Params:
        return {name: out if name == "mean" else out.detach().requires_grad_() for name, out in outputs(theta).items()}

    return gauss_newton_product(halved, loss, params)


@pytest.mark.parametrize("broken", [without_the_inner_steps, twice, first_output_only])
def test_a_broken_product_fails_its_check(broken: Any) -> None:
    with pytest.raises(AssertionError):
        check_fisher(broken)


def test_first_order_steps_fail_the_check_of_the_product() -> None:
    with pytest.raises(AssertionError):
        check_fisher(gauss_newton_product, create_graph=False)


def takes_the_last(judge: Any, start: Tensor, step: Tensor, before: float, max_kl: float, tries: int = 10) -> Any:
    """Keeps the shortest step, whatever came of it."""
    found = line_search(judge, start, step, before, max_kl, tries)
    return found if found[2] else (start + step / 2**tries, 0.0, True)


def ignores_the_bound(judge: Any, start: Tensor, step: Tensor, before: float, max_kl: float, tries: int = 10) -> Any:
    return line_search(judge, start, step, before, math.inf, tries)


def ignores_the_loss(judge: Any, start: Tensor, step: Tensor, before: float, max_kl: float, tries: int = 10) -> Any:
    return line_search(judge, start, step, math.inf, max_kl, tries)


def negated(judge: Any, start: Tensor, step: Tensor, before: float, max_kl: float, tries: int = 10) -> Any:
    """The condition for giving up, which a NaN does not fulfil: so it is let through."""
    for k in range(tries):
        loss, kl = judge(start + 0.5**k * step)
        if not (loss >= before or kl > max_kl):
            return start + 0.5**k * step, kl, True
    return start, 0.0, False


@pytest.mark.parametrize(
    ("check", "broken"),
    [
        (check_first_that_holds, ignores_the_bound),
        (check_first_that_holds, ignores_the_loss),
        (check_none_holds, takes_the_last),
        (check_none_holds, ignores_the_bound),
        (check_none_holds, ignores_the_loss),
        (check_not_finite, negated),
    ],
    ids=lambda function: function.__name__,
)
def test_a_broken_search_fails_its_check(check: Any, broken: Any) -> None:
    with pytest.raises(AssertionError):
        check(broken)


# --- Numbers that nobody gives ----------------------------------------------------------------------------------------


def hard_system(size: int = 60) -> tuple[Tensor, Tensor]:
    return positive_definite(3, torch.logspace(0, 4, size, dtype=F64)), normal((size,), generator(4), F64)


def test_ten_conjugate_gradients_if_nothing_is_said() -> None:
    matrix, b = hard_system()
    calls: list[int] = []

    def product(v: Tensor) -> Tensor:
        calls.append(1)
        return matrix @ v

    conjugate_gradient(product, b)
    assert len(calls) == 10
    calls.clear()
    conjugate_gradient(product, b, iterations=3)
    assert len(calls) == 3


@pytest.mark.parametrize("tolerance", [None, 1e-4])
def test_conjugate_gradients_end_with_the_first_residual_below_the_tolerance(tolerance: float | None) -> None:
    """1e-10 of the square of b, if nothing is said."""
    matrix, b = positive_definite(3, torch.linspace(1, 10, 40, dtype=F64)), normal((40,), generator(4), F64)
    options = {} if tolerance is None else {"tolerance": tolerance}
    calls: list[int] = []

    def product(v: Tensor) -> Tensor:
        calls.append(1)
        return matrix @ v

    def share(x: Tensor) -> float:
        return ((b - matrix @ x).square().sum() / b.square().sum()).item()

    enough = share(conjugate_gradient(product, b, 1000, **options))
    count = len(calls)
    assert 5 < count < 40
    # by design: it ends at the first below; what it keeps of the residual and what is left differ by rounding
    assert enough <= (tolerance or 1e-10) * (1 + 1e-6)
    assert share(conjugate_gradient(product, b, count - 1, tolerance=0.0)) > (tolerance or 1e-10)


@pytest.mark.parametrize("tries", [None, 4])
def test_a_line_search_halves_ten_times_if_nothing_is_said(tries: int | None) -> None:
    start, step = torch.zeros(1, dtype=F64), torch.ones(1, dtype=F64)
    lengths: list[float] = []

    def judge(vector: Tensor) -> tuple[float, float]:
        lengths.append(vector.item())
        return 1.0, 0.0  # never better

    options = {} if tries is None else {"tries": tries}
    assert line_search(judge, start, step, 0.0, 1.0, **options)[2] is False
    assert lengths == [0.5**k for k in range(tries or 10)]


@pytest.mark.parametrize(("loss", "kl", "taken"), [(0.9, 1.0, True), (1.0, 0.5, False), (0.9, 1.01, False)])
def test_a_step_is_taken_if_it_is_better_and_not_beyond_the_bound(loss: float, kl: float, taken: bool) -> None:
    start, step = torch.zeros(2, dtype=F64), torch.ones(2, dtype=F64)
    found = line_search(lambda vector: (loss, kl), start, step, 1.0, 1.0, tries=1)
    assert found[1:] == ((kl, True) if taken else (0.0, False))
    assert torch.equal(found[0], step if taken else start)


def test_adam_restored_follows_its_schedule_from_where_it_was() -> None:
    """The rate of the iteration that comes, and not that of the one before."""
    theta = two_leaves()
    first = ClippedAdam(theta, 0.1, 0.0, 10, 1.0)
    for k in range(3):
        first.step(gradients(k))
        first.end_iteration()
    second = ClippedAdam(theta, 0.1, 0.0, 10, 1.0)
    second.restore(first.state(), 3)
    assert second.optimiser.param_groups[0]["lr"] == pytest.approx(0.07)
    state = first.state()
    second.restore(state, 0)
    second.step(gradients(3))
    fresh = first.state()
    assert all(torch.equal(p, fresh[name]) for name, p in state.items()), "what was given stays as it is"
