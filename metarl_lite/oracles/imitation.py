r"""What imitating a linear expert can cost: exact squared errors of four ways to learn from n shown pairs.

$$ k \sim \mathcal N(0, I_d), \qquad x \sim \mathcal N(0, I_d), \qquad y = k^\top x + \sigma \varepsilon $$

An expert k shows n pairs (x, y). Whoever answers $\hat k$ is wrong by $\mathbb E \lVert \hat k - k \rVert^2$, and that
is also by how much its squared error on a new x exceeds the noise.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..given import check_shape, counts, described, real
from ..rng import check_generator, normal

#: Eigenvalues at most: with more of them float64 loses the digits of
#: `conditioned_error`.
MOST = 8


def agnostic_error(d: int) -> float:
    r"""Who ignores what is shown does best with 0, and is wrong by $\mathbb E \lVert k \rVert^2 = d$."""
    (d,) = counts(d=d)
    return float(d)


def step_error(alpha: float, d: int, n: int, sigma: float) -> float:
    r"""The error after one gradient step from 0 on half the mean squared error of the n pairs.

    $$ \hat k = \frac{\alpha}{n} X^\top y, \qquad
       \mathbb E \lVert \hat k - k \rVert^2 = d \left( \alpha^2 \Big(1 + \frac{d + 1}{n}\Big) - 2 \alpha + 1 \right)
       + \frac{\alpha^2 \sigma^2 d}{n} $$

    since $\mathbb E (X^\top X / n)^2 = (1 + (d + 1) / n)\, I$ for normal x.

    Args:
        alpha: the size of the step.
        d: coordinates of x.
        n: pairs shown.
        sigma: standard deviation of the expert's noise.

    Raises:
        ValueError: if d or n is no positive integer, sigma is negative, or alpha is not finite.
    """
    d, n, sigma = _checked(d, n, sigma)
    if not math.isfinite(real(alpha)):
        raise ValueError(
            f"alpha = {alpha!r}: a finite number is needed, such as alpha=0.5."
        )
    alpha = real(alpha)
    spread = alpha**2 * (1 + (d + 1) / n) - 2 * alpha + 1
    return d * spread + alpha**2 * sigma**2 * d / n


def best_step(d: int, n: int, sigma: float) -> float:
    r"""The step size of least `step_error`; there the error is $d (1 - \alpha)$.

    $$ \alpha^* = \frac{n}{n + d + 1 + \sigma^2} $$

    Raises:
        ValueError: if d or n is no positive integer, or sigma is negative.
    """
    d, n, sigma = _checked(d, n, sigma)
    return n / (n + d + 1 + sigma**2)


def cloning_error(d: int, n: int, sigma: float) -> float:
    r"""The error of least squares on the n pairs alone, without any experience of other experts.

    $$ \mathbb E \lVert \hat k - k \rVert^2 = \sigma^2\, \mathbb E \operatorname{tr} (X^\top X)^{-1}
       = \frac{\sigma^2 d}{n - d - 1} \quad (n \ge d + 2), \qquad \infty \quad (n = d, d + 1) $$

    The mean is that of an inverse Wishart matrix. At n = d and d + 1 it is infinite though every single error is
    finite, and so is their median: see `cloning_samples`. Without noise the pairs tell k: the error is 0.

    Raises:
        ValueError: if n < d, where least squares has many solutions, or another number is not allowed.
    """
    d, n, sigma = _checked(d, n, sigma)
    _check_enough(d, n)
    if sigma == 0:
        return 0.0
    return sigma**2 * d / (n - d - 1) if n >= d + 2 else math.inf


def cloning_samples(
    d: int, n: int, sigma: float, num: int, gen: torch.Generator
) -> Tensor:
    r"""Errors of least squares for drawn x, averaged over the noise in closed form: `[num]`, in float64.

    $$ \sigma^2 \operatorname{tr} (X^\top X)^{-1} $$

    Where `cloning_error` is infinite their median still says what is typical.

    Raises:
        ValueError: if n < d, or a number is not allowed.
    """
    d, n, sigma = _checked(d, n, sigma)
    _check_enough(d, n)
    (num,) = counts(num=num)
    check_generator(gen)
    x = normal((num, n, d), gen, torch.float64)
    singular = torch.linalg.svdvals(x)  # [num, d]
    errors: Tensor = sigma**2 * (singular**-2).sum(-1)
    return errors


def posterior_mean(x: Tensor, y: Tensor, sigma: float) -> Tensor:
    r"""The best answer of all, to pairs `[N, n, d]` and `[N, n]`: the mean of k given them, `[N, d]`.

    $$ \mathbb E[k \mid X, y] = (X^\top X + \sigma^2 I)^{-1} X^\top y $$

    Raises:
        ValueError: if the shapes do not fit, or sigma is not positive.
    """
    if not isinstance(x, Tensor) or x.ndim != 3:
        raise ValueError(
            f"x: a tensor [N, n, d] is needed here, not {described(x)}: of one task, "
            "x.unsqueeze(0)."
        )
    check_shape(x.shape[:2], y=y)
    if not 0 < real(sigma) < math.inf:
        raise ValueError(
            f"sigma = {sigma!r}: a positive number is needed, such as sigma=0.5; "
            "without noise the answer is least squares."
        )
    eye = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    found: Tensor = torch.linalg.solve(
        x.mT @ x + sigma**2 * eye, (x.mT @ y.unsqueeze(-1)).squeeze(-1)
    )
    return found


def conditioned_error(d: int, n: int, sigma: float) -> float:
    r"""The least error of all, that of `posterior_mean`, to about nine digits.

    $$ \mathbb E \operatorname{tr} \Big( I + \frac{X^\top X}{\sigma^2} \Big)^{-1}
       = \lvert d - n \rvert^+ + \mathbb E \sum_{i=1}^{m} \frac{\sigma^2}{\sigma^2 + \lambda_i} $$

    with m = min(n, d) eigenvalues that are not 0 and d - n that are, where n < d. With M = max(n, d) their density is
    $\prod_i w(\lambda_i) \prod_{i<j} \lvert \lambda_i - \lambda_j \rvert$, up to a factor, with
    $w(\lambda) = \lambda^{(M-m-1)/2} e^{-\lambda/2}$.
    By de Bruijn's formula its integral is the Pfaffian of

    $$ A_{ij} = \int\!\!\int \operatorname{sgn}(\mu - \lambda)\, \lambda^i \mu^j\, w(\lambda) w(\mu)\,
       d\lambda\, d\mu $$

    and with w times $1 + t g$ in place of w, the derivative of its logarithm at t = 0 is the mean of
    $\sum_i g(\lambda_i)$: $\tfrac12 \operatorname{tr} A^{-1} A'$.

    Raises:
        ValueError: if a number is not allowed, or there are more than 8 eigenvalues that are not 0.

    Source: de Bruijn (1955), "On some multiple integrals involving determinants", section 4.
    """
    d, n, sigma = _checked(d, n, sigma)
    few, many = min(d, n), max(d, n)
    if few > MOST:
        raise ValueError(
            f"d = {d} and n = {n}: this is exact for at most {MOST} eigenvalues that "
            f"are not 0, d or n up to {MOST}; for more, average posterior_mean's "
            "errors over draws."
        )
    matrix, moved = _pfaffian_pair(few, many, sigma)
    mean = torch.linalg.solve(matrix, moved).trace().item() / 2
    return max(d - n, 0) + float(mean)


def _pfaffian_pair(few: int, many: int, sigma: float) -> tuple[Tensor, Tensor]:
    r"""de Bruijn's matrix A and its derivative A' for $g(\lambda) = \sigma^2 / (\sigma^2 + \lambda)$.

    Any basis of polynomials gives the same mean; Laguerre's, orthogonal under $w$, keep the digits. With
    $F_i(\mu)$ the integral of $p_i w$ up to $\mu$, one integral is left:
    $A_{ij} = \int p_j w\, (2 F_i - F_i(\infty))\, d\mu$. Where m is odd, both matrices get one more row: the
    integrals of $p_i w$.
    """
    a = (many - few - 1) / 2
    x, weights = _nodes(few, many)  # halves of eigenvalues
    weight = (a * x.log() - x - math.lgamma(a + 1)).exp()  # w, of integral 1
    steps = torch.arange(1, few, dtype=torch.float64)
    norms = torch.cat([x.new_ones(1), (1 + a / steps).cumprod(0)]).sqrt()[:, None]
    density = laguerre(few, a, x) / norms * weight * weights  # [m, B]
    below = x * weight * laguerre(few - 1, a + 1, x) / steps[:, None] / norms[1:]
    first = 2 * torch.special.gammainc(x.new_tensor(a + 1), x) - 1  # [B]
    signs = torch.cat([first[None], 2 * below])  # [m, B]
    g = sigma**2 / (sigma**2 + 2 * x)
    matrix, half = signs @ density.T, signs @ (g * density).T  # [m, m]
    matrix, moved = (matrix - matrix.T) / 2, half - half.T
    if few % 2 == 0:
        return matrix, moved
    return (
        _bordered(matrix, density.sum(-1)),
        _bordered(moved, (g * density).sum(-1)),
    )


def laguerre(count: int, a: float, x: Tensor) -> Tensor:
    r"""The first polynomials orthogonal under $x^a e^{-x}$, `[count, B]` at points `[B]`.

    $$ (i + 1) L_{i+1} = (2 i + 1 + a - x) L_i - (i + a) L_{i-1}, \qquad L_0 = 1 $$

    $\int_0^x s^a e^{-s} L_i^{(a)}\, ds = x^{a+1} e^{-x} L_{i-1}^{(a+1)}(x) / i$ for i > 0.

    Source: Abramowitz and Stegun (1964), 22.7.12 and 22.11.6.
    """
    rows, before = [torch.ones_like(x)], torch.zeros_like(x)
    for i in range(count - 1):
        new = ((2 * i + 1 + a - x) * rows[-1] - (i + a) * before) / (i + 1)
        before = rows[-1]
        rows.append(new)
    return torch.stack(rows[:count]) if count else x.new_zeros(0, len(x))


def _bordered(matrix: Tensor, column: Tensor) -> Tensor:
    """An antisymmetric matrix with one more column, and minus that as one more row."""
    corner = column.new_zeros(1, 1)
    upper = torch.cat([matrix, column[:, None]], 1)
    lower = torch.cat([-column[None], corner], 1)
    return torch.cat([upper, lower], 0)


def _nodes(few: int, many: int, count: int = 10000) -> tuple[Tensor, Tensor]:
    r"""Points and weights for an integral over eigenvalues: the midpoint rule in s, $\lambda = e^s$.

    The integrand is smooth in s and vanishes at both ends, so the error falls faster than any power of the distance.
    """
    high = math.log(4 * (many + few) + 75)
    line = torch.linspace(-90.0, high, count, dtype=torch.float64)
    points = line.exp()
    return points, points * (line[1] - line[0])


def _checked(d: int, n: int, sigma: float) -> tuple[int, int, float]:
    """The numbers of an expert as Python's own."""
    d, n = counts(d=d, n=n)
    if not 0 <= real(sigma) < math.inf:
        raise ValueError(
            f"sigma = {sigma!r}: a standard deviation is needed, 0 or more, such as "
            "sigma=0.5."
        )
    return d, n, real(sigma)


def _check_enough(d: int, n: int) -> None:
    """Refuses fewer pairs than unknowns."""
    if n < d:
        raise ValueError(
            f"n = {n}, d = {d}: fewer pairs than unknowns leave least squares many "
            f"solutions; show at least n={d} pairs, or ask conditioned_error."
        )
