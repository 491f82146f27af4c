"""The recorded experiment of chapter 15, part 1: four ways to learn to imitate, beside what each can reach at best."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ..apps.imitation import ImitationConfig, ImitationHistory, LinearExpert, imitation_error, learn_to_imitate
from ..apps.imitators import Imitator
from ..oracles.imitation import posterior_mean
from ..rng import generator
from .base import TEST_SEED, Experiment, budget

METHODS = ("none", "one_step", "first_order", "conditioned")
#: Pairs that a test shows; training shows five.
SHOWN = (1, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20)
#: Experts of the last test, and of each test on the way.
TEST_EXPERTS, WAY_EXPERTS = 20_000, 4_000


def imitation_run(config: ImitationConfig, folder: Path, *, method: str, seed: int) -> dict[str, Any]:
    """One seed of learning to imitate, tested on experts that no training meets.

    Args:
        config: of the experiment.
        folder: not used; a run is short enough to be begun again.
        method: who learns.
        seed: of first weights, experts and pairs.
    """
    config, expert = replace(config, method=method), LinearExpert()
    iterations: list[int] = []
    errors: list[float] = []

    def test(iteration: int, imitator: Imitator, history: ImitationHistory) -> None:
        if (iteration + 1) % 50 == 0 or iteration == 0:
            mean, _ = imitation_error(expert, imitator.imitate, WAY_EXPERTS, generator(TEST_SEED))
            iterations.append(iteration + 1)
            errors.append(round(mean, 4))

    imitator, history = learn_to_imitate(expert, config, generator(seed), test)
    if len(history.loss) < config.iterations:  # Ctrl-C: training has said so; half a run is not to be recorded
        raise KeyboardInterrupt
    params = imitator.params()
    return {
        "method": method,
        "seed": seed,
        **budget(history.steps, config.iterations),
        "iterations": iterations,
        "test_errors": errors,
        "test_experts": TEST_EXPERTS,
        "by_pairs": {str(pairs): tested(imitator, pairs) for pairs in SHOWN},
        **{
            name: [round(x, 5) for x in params[name].reshape(-1).tolist()]
            for name in ("start", "step")
            if name in params
        },
    }


def tested(imitator: Imitator, pairs: int) -> dict[str, float]:
    """The error on experts that show so many pairs, and how far the answers lie from the posterior mean, squared.

    The error is the posterior mean's, which `oracles.imitation.conditioned_error` knows exactly, and that distance: the
    posterior mean's own error is at a right angle to whatever is computed from the demonstration.
    """
    expert = LinearExpert(pairs=pairs)
    mean, error = imitation_error(expert, imitator.imitate, TEST_EXPERTS, generator(TEST_SEED))
    gen = generator(TEST_SEED)
    x, y = expert.demonstrate(expert.sample(TEST_EXPERTS, gen), gen)
    apart = (imitator.imitate(x, y) - posterior_mean(x, y, expert.noise)).square().sum(-1).double()  # [N]
    names = ("error", "standard_error", "apart", "standard_error_apart")
    numbers = (mean, error, apart.mean().item(), apart.std().item() / TEST_EXPERTS**0.5)
    return {name: round(number, 5) for name, number in zip(names, numbers, strict=True)}


EXPERIMENTS: dict[str, Experiment] = {
    "imitation": Experiment(
        "Imitation of linear experts: no adaptation, a learned step (second, first order), a reader; ten seeds each",
        {
            f"{method}, seed {seed}": partial(imitation_run, method=method, seed=seed)
            for seed in range(10)
            for method in METHODS
        },
        ImitationConfig(),
    ),
}
