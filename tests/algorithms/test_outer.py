"""Outer updates that re-use their episodes: what they promise is measured anew, from theta before and after.

The surrogate and the divergences are written out here once more, with torch.distributions. The checks take the parts
that they are about, so that the broken ones at the end can be put in their place.
"""

from __future__ import annotations

import dataclasses
import importlib
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, Normal, kl_divergence

from metarl_lite.algorithms.configs import MAMLConfig
from metarl_lite.algorithms.inner import adapt, inner_loop, sample, step_sizes
from metarl_lite.algorithms.maml import OUTER, MAMLHistory, maml, meta_gradient
from metarl_lite.algorithms.outer import mean_kl, readapt
from metarl_lite.losses import LOSSES, clipped
from metarl_lite.optim import conjugate_gradient, line_search, to_params, to_vector
from metarl_lite.policies.base import tile
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.rng import generator
from metarl_lite.rollout import Noise, draw_noise
from metarl_lite.tasks.bandits import BernoulliBandit
from metarl_lite.tasks.base import TaskDistribution
from metarl_lite.tasks.navigation import GridGoal, PointGoal
from metarl_lite.types import Diverged, Params, Rollout, Task

outer_module = importlib.import_module("metarl_lite.algorithms.outer")
F64 = torch.float64

# Forward mode loads what torch compiles for it, and torch warns of that itself.

FAMILIES: dict[str, TaskDistribution] = {
    "continuous": PointGoal(horizon=8, dtype=F64),
    "grid": GridGoal(size=3, horizon=8, dtype=F64),
}


class Setting:
    """A small policy in training, and the means to look at one of its steps from outside."""

    def __init__(self, family: str, seed: int, **options: Any) -> None:
        self.tasks, self.gen = FAMILIES[family], generator(seed)
        self.config = MAMLConfig(**{"num_tasks": 4, "episodes": 4, "inner_lr": 0.2, **options})
        self.policy = MLPPolicy.for_tasks(self.tasks, self.gen, hidden=(4,))
        if self.config.algorithm == "meta_sgd":
            self.policy = self.policy.with_rates(self.config.inner_lr)
        self.theta = self.policy.params()

    def draw(self) -> tuple[Task, list[Noise]]:
        task = self.tasks.sample(self.config.num_tasks, self.gen)
        shape = self.config.num_tasks, self.config.episodes
        return task, [draw_noise(self.tasks, self.policy, *shape, self.gen) for _ in range(self.config.inner_steps + 1)]

    def now(self) -> Params:
        return {name: p.detach().clone().requires_grad_() for name, p in self.theta.items()}

    def episodes(self, theta: Params, task: Task, noise: list[Noise]) -> list[Rollout]:
        """The same noise gives the same episodes that the update saw."""
        params = tile(theta, self.config.num_tasks)
        params, support = inner_loop(self.tasks, self.policy, params, task, self.config, noise[:-1])
        return [*support, sample(self.tasks, self.policy, params, task, self.config, noise[-1])]

    def adapted(self, theta: Params, support: list[Rollout]) -> Params:
        params = tile(theta, self.config.num_tasks)
        rates = step_sizes(params, self.config)
        for batch in support:
            graph = self.config.algorithm != "fomaml"
            params = adapt(self.policy, params, batch, LOSSES[self.config.inner_loss], rates, graph)
        return params

    def log_prob(self, params: Params, batch: Rollout) -> Tensor:
        found: Tensor = self.chosen(params, batch).log_prob(batch.actions)
        return found

    def acted(self, theta: Params, batches: list[Rollout]) -> list[Tensor]:
        """Log-probabilities of the policies that drew each batch: theta after 0, 1, ... steps, as constants."""
        return [self.log_prob(self.adapted(theta, batches[:k]), batch).detach() for k, batch in enumerate(batches)]

    def adapted_by_ratios(self, theta: Params, support: list[Rollout], acted: list[Tensor]) -> Params:
        """Inner steps on the mean of ratio times advantage, the ratio to the policy that acted."""
        params = tile(theta, self.config.num_tasks)
        for batch, old in zip(support, acted, strict=True):

            def loss_fn(policy: Any, given: Params, batch: Rollout, old: Tensor = old) -> Tensor:
                assert batch.advantages is not None
                each = (self.log_prob(given, batch) - old).exp() * batch.advantages * batch.mask
                return -torch.stack([each[n].sum() / batch.mask[n].sum() for n in range(len(each))])

            graph = self.config.algorithm != "fomaml"
            params = adapt(self.policy, params, batch, loss_fn, step_sizes(params, self.config), graph)
        return params

    def chosen(self, params: Params, batch: Rollout) -> Any:
        """What the policy's actions are drawn from, as torch has it, `[N, E, T]`."""
        out = self.policy.forward(params, batch.observations)
        if self.policy.discrete:
            return Categorical(logits=out)
        return Independent(Normal(out, params["log_std"][:, None, None].exp().expand_as(out)), 1)

    def divergence(self, old: Params, new: Params, batch: Rollout) -> Tensor:
        """KL(old || new): first the mean over the steps of each task, then over tasks."""
        each = kl_divergence(self.chosen(old, batch), self.chosen(new, batch)) * batch.mask
        return torch.stack([each[n].sum() / batch.mask[n].sum() for n in range(len(each))]).mean()

    def gain(self, old: Params, new: Params, batch: Rollout, clip: float | None = None) -> Tensor:
        """The mean of ratio times advantage, clipped if asked."""
        assert batch.advantages is not None
        before, after = (self.chosen(params, batch).log_prob(batch.actions) for params in (old, new))
        ratio = (after - before.detach()).exp()
        each = ratio * batch.advantages
        if clip is not None:
            bound = 1 + clip * batch.advantages.sign()  # the far side, where a good ratio stops paying
            over = (ratio - bound) * batch.advantages.sign() > 0
            each = torch.where(over, bound * batch.advantages, each)
        each = each * batch.mask
        return torch.stack([each[n].sum() / batch.mask[n].sum() for n in range(len(each))]).mean()


