"""Two problems small enough that the meta-gradient can be written down, and a way to measure it on any other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..given import check_callable, described, number
from ..types import Params


def quadratic_meta_gradient(
    theta: Tensor, matrices: Tensor, centres: Tensor, lr: float, steps: int = 1
) -> Tensor:
    r"""The meta-gradient of quadratic tasks after any number of gradient steps, `[D]`.

    With $L_i(\theta) = \frac12 (\theta - c_i)^\top A_i (\theta - c_i)$ every step multiplies the offset from the
    centre by $I - \alpha A_i$, so

    $$ \nabla_\theta \frac1N \sum_i L_i(\phi_i)
       = \frac1N \sum_i (I - \alpha A_i)^{k} A_i (I - \alpha A_i)^{k} (\theta - c_i) . $$

    Args:
        theta: the initialisation, `[D]`.
        matrices: symmetric A, `[N, D, D]`.
        centres: c, `[N, D]`.
        lr: alpha.
        steps: k.
    """
    # [N, D, D]
    shrink = torch.linalg.matrix_power(
        torch.eye(len(theta), dtype=theta.dtype) - lr * matrices, steps
    )
    offset = (theta - centres).unsqueeze(-1)  # [N, D, 1]
    gradients: Tensor = shrink @ matrices @ shrink @ offset  # [N, D, 1]
    return gradients.squeeze(-1).mean(0)


def bandit_meta_gradient(theta: float, weight: float, lr: float) -> tuple[float, float]:
    r"""The objective and meta-gradient of a one-parameter bandit whose inner step is the exact policy gradient.

    The policy pulls arm 1 with probability $p = \sigma(\theta)$. With probability w the task pays 1 for arm 1, else for
    arm 0, so the expected reward is $J_1(\theta) = p$ or $J_0(\theta) = 1 - p$, and one step of ascent goes to
    $\phi_{1,0} = \theta \pm \alpha\, p (1 - p)$. With $\sigma'(x) = \sigma(x)(1 - \sigma(x))$ and
    $\sigma''(\theta) = \sigma'(\theta)\,(1 - 2p)$:

    $$ J(\theta) = w\, \sigma(\phi_1) + (1 - w)\,(1 - \sigma(\phi_0)), $$
    $$ J'(\theta) = w\, \sigma'(\phi_1)\,(1 + \alpha \sigma''(\theta))
       - (1 - w)\, \sigma'(\phi_0)\,(1 - \alpha \sigma''(\theta)) . $$

    Args:
        theta: the initialisation.
        weight: w.
        lr: alpha.

    Returns:
        J and its derivative.
    """
    x = torch.tensor(theta, dtype=torch.float64)
    p = x.sigmoid()
    first, second = p * (1 - p), p * (1 - p) * (1 - 2 * p)
    up, down = (x + lr * first).sigmoid(), (x - lr * first).sigmoid()
    objective = weight * up + (1 - weight) * (1 - down)
    slope = weight * up * (1 - up) * (1 + lr * second) - (1 - weight) * down * (
        1 - down
    ) * (1 - lr * second)
    return objective.item(), slope.item()


@torch.inference_mode(False)  # gradients are on, wherever this is called
def finite_differences(
    function: Callable[[Params], Tensor], params: Params, step: float = 1e-5
) -> Params:
    r"""The gradient of any function of parameters, measured entry by entry; it knows nothing of graphs.

    $$ \frac{\partial f}{\partial \theta_j} \approx \frac{f(\theta + h e_j) - f(\theta - h e_j)}{2h} $$

    The error is of order $h^2$ from the formula and of order $\varepsilon / h$ from rounding: use float64. The function
    is called twice for each number in `params`, so keep those few.

    Args:
        function: maps parameters to a single number; it may itself take gradients with respect to them.
        params: where to measure; not changed.
        step: h.

    Returns:
        The slopes, shaped like `params`.
    """
    check_callable("params", function=function)
    slopes = {
        name: torch.zeros_like(p, requires_grad=False) for name, p in params.items()
    }
    for name, slope in slopes.items():
        for place in range(slope.numel()):
            ends = []
            for sign in (1, -1):
                moved = {other: p.detach().clone() for other, p in params.items()}
                moved[name].view(-1)[place] += sign * step
                value = function({n: p.requires_grad_() for n, p in moved.items()})
                ends.append(_one(value))
            slope.view(-1)[place] = (ends[0] - ends[1]) / (2 * step)
    return slopes


def _one(value: Any) -> float:
    found = number(value)
    if found is None:
        raise ValueError(
            f"function gave {described(value)}: a single number is needed, such as the "
            "mean loss of all tasks."
        )
    return found
