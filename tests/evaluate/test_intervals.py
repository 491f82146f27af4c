"""Every option of the intervals is used: against the same draws, done by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from metarl_lite.evaluate.intervals import bootstrap_interval, iqm, t_interval, t_quantile
from metarl_lite.rng import generator, normal

F64 = torch.float64
SCORES = normal((7, 4), generator(0), F64) + torch.arange(7, dtype=F64).unsqueeze(1) ** 2


def drawn_means(resamples: int, gen: torch.Generator) -> Tensor:
    """Means over the tasks of seeds drawn again, `[resamples, 7]`."""
    return SCORES.mean(1)[torch.randint(7, (resamples, 7), generator=gen)]


def test_the_bootstrap_if_nothing_is_said() -> None:
    """The IQM of 2000 draws of whole seeds, and the middle 95 % of them."""
    drawn = torch.stack([iqm(row) for row in drawn_means(2000, generator(1))])
    found = torch.stack(bootstrap_interval(SCORES, generator(1)))
    torch.testing.assert_close(found, drawn.quantile(torch.tensor([0.025, 0.975], dtype=F64)), rtol=1e-9, atol=1e-9)
    given = bootstrap_interval(SCORES, generator(1), iqm, 0.95, 2000, False)
    torch.testing.assert_close(torch.stack(given), found, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("resamples", [50, 300])
def test_every_option_of_the_bootstrap(level: float, resamples: int) -> None:
    sizes = []

    def largest(means: Tensor) -> Tensor:
        sizes.append(tuple(means.shape))
        return means.amax(-1)

    found = bootstrap_interval(SCORES, generator(1), largest, level, resamples)
    drawn = drawn_means(resamples, generator(1)).amax(1)
    expected = [drawn.quantile((1 - level) / 2), drawn.quantile((1 + level) / 2)]
    torch.testing.assert_close(torch.stack(found), torch.stack(expected), rtol=1e-9, atol=1e-9)
    assert sizes == [(resamples, 7)]


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
def test_students_interval_has_its_level_on_both_sides(level: float) -> None:
    means = SCORES.mean(1)
    spread = math.sqrt(((means - means.mean()) ** 2).sum().item() / 6)
    half = t_quantile((1 + level) / 2, 6) * spread / math.sqrt(7)
    low, high = t_interval(SCORES, level)
    assert low.item() == pytest.approx(means.mean().item() - half)
    assert high.item() == pytest.approx(means.mean().item() + half)
    if level == 0.95:  # what it is if nothing is said
        torch.testing.assert_close(torch.stack(t_interval(SCORES)), torch.stack([low, high]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_students_interval_covers_a_normal_mean_as_often_as_it_says(level: float) -> None:
    """Exact for normal seeds: of 4000 tables the share is off by chance alone, and 90 % do not pass for 95 %."""
    gen, held, count = generator(3), 0, 4000
    for seeds in normal((count, 5), gen, F64):
        low, high = t_interval(seeds, level)
        held += bool(low <= 0 <= high)
    assert abs(held / count - level) < 4 * math.sqrt(level * (1 - level) / count)


@pytest.mark.parametrize("tasks_too", [False, True])
def test_more_resamples_than_fit_are_refused(tasks_too: bool) -> None:
    with pytest.raises(ValueError, match=r"to draw 1000000000000 resamples needs about .* GB .*resamples=2000"):
        bootstrap_interval(torch.rand(3, 2), generator(0), resamples=10**12, tasks_too=tasks_too)