# --- TRPO: the bound, the improvement, and what is reported -----------------------------------------------------------


def check_trust_region(search: Any, family: str = "continuous", steps: int = 4, seeds: int = 2, **options: Any) -> None:
    """Over a short training, with `search` for the line search, the promise is kept at every step that is taken."""
    taken = 0
    for seed in range(seeds):
        one = Setting(family, seed, **options)
        update = OUTER["trpo"](one.theta, one.config)
        for _ in range(steps):
            task, noise = one.draw()
            before = one.now()
            with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
                patch.setattr(outer_module, "line_search", search)
                warnings.simplefilter("ignore")
                returns, seen = update.step(one.tasks, one.policy, task, noise)
            *support, query = one.episodes(before, task, noise)
            assert torch.equal(returns[-1], query.rewards.sum(-1).mean(1))
            old, new = one.adapted(before, support), one.adapted(one.now(), support)
            moved = not torch.equal(to_vector(before), to_vector(one.theta))
            assert moved == bool(seen["accepted"])
            kl = one.divergence(old, new, query).item()
            assert kl <= one.config.max_kl * (1 + 1e-9)  # by design: the search ends anywhere below
            assert seen["kl"] == pytest.approx(kl, rel=1e-6, abs=1e-14)
            if moved:
                assert one.gain(old, new, query) > one.gain(old, old, query)
            taken += moved
    assert taken >= seeds * steps // 2, "a bound is easily kept by standing still"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("max_kl", [0.01, 0.1])
def test_trpo_keeps_its_bound_and_improves_the_surrogate(family: str, max_kl: float) -> None:
    check_trust_region(line_search, family, max_kl=max_kl)


