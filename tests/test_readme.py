"""What the README shows runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import torch

README = Path(__file__).parents[1] / "README.md"


def test_the_code_of_the_readme_runs_and_fills_the_gradient_of_the_initialisation() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    theta = names["theta"]
    assert isinstance(theta, dict)
    assert all(isinstance(p.grad, torch.Tensor) and (p.grad != 0).any() for p in theta.values())
