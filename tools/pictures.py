"""Draws the README's picture, the title page's film, and what a shared link shows: `python -m tools.pictures`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metarl_lite.algorithms.configs import MAMLConfig
from metarl_lite.algorithms.inner import adapt
from metarl_lite.algorithms.maml import maml
from metarl_lite.evaluate.intervals import bootstrap_interval, iqm
from metarl_lite.lesson import plot
from metarl_lite.lesson.page import player
from metarl_lite.losses import policy_gradient
from metarl_lite.oracles.navigation import standing_still_return
from metarl_lite.policies.base import tile
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.records.results import recorded
from metarl_lite.returns import with_advantages
from metarl_lite.rng import generator
from metarl_lite.rollout import rollout
from metarl_lite.tasks import PointGoal

IMAGES = Path(__file__).parents[1] / "book" / "images"
STATIC = IMAGES.parent / "static"
GOALS = torch.tensor([[0.4, 0.35], [-0.4, 0.3], [-0.3, -0.4], [0.45, -0.2]])
ALT = (
    "Film. Left, before adaptation, four agents with the same initialisation wander about the origin. Right, after one "
    "gradient step each, from twenty episodes on its own goal, each walks towards its own goal and stays near it."
)


def paths() -> tuple[Tensor, Tensor]:
    """Positions `[4, E, T, 2]` before and after one step, by an initialisation trained for 100 iterations."""
    tasks, config, gen = PointGoal(), MAMLConfig(), generator(0)
    policy, _ = maml(tasks, MLPPolicy.for_tasks(tasks, gen), config, gen)
    params, task = tile(policy.params(), len(GOALS)), {"goal": GOALS}
    before = rollout(tasks, policy, params, task, config.episodes, gen)
    support = with_advantages(before, config.discount, config.gae_lambda, config.normalise)
    params = adapt(policy, params, support, policy_gradient, config.inner_lr)
    return before.observations, rollout(tasks, policy, params, task, config.episodes, gen).observations


def film(before: Tensor, after: Tensor) -> str:
    """The title page's player."""
    fig, axes = plot.figure(7.0, 3.8, columns=2)
    frames = []
    for t in range(0, 41):
        for ax, positions, title in zip(axes, (before, after), ("before", "after one gradient step"), strict=True):
            ax.clear()
            for role, (goal, path) in enumerate(zip(GOALS, positions[:, 0], strict=True)):
                plot.trajectories(ax, path[: t + 1], goal, role=role)
            ax.set(title=title, xticks=[-0.5, 0, 0.5], yticks=[-0.5, 0, 0.5])
        frames.append(plot.render(fig, plot.CSS_PIXELS))
    return player(frames, ALT, 90, 700, still=-1)


def still(before: Tensor, after: Tensor) -> Any:
    """The README's picture: paths before and after, and the recorded learning curve."""
    fig, axes = plot.figure(10.0, 3.7, columns=3, width_ratios=(1, 1, 1.35))
    for ax, positions, title in zip(
        axes, (before, after), ("Before adaptation", "After one gradient step"), strict=False
    ):
        for role, (goal, path) in enumerate(zip(GOALS, positions[:, :2, :40], strict=True)):
            plot.trajectories(ax, path, goal, role=role)
        ax.set(title=title, xticks=[-0.5, 0, 0.5], yticks=[-0.5, 0, 0.5])
    runs = list(recorded("maml-navigation")["runs"].values())
    curves = torch.tensor([[point[-1] for point in run["test_returns"]] for run in runs])  # [S, points]
    ends = [bootstrap_interval(column, generator(0)) for column in curves.T]
    low, high = zip(*ends, strict=True)
    plot.curve(axes[2], runs[0]["iterations"], iqm(curves, 0), "after one step", low, high, role="adapted")
    plot.reference(axes[2], standing_still_return(), "standing still -38.26", role="chance")
    plot.reference(axes[2], -0.51, "goal known -0.51", role="oracle")
    axes[2].set(
        ylim=(-60, 3), xlabel="meta-iteration", ylabel="return after one step", title="100 unseen goals, ten seeds"
    )
    return plot.render(fig)


def social(before: Tensor, after: Tensor) -> Any:
    """The picture beside a link that somebody shares, 1200 by 630 pixels."""
    fig, axes = plot.figure(12.0, 6.3, columns=2)
    for ax, positions, title in zip(axes, (before, after), ("before", "after one gradient step"), strict=True):
        for role, (goal, path) in enumerate(zip(GOALS, positions[:, :2, :40], strict=True)):
            plot.trajectories(ax, path, goal, role=role)
        ax.set(xticks=[], yticks=[])
        ax.set_title(title, fontsize=24)
    fig.suptitle("Meta-Reinforcement Learning, Step by Step", fontsize=30, fontweight="bold")
    return plot.render(fig, 100)


def main() -> None:
    """Writes the three files."""
    torch.set_num_threads(1)
    before, after = paths()
    IMAGES.joinpath("adaptation.html").write_text(film(before, after) + "\n", encoding="utf-8")
    still(before, after).quantize(128).save(IMAGES / "readme.png", optimize=True)
    social(before, after).quantize(128).save(STATIC / "social.png", optimize=True)


if __name__ == "__main__":
    main()
