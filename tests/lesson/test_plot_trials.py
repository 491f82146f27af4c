"""Pictures of a search and of differences: what is drawn is where it should be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metarl_lite.lesson import plot
from metarl_lite.lesson.plot import trials as plot_trials
from metarl_lite.oracles.grid import along, gridnavi_optimal_path, search_grid
from metarl_lite.policies.gru import GRUPolicy
from metarl_lite.rng import generator
from metarl_lite.rollout import trial
from metarl_lite.tasks import GridGoal

GOAL = torch.tensor([4, 2])
CELLS = search_grid(GridGoal(), {"goal": GOAL[None]}, along(gridnavi_optimal_path()), 4, generator(0))[0][0]


def test_cells_are_read_off_what_an_agent_saw() -> None:
    tasks, gen = GridGoal(4, horizon=5), generator(1)
    policy = GRUPolicy.for_tasks(tasks, gen, hidden=3)
    batch = trial(tasks, policy, policy.params(), tasks.sample(3, gen), 2, gen)
    cells = plot_trials.visited(batch, 4)
    for n in range(3):
        for e in range(2):
            at = torch.zeros(2, dtype=torch.long)
            for t in range(5):
                at = (at + tasks.moves[batch.actions[n, e, t]]).clamp(0, 3)
                assert torch.equal(cells[n, e, t], at)


def drawn(moves: int) -> plot.Axes:
    _, ax = plot.figure()
    plot_trials.search(ax, CELLS, GOAL, 5, moves, "title")
    return ax


def test_a_search_begins_in_the_corner_with_the_goal_unknown() -> None:
    ax = drawn(0)
    star, _, _, agent = ax.lines
    assert [*star.get_xdata(), *star.get_ydata()] == [4, 2]
    assert star.get_markerfacecolor() == "white"
    assert [*agent.get_xdata(), *agent.get_ydata()] == [0, 0]
    assert ax.get_xlabel() == "episode 1, step 0"
    assert ax.get_title() == "title"
    assert np.isfinite(ax.images[0].get_array().filled(np.nan)).sum() == 1


@pytest.mark.parametrize("moves", [1, 14, 15, 16, 20, 21, 30, 31, 60])
def test_a_search_shows_where_the_agent_is_and_where_it_has_been(moves: int) -> None:
    ax, walked = drawn(moves), [tuple(cell) for cell in CELLS.reshape(-1, 2)[:moves].tolist()]
    episode, step = (moves - 1) // 15, (moves - 1) % 15 + 1
    star, way, _, agent = ax.lines
    assert (agent.get_xdata()[0], agent.get_ydata()[0]) == walked[-1]
    assert list(zip(way.get_xdata(), way.get_ydata(), strict=True)) == [(0, 0), *walked[episode * 15 :]]
    found = (4, 2) in walked
    assert (star.get_markerfacecolor() != "white") == found
    assert ax.get_xlabel() == f"episode {episode + 1}, step {step}" + (", found" if found else "")
    shades = ax.images[0].get_array().filled(np.nan)
    assert {(c, r) for r, c in zip(*np.isfinite(shades).nonzero(), strict=True)} == {(0, 0), *walked}
    this_episode = {(0, 0), *walked[episode * 15 :]}
    assert {(c, r) for r, c in zip(*(shades == 0).nonzero(), strict=True)} == this_episode
    assert np.nanmin(shades) >= -episode


@pytest.mark.parametrize("moves", [-1, 61])
def test_moves_that_were_not_made_are_refused(moves: int) -> None:
    with pytest.raises(ValueError, match=rf"moves = {moves}: from 0 to 60"):
        drawn(moves)


def test_differences_stand_beside_each_other_with_two_errors_to_either_side() -> None:
    fig, ax = plot.figure()
    plot_trials.differences(
        ax, ["first", "second", "third"], [(1.0, 0.5), (2.0, 0.25), None], [(1.5, 0.1), None, (0.0, 1.0)]
    )
    assert [text.get_text() for text in ax.get_yticklabels()] == ["first", "second", "third"]
    published, ours = ax.containers
    assert published.get_label() == "published"
    assert ours.get_label() == "ours"
    ends = [segment[:, 0].tolist() for segment in published[2][0].get_segments()]
    assert ends == [[0.0, 2.0], [1.5, 2.5]]
    bars = np.asarray(ours[2][0].get_segments())  # [2, 2 ends, (x, y)]
    assert bars[..., 0] == pytest.approx(np.asarray([[1.3, 1.7], [-2.0, 2.0]]))
    assert bars[..., 1] == pytest.approx(np.asarray([[1.84, 1.84], [-0.16, -0.16]]))
    (text,) = ax.texts
    assert text.get_text() == "ours not yet recorded"
    assert text.get_position()[1] == pytest.approx(0.84)
    assert plot.render(fig).width > 100


def test_differences_without_any_of_ours_have_no_entry_for_them() -> None:
    _, ax = plot.figure()
    plot_trials.differences(ax, ["one"], [(1.0, 0.5)], [None])
    assert ax.get_legend_handles_labels()[1] == ["published"]
