"""Pictures of beliefs: they draw the numbers they are given, and the same ones each time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metarl_lite.lesson import plot
from metarl_lite.lesson.plot import beliefs as plot_beliefs
from metarl_lite.oracles.bayes import bayes_optimal_two_arms

F64 = torch.float64


def test_a_walk_goes_up_with_a_win_and_right_with_a_loss() -> None:
    _, ax = plot.figure()
    plot_beliefs.lattice(ax, torch.tensor([[1, 1, 0], [0, 1, 0]]), ["a", "b"])
    walks = [line for line in ax.lines if len(np.asarray(line.get_xdata())) > 1]
    assert [line.get_label() for line in walks] == ["a", "b"]
    np.testing.assert_array_equal(np.asarray(walks[0].get_xydata()), [[0, 0], [0, 1], [0, 2], [1, 2]])
    np.testing.assert_array_equal(np.asarray(walks[1].get_xydata()), [[0, 0], [1, 0], [1, 1], [2, 1]])
    assert walks[0].get_linestyle() != walks[1].get_linestyle()


def test_the_lattice_has_every_belief_of_so_many_pulls_coloured_by_its_mean() -> None:
    _, ax = plot.figure()
    plot_beliefs.lattice(ax, torch.zeros(1, 5), ["losses only"])
    points = np.asarray(ax.collections[0].get_offsets())
    assert {tuple(point) for point in points} == {(x, y) for x in range(6) for y in range(6) if x + y <= 5}
    means = np.asarray(ax.collections[0].get_array())
    np.testing.assert_allclose(means, (points[:, 1] + 1) / (points.sum(1) + 2))
    assert all(float(tick).is_integer() for tick in ax.get_yticks())


def test_densities_are_those_of_the_beta_distribution() -> None:
    _, ax = plot.figure()
    wins, losses = torch.tensor([0.0, 3.0, 40.0]), torch.tensor([0.0, 1.0, 2.0])
    plot_beliefs.densities(ax, wins, losses, ["fresh", "good", "known"])
    assert [line.get_label() for line in ax.lines] == ["fresh", "good", "known"]
    for line, w, m in zip(ax.lines, wins.tolist(), losses.tolist(), strict=True):
        p = torch.as_tensor(np.asarray(line.get_xdata()), dtype=F64)
        beta = torch.distributions.Beta(torch.tensor(w + 1, dtype=F64), torch.tensor(m + 1, dtype=F64))
        np.testing.assert_allclose(np.asarray(line.get_ydata()), beta.log_prob(p).exp().numpy(), rtol=1e-9)


def test_worths_put_the_bonus_behind_the_mean() -> None:
    _, ax = plot.figure()
    plot_beliefs.worths(ax, torch.tensor([0.5, 0.6]), torch.tensor([0.2, 0.0]), ["arm 1", "arm 2"])
    mean, bonus = ax.containers
    assert [bar.get_width() for bar in mean] == pytest.approx([0.5, 0.6])
    assert [bar.get_x() for bar in bonus] == pytest.approx([0.5, 0.6])
    assert [bar.get_width() for bar in bonus] == pytest.approx([0.2, 0.0])
    assert {bar.get_hatch() for bar in bonus} == {"////"}
    assert [text.get_text().strip() for text in ax.texts] == ["0.700", "0.600"]
    assert mean[0].get_y() > mean[1].get_y()  # the first arm is on top


def cells(advantages: torch.Tensor) -> tuple[dict[tuple[int, int], str], set[tuple[int, int]]]:
    """The letters of a plan map by the wins of both arms, and the cells that are hatched."""
    _, ax = plot.figure()
    plot_beliefs.plan_map(ax, advantages)
    letters = {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in ax.texts}
    hatched = {(round(p.get_y() + 0.5), round(p.get_x() + 0.5)) for p in ax.patches if p.get_hatch()}
    return letters, hatched


def test_a_plan_map_names_the_better_arm_and_hatches_what_is_not_greedy() -> None:
    # Means of arm 1: 1/3 and 2/3. Of arm 2: 1/4, 1/2, 3/4.
    letters, hatched = cells(torch.tensor([[0.1, 0.1, 0.1], [0.1, -0.1, 0.0]]))
    assert letters == {(0, 0): "1", (0, 1): "1", (0, 2): "1", (1, 0): "1", (1, 1): "2", (1, 2): "="}
    assert hatched == {(0, 1), (0, 2), (1, 1)}


def test_ties_of_the_means_are_not_hatched_and_the_last_pull_is_greedy() -> None:
    assert not cells(torch.tensor([[0.0, 0.3], [-0.3, 0.0]]))[1] - {(0, 1), (1, 0)}
    assert not cells(torch.full((3, 3), 0.2).triu().tril())[1]
    last, longer = (bayes_optimal_two_arms(16 + left).advantages[2, 14] for left in (1, 30))
    assert not cells(last)[1]
    assert cells(longer)[1]


def test_one_label_is_enough_for_the_legend() -> None:
    fig, axes = plot.figure(columns=2)
    for ax in axes:
        plot_beliefs.plan_map(ax, bayes_optimal_two_arms(40).advantages[2, 8])
    plot.legend(fig)
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["the optimum is not greedy"]


def test_the_same_figure_gives_the_same_picture() -> None:
    pictures = []
    for _ in range(2):
        fig, axes = plot.figure(columns=2, rows=2)
        plot_beliefs.lattice(axes[0], torch.tensor([[1, 0, 1]]), ["a"])
        plot_beliefs.densities(axes[1], [1, 2], [0, 5])
        plot_beliefs.worths(axes[2], [0.5], [0.1], ["arm"])
        plot_beliefs.plan_map(axes[3], [[0.1, -0.1], [0.1, 0.1]])
        pictures.append(plot.render(fig).tobytes())
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize("labels", [[], ["a", "b"]])
def test_a_walk_without_a_name_is_refused(labels: list[str]) -> None:
    _, ax = plot.figure()
    with pytest.raises(ValueError, match="zip"):
        plot_beliefs.lattice(ax, torch.ones(1, 3), labels)