@pytest.mark.parametrize(
    "options",
    [
        {"inner_steps": 2}, {"algorithm": "anil"}, {"algorithm": "meta_sgd"}, {"algorithm": "fomaml"},
        {"inner_loss": "linearised"}, {"inner_loss": "dice"}, {"curvature_episodes": 1},
    ],
    ids=str,
)  # fmt: skip
def test_trpo_keeps_its_bound_with_every_kind_of_inner_step(options: dict[str, Any]) -> None:
    """With few episodes for the curvature too: the bound is held on all of them."""
    check_trust_region(line_search, seeds=1, **options)


def test_a_rejected_search_leaves_every_bit_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A direction uphill: no length of it improves."""
    monkeypatch.setattr(outer_module, "conjugate_gradient", lambda product, b, iterations: -b)
    start = MLPPolicy.for_tasks(FAMILIES["continuous"], generator(0), hidden=(4,))
    config = MAMLConfig(iterations=2, num_tasks=3, episodes=3)
    with pytest.warns(UserWarning, match=r"no step improves within a KL of 0\.01; theta stays") as caught:
        trained, history = maml(FAMILIES["continuous"], start, config, generator(1), outer="trpo")
    assert sum("theta stays" in str(w.message) for w in caught) == 2
    assert history.accepted == [0.0, 0.0]
    assert history.kl == [0.0, 0.0]
    assert all(norm > 0 for norm in history.grad_norm)
    for name, p in start.params().items():
        assert torch.equal(trained.params()[name], p)


def test_a_step_too_long_to_adapt_from_is_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Setting("continuous", 0)
    update, (task, noise), before = OUTER["trpo"](one.theta, one.config), one.draw(), one.now()
    real = conjugate_gradient
    monkeypatch.setattr(outer_module, "line_search", lambda *args: line_search(*args[:2], args[2] * 1e6, *args[3:], 60))
    monkeypatch.setattr(outer_module, "conjugate_gradient", real)
    _, seen = update.step(one.tasks, one.policy, task, noise)
    *support, query = one.episodes(before, task, noise)
    assert seen["accepted"] == 1
    assert one.divergence(one.adapted(before, support), one.adapted(one.now(), support), query) <= 0.01


# --- TRPO: the direction ----------------------------------------------------------------------------------------------


def full_step(one: Setting, task: Task, noise: list[Noise]) -> tuple[Tensor, dict[str, float]]:
    """What the line search is handed, and what the update reports."""
    seen: list[Tensor] = []

    def spy(judge: Any, start: Tensor, step: Tensor, before: float, max_kl: float) -> tuple[Tensor, float, bool]:
        seen.append(step)
        return start, 0.0, True

    def solve(product: Any, b: Tensor, iterations: int) -> Tensor:
        return conjugate_gradient(product, b, iterations, tolerance=1e-26)  # by default it stops at a residual of 1e-5

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outer_module, "line_search", spy)
        patch.setattr(outer_module, "conjugate_gradient", solve)
        reported = OUTER["trpo"](one.theta, one.config).step(one.tasks, one.policy, task, noise)[1]
    return seen[0], reported


def dense_step(one: Setting, task: Task, noise: list[Noise], episodes: int) -> Tensor:
    """-(F + damping)^-1 g by a dense solve, F the Hessian of the divergence on the first so many episodes."""
    theta = one.now()
    *support, query = one.episodes(theta, task, noise)
    params = one.adapted(theta, support)
    loss = -one.gain(params, params, query)
    g = to_vector(dict(zip(theta, torch.autograd.grad(loss, list(theta.values())), strict=True)))
    few = [
        Rollout(*(None if x is None else x[:, :episodes] for x in vars(b).values()))  # type: ignore[arg-type]
        for b in (*support, query)
    ]
    old = {name: p.detach() for name, p in one.adapted(theta, few[:-1]).items()}

    def divergence(vector: Tensor) -> Tensor:
        return one.divergence(old, one.adapted(to_params(vector, theta), few[:-1]), few[-1])

    fisher = torch.autograd.functional.hessian(divergence, to_vector(theta).detach())
    damped = fisher + one.config.damping * torch.eye(len(fisher), dtype=F64)
    direction = -torch.linalg.solve(damped, g)
    length: Tensor = (2 * one.config.max_kl / (direction @ damped @ direction)).sqrt()
    return length * direction


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("episodes", [1, 2, 4])
def test_the_step_is_the_natural_gradient_of_so_many_episodes(family: str, episodes: int) -> None:
    one = Setting(family, 3, curvature_episodes=episodes, cg_iterations=200, damping=0.1)
    task, noise = one.draw()
    step, _ = full_step(one, task, noise)
    expected = dense_step(one, task, noise, episodes)
    assert (step - expected).norm() < 1e-8 * expected.norm()  # both solvers have converged
    if episodes < 4:  # all of them give another direction
        assert (step - dense_step(one, task, noise, 4)).norm() > 1e-2 * expected.norm()


def test_curvature_episodes_change_the_direction_only() -> None:
    found = {}
    for count in (1, 4, 99):
        one = Setting("continuous", 3, curvature_episodes=count)
        found[count] = full_step(one, *one.draw())
    assert torch.equal(found[4][0], found[99][0])  # there are no more than four
    assert not torch.allclose(found[1][0], found[4][0], rtol=0.01)
    assert found[1][1]["grad_norm"] == found[4][1]["grad_norm"]


@pytest.mark.parametrize("algorithm", ["maml", "fomaml", "anil"])
def test_the_gradient_of_trpo_is_the_meta_gradient(algorithm: str) -> None:
    one = Setting("continuous", 1, algorithm=algorithm)
    task, noise = one.draw()
    expected, _ = meta_gradient(one.tasks, one.policy, one.now(), task, one.config, noise)
    assert full_step(one, task, noise)[1]["grad_norm"] == pytest.approx(to_vector(expected).norm().item(), rel=1e-9)


# --- ProMP ------------------------------------------------------------------------------------------------------------


class Recorded:
    """What each step of Adam is given, `(theta, gradient)`; gradients are not clipped at this length of theirs."""

    def __init__(self, one: Setting) -> None:
        self.one, self.steps, self.rates = one, [], []  # type: ignore[var-annotated]

    def __enter__(self) -> Recorded:
        self.patch, real = pytest.MonkeyPatch(), torch.optim.Adam.step

        def step(optimiser: torch.optim.Adam, *args: Any, **options: Any) -> Any:
            grads = {name: p.grad.clone() for name, p in self.one.theta.items() if p.grad is not None}
            self.steps.append((self.one.now(), grads))
            self.rates.append(optimiser.param_groups[0]["lr"])
            return real(optimiser, *args, **options)

        self.patch.setattr(torch.optim.Adam, "step", step)
        return self

    def __exit__(self, *args: Any) -> None:
        self.patch.undo()


def check_proximal(family: str = "continuous", *, clip: bool = True, **options: Any) -> None:
    """Each gradient is that of the clipped surrogate and the penalty, on the same episodes, at theta as it is then.

    The inner steps are surrogates themselves: they weigh their episodes by ratios to the policies that drew them.
    """
    settings = {"epochs": 5, "outer_lr": 0.03, "kl_penalty": 0.5, "max_grad_norm": 1e9, "inner_loss": "linearised"}
    one = Setting(family, 2, **{**settings, **options})
    task, noise = one.draw()
    start = one.now()
    with Recorded(one) as recorded:
        _, seen = OUTER["promp"](one.theta, one.config).step(one.tasks, one.policy, task, noise)
    assert len(recorded.steps) == 5
    *support, query = one.episodes(start, task, noise)
    old, acted = one.adapted(start, support), one.acted(start, support)
    before, num_tasks = tile(start, 4), one.config.num_tasks
    outside = []
    for epoch, (theta, grads) in enumerate(recorded.steps):
        new = one.adapted_by_ratios(theta, support, acted)
        constant = {name: p.detach() for name, p in before.items()}
        penalty = one.divergence(constant, tile(theta, num_tasks), support[0])
        loss = one.config.kl_penalty * penalty - one.gain(old, new, query, one.config.clip if clip else None)
        for (name, p), g in zip(theta.items(), torch.autograd.grad(loss, list(theta.values())), strict=True):
            torch.testing.assert_close(grads[name], g, rtol=1e-6, atol=1e-9, msg=f"{name} in epoch {epoch}")
            assert p.shape == g.shape
        ratio = (one.chosen(new, query).log_prob(query.actions) - one.chosen(old, query).log_prob(query.actions)).exp()
        outside.append(((ratio - 1).abs() > one.config.clip).double().mean().item())
        assert bool(((ratio - 1).abs() > 1e-6).any()) == (epoch > 0)
    assert outside[0] == 0
    assert outside[-1] > 0.02, "the clip should have something to do"
    kl = one.divergence(before, tile(one.now(), num_tasks), support[0]).item()
    assert kl > 1e-4
    assert seen["kl"] == pytest.approx(kl, rel=1e-6)
    assert seen["grad_norm"] == pytest.approx(to_vector(recorded.steps[-1][1]).norm().item(), rel=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_epoch_of_promp_follows_the_clipped_surrogate(family: str) -> None:
    check_proximal(family)


@pytest.mark.parametrize(
    "options",
    [
        {"inner_steps": 2}, {"algorithm": "anil"}, {"algorithm": "meta_sgd"}, {"algorithm": "fomaml"},
        {"inner_loss": "dice"},
    ],
    ids=str,
)  # fmt: skip
def test_promp_with_every_kind_of_inner_step(options: dict[str, Any]) -> None:
    check_proximal(**options)


def check_first_epoch(inner_loss: str) -> None:
    """At theta itself no ratio is clipped and the penalty is flat: what is left is the plain meta-gradient."""
    one = Setting("continuous", 4, epochs=1, inner_loss="linearised", max_grad_norm=1e9, kl_penalty=10.0)
    task, noise = one.draw()
    plain = dataclasses.replace(one.config, inner_loss=inner_loss)
    expected, _ = meta_gradient(one.tasks, one.policy, one.now(), task, plain, noise)
    with Recorded(one) as recorded:
        OUTER["promp"](one.theta, one.config).step(one.tasks, one.policy, task, noise)
    ((_, grads),) = recorded.steps
    for name, g in expected.items():
        torch.testing.assert_close(grads[name], g, rtol=1e-9, atol=1e-12)


def test_one_epoch_of_promp_is_the_meta_gradient_of_the_linearised_surrogate() -> None:
    check_first_epoch("linearised")
    with pytest.raises(AssertionError):
        check_first_epoch("policy_gradient")


@pytest.mark.parametrize("outer", ["adam", "promp"])
def test_the_rate_falls_on_a_straight_line(outer: str) -> None:
    one = Setting("continuous", 0, iterations=4, epochs=2, outer_lr=0.08, final_lr=0.0)
    with Recorded(one) as recorded:
        maml(one.tasks, one.policy, one.config, generator(0), outer=outer)
    expected = [0.08, 0.06, 0.04, 0.02]
    if outer == "promp":
        expected = [rate for rate in expected for _ in range(2)]  # it falls by iterations, not by epochs
    assert recorded.rates == pytest.approx(expected, rel=1e-9)


# --- both in training -------------------------------------------------------------------------------------------------


def train(seed: int, outer: str, callback: Any = None, **options: Any) -> tuple[MLPPolicy, MAMLHistory]:
    tasks = PointGoal(horizon=20)
    config = MAMLConfig(**{"iterations": 3, "num_tasks": 4, "episodes": 5, **options})
    start = MLPPolicy.for_tasks(tasks, generator(0), hidden=(8,))
    return maml(tasks, start, config, generator(seed), callback, outer=outer)


@pytest.mark.parametrize("outer", ["trpo", "promp"])
def test_same_seed_same_result_to_the_bit_and_other_seed_another(outer: str) -> None:
    one, two, other = train(5, outer), train(5, outer), train(6, outer)
    assert one[1] == two[1]
    assert one[1] != other[1]
    for name, p in one[0].params().items():
        assert torch.equal(p, two[0].params()[name])


def test_the_history_has_what_each_update_sees() -> None:
    for outer, kept in (("adam", ()), ("trpo", ("kl", "accepted")), ("promp", ("kl",))):
        history = train(0, outer)[1]
        assert len(history.returns) == len(history.grad_norm) == 3
        for name in ("kl", "accepted"):
            assert len(getattr(history, name)) == (3 if name in kept else 0), (outer, name)


@pytest.mark.parametrize("outer", ["trpo", "promp"])
def test_interruption_returns_what_was_trained(outer: str, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(iteration: int, policy: MLPPolicy, history: MAMLHistory) -> None:
        if iteration == 1:
            raise KeyboardInterrupt

    policy, history = train(5, outer, interrupt)
    uninterrupted = train(5, outer, iterations=2)
    assert "interrupted" in capsys.readouterr().out
    assert history == uninterrupted[1]
    for name, p in policy.params().items():
        assert torch.equal(p, uninterrupted[0].params()[name])


class Coin(BernoulliBandit):
    """Two arms of which one always pays, unknown which."""

    def sample(self, num_tasks: int, gen: torch.Generator) -> dict[str, Tensor]:
        first = (torch.rand(num_tasks, 1, generator=gen) < 0.5).float()
        return {"probabilities": torch.cat([first, 1 - first], 1)}


@pytest.mark.filterwarnings("ignore:trpo. no step improves:UserWarning")  # once it is solved there is nothing to gain
@pytest.mark.parametrize("outer", ["trpo", "promp"])
def test_each_outer_update_solves_a_trivial_family(outer: str) -> None:
    """One step on a few pulls must find the arm that pays nearly always."""
    tasks = Coin(num_arms=2, horizon=1)
    policy = MLPPolicy.for_tasks(tasks, generator(0), hidden=(8,))
    config = MAMLConfig(iterations=50, num_tasks=32, episodes=20, inner_lr=1.0, outer_lr=0.02, normalise=False)
    _, history = maml(tasks, policy, config, generator(1), outer=outer)
    before, after = torch.tensor(history.returns[-10:]).mean(0).tolist()
    assert 0.35 < before < 0.65  # it cannot know before it has pulled
    assert after > 0.95


def test_divergence_names_the_iteration_under_each_update() -> None:
    for outer in ("trpo", "promp"):
        with pytest.raises(Diverged, match=r"iteration 0 with inner_lr = .*(Lower|smaller)"):
            train(0, outer, inner_lr=1e30)


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outer", ["trpo", "promp"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"algorithm": "reptile"}, "algorithm = 'reptile' has none: use outer='adam'"),
        ({"algorithm": "e_maml"}, "algorithm = 'e_maml' has none: use outer='adam'"),
        ({"chunk_size": 2}, "differentiates all tasks at once: leave out chunk_size=2"),
        ({"inner_steps": 0}, "at least one inner step, got inner_steps = 0: use outer='adam'"),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused(outer: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        train(0, outer, **options)
    assert repr(outer) in str(caught.value)


def test_an_unknown_outer_update_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"outer = 'tropo': choose one of 'adam', 'trpo', 'promp'"):
        train(0, "tropo")


# --- broken variants --------------------------------------------------------------------------------------------------


def too_far(judge: Any, start: Tensor, step: Tensor, before: float, max_kl: float) -> tuple[Tensor, float, bool]:
    """Anything that improves is taken, however far."""
    candidate = start + 3 * step
    return candidate, judge(candidate)[1], True


def no_better(judge: Any, start: Tensor, step: Tensor, before: float, max_kl: float) -> tuple[Tensor, float, bool]:
    """The bound is held, the improvement is not asked for: a step backwards."""
    return line_search(lambda v: (-1.0, judge(v)[1]), start, -step, 0.0, max_kl)


def reports_the_model(
    judge: Any, start: Tensor, step: Tensor, before: float, max_kl: float
) -> tuple[Tensor, float, bool]:
    """The divergence that the quadratic model expects, not the one that came of it."""
    after, _, accepted = line_search(judge, start, step, before, max_kl)
    return after, max_kl, accepted


def says_yes(judge: Any, start: Tensor, step: Tensor, before: float, max_kl: float) -> tuple[Tensor, float, bool]:
    return start, 0.0, True


def never_moves(judge: Any, start: Tensor, step: Tensor, before: float, max_kl: float) -> tuple[Tensor, float, bool]:
    return start, 0.0, False


@pytest.mark.parametrize("broken", [too_far, no_better, reports_the_model, says_yes, never_moves])
def test_a_broken_search_fails_the_check_of_the_trust_region(broken: Any) -> None:
    with pytest.raises(AssertionError):
        check_trust_region(broken)


def fresh_ratio(log_prob: Tensor, old_log_prob: Tensor, batch: Rollout, clip: float | None = None) -> Tensor:
    """The ratio to the policy of this epoch, which is always 1."""
    return clipped(log_prob, log_prob.detach(), batch, clip)


def never_clipped(log_prob: Tensor, old_log_prob: Tensor, batch: Rollout, clip: float | None = None) -> Tensor:
    return clipped(log_prob, old_log_prob, batch)


def clipped_inside(log_prob: Tensor, old_log_prob: Tensor, batch: Rollout, clip: float | None = None) -> Tensor:
    """The inner steps are clipped like the outer ones."""
    return clipped(log_prob, old_log_prob, batch, 0.2)


def swapped(policy: MLPPolicy, old: Any, new: Any, mask: Tensor) -> Tensor:
    return mean_kl(policy, new, old, mask)


def shares_memory(chosen: Any) -> Any:
    """No copy: the old standard deviation is a view of theta, so Adam, which works in place, changes it too."""
    return {name: p.detach() for name, p in chosen.items()}


def not_adapted_again(policy: MLPPolicy, theta: Params, support: Any, config: MAMLConfig, *args: Any) -> Params:
    """Later epochs look at the initialisation without its inner step."""
    return tile(theta, config.num_tasks)


def without_ratios(
    policy: MLPPolicy, theta: Params, support: Any, config: MAMLConfig, graph: bool, *args: Any
) -> Params:
    """The inner step counts its episodes as if the policy of this epoch had drawn them."""
    return readapt(policy, theta, support, config, graph)


def first_order(policy: MLPPolicy, theta: Params, support: Any, config: MAMLConfig, graph: bool, *args: Any) -> Params:
    return readapt(policy, theta, support, config, False, *args)


@pytest.mark.parametrize(
    ("part", "broken"),
    [
        ("clipped", fresh_ratio),
        ("clipped", never_clipped),
        ("clipped", clipped_inside),
        ("mean_kl", swapped),
        ("detached", shares_memory),
        ("readapt", not_adapted_again),
        ("readapt", without_ratios),
        ("readapt", first_order),
    ],
)
def test_a_broken_part_fails_the_check_of_promp(part: str, broken: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outer_module, part, broken)
    with pytest.raises(AssertionError):
        check_proximal()


def test_a_mean_divergence_is_over_the_steps_that_were_taken() -> None:
    """First over those of each task, of which the second has few, and then over tasks."""
    policy = MLPPolicy.for_tasks(FAMILIES["continuous"], generator(0), hidden=(4,))
    old, new = (
        {
            "mean": torch.randn(2, 3, 5, 2, generator=generator(seed), dtype=F64),
            "log_std": torch.zeros(2, 1, 1, 2).to(F64),
        }
        for seed in (1, 2)
    )
    mask = torch.ones(2, 3, 5, dtype=F64)
    mask[1, :, 1:] = 0
    each = 0.5 * (old["mean"] - new["mean"]).square().sum(-1)  # of normal distributions with deviation 1
    expected = (each[0].mean() + each[1, :, 0].mean()) / 2
    torch.testing.assert_close(mean_kl(policy, old, new, mask), expected)
