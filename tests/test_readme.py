"""What the README shows runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import torch

README = Path(__file__).parents[1] / "README.md"


def left_by(word: str) -> dict[str, object]:
    """The names that the block of code with a word in it leaves behind."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (code,) = (block for block in blocks if word in block)
    names: dict[str, object] = {}
    exec(code, names)
    return names


def test_the_recorded_agent_of_the_readme_has_learned_where_the_goal_is() -> None:
    """Its fourth episode ends on the goal, which alone pays 1."""
    names = left_by("player(")
    assert names["episode"] == 3
    assert names["reward"] == 1.0


def test_the_agent_of_the_readme_adapts_to_a_task_of_the_reader() -> None:
    """It searches once: every later episode earns more than the first."""
    returns = left_by("returns_by_episode(")["returns"]
    assert isinstance(returns, torch.Tensor)
    assert returns.shape == (1, 1, 4)
    assert (returns[0, 0, 1:] > returns[0, 0, 0]).all()


def test_the_code_of_the_readme_runs_and_fills_the_gradient_of_the_initialisation() -> None:
    theta = left_by("policy_gradient(")["theta"]
    assert isinstance(theta, dict)
    assert all(isinstance(p.grad, torch.Tensor) and (p.grad != 0).any() for p in theta.values())
