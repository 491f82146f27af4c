"""The Gittins index of a Bernoulli arm: what pulling it is worth when the future is long and discounted."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from ..given import counts, real
from .bandits import Rule

F64 = torch.float64
Numbers = Tensor | Sequence[float] | float


def gittins_index(alpha: Numbers, beta: Numbers, discount: float) -> Tensor:
    r"""The Gittins index of an arm whose success probability is believed to be Beta(alpha, beta), float64, `[...]`.

    It is the best ratio of discounted reward to discounted time that any stopping time $\tau$ earns on the arm,

    $$ \nu(\alpha, \beta) = \max_{\tau \ge 1}
       \frac{\mathbb E \sum_{t < \tau} \gamma^t r_t}{\mathbb E \sum_{t < \tau} \gamma^t} , $$

    and pulling the arm of highest index maximises the discounted reward of any number of independent arms. The ratio
    is found by raising a charge per pull: while the best stopping rule still gains something after charges, its ratio
    is a better charge. The charge rises to the index and stops there after a few rounds.

    Truncation: after N pulls the arm is kept for ever or left for ever, as its mean then says. So every ratio is
    that of a true stopping rule and the result is at most the index. It misses the index by less than

    $$ \frac{\gamma^N}{1 - \gamma}\, \frac{1}{4 \sqrt{\alpha + \beta + N + 1}}
       \le \frac{10^{-6}}{\sqrt{\alpha + \beta + N + 1}} , \qquad
       N = \Big\lceil \frac{\ln(4 \cdot 10^{-6} (1 - \gamma))}{\ln \gamma} \Big\rceil , $$

    since knowing p from then on would add at most half its mean absolute deviation per pull, and since a charge
    raised by x costs at least x. N is 1695 for a discount of .99 and 19328 for .999, and the work grows as its power
    3/2.

    Args:
        alpha: successes plus the prior's, positive; broadcasts with `beta`, so a whole table is one call.
        beta: failures plus the prior's, positive.
        discount: gamma, at least 0 and below 1. At 0 the index is the mean.

    Raises:
        ValueError: if a number is out of its range or the shapes do not broadcast.

    Source: Gittins (1979); the charge is Weber's (1992); the rising ratio is Dinkelbach's (1967).
    """
    a, b = _parameters(alpha, beta)
    _check_discount(discount)
    columns = a.reshape(-1, 1), b.reshape(-1, 1)
    chunks = zip(*(torch.split(column, 64) for column in columns), strict=True)
    found = [_rising_charge(x, y, discount) for x, y in chunks]
    return torch.cat(found).reshape(a.shape) if found else a.clone()


def _rising_charge(alpha: Tensor, beta: Tensor, discount: float) -> Tensor:
    """The index of every arm of a column `[B, 1]`; looks a little ahead first, which is cheap, and then all the way."""
    steps, excess = _look_ahead(discount), torch.zeros_like(alpha)  # above the mean
    for ahead in (math.ceil(steps / 16), math.ceil(steps / 4), steps):
        rise = excess + 1
        while (rise > 1e-7).any():
            rounds = keep_pulling_all(alpha, beta, excess, discount, ahead)
            *_, (_, wins, gain, time) = rounds
            now = (wins == 0).long().argmax(1, keepdim=True)
            rise = gain.gather(1, now) / time.gather(1, now)
            excess = excess + rise
    return alpha / (alpha + beta) + excess


def keep_pulling(
    alpha: float, beta: float, charge: float, discount: float, steps: int
) -> tuple[float, float]:
    r"""What one more pull, and then the best stopping rule, gains from an arm that charges for each pull.

    $$ G_t(w) = \mu_t(w) - c + \gamma\, \mathbb E\, G_{t+1}^{+}, \qquad
       D_t(w) = 1 + \gamma\, \mathbb E \big[ D_{t+1} \mathbf 1_{G_{t+1} > 0} \big], \qquad
       \mu_t(w) = \frac{\alpha + w}{\alpha + \beta + t} $$

    backwards from t = steps, where the arm is kept for ever or left for ever. G is the gain after charges and D the
    expected discounted number of pulls, so c + G / D is the ratio of reward to time of that stopping rule.
    `keep_pulling_all` does the same for many arms at once and visits only the wins that matter.

    Args:
        alpha: successes plus the prior's.
        beta: failures plus the prior's.
        charge: c, for each pull.
        discount: gamma.
        steps: how many pulls are looked ahead, at least 1.

    Returns:
        G and D now, after no further pull.
    """
    forever = 1 / (1 - discount)
    wins = torch.arange(steps + 1, dtype=F64)
    mean = (alpha + wins) / (alpha + beta + steps)
    kept = mean > charge
    gain, time = (mean - charge) * kept * forever, kept * forever  # G+, and D if kept
    for t in reversed(range(steps)):
        mean = (alpha + wins[: t + 1]) / (alpha + beta + t)  # [t + 1]
        after_win, after_loss = mean * gain[1:], (1 - mean) * gain[:-1]
        pull = mean - charge + discount * (after_win + after_loss)  # G
        spent = 1 + discount * (mean * time[1:] + (1 - mean) * time[:-1])  # D
        gain, time = pull.clamp(min=0), spent * (pull > 0)
    return pull.item(), spent.item()


def keep_pulling_all(
    alpha: Tensor, beta: Tensor, excess: Tensor, discount: float, steps: int
) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
    """`keep_pulling` for B arms at once, and for all t, in a window of wins that moves with the charge.

    Only wins near the point where the mean equals the charge are visited: 6 standard deviations away, an arm is kept
    or left for good, which changes the result by less than 1e-7.

    Args:
        alpha: successes plus the prior's, `[B, 1]`.
        beta: failures plus the prior's, `[B, 1]`.
        excess: the charge c minus the mean alpha / (alpha + beta), `[B, 1]`.
        discount: gamma.
        steps: how many pulls are looked ahead.

    Yields:
        For t = steps - 1, ..., 0: t, the wins `[B, W]` in these t pulls, G `[B, W]` and D `[B, W]`. Numbers of wins
        below 0 or above t are there to fill the window, and mean nothing.
    """
    size, forever = alpha + beta, 1 / (1 - discount)
    charge = alpha / size + excess
    half = min(math.ceil(3 * math.sqrt(size.max().item() + steps)), steps + 1)
    window = torch.arange(-half, half + 2, dtype=F64)  # one more, where a win leads to

    def middle(t: int) -> Tensor:
        """Wins at which the mean is the charge."""
        return (excess * size + charge * t).floor()

    surplus = (alpha + middle(steps) + window) / (size + steps) - charge
    ends = torch.stack([surplus.clamp(min=0), (surplus > 0).to(F64)])
    ahead = ends * forever  # G+ and D, [2, B, W + 1]
    # And one win less, which a loss may lead to.
    ahead = torch.cat([torch.zeros_like(ahead[..., :1]), ahead], -1)
    for t in tqdm(reversed(range(steps)), "Gittins index", steps, leave=False, delay=3):
        mean = (alpha + middle(t) + window) / (size + t)
        moves = middle(t + 1) > middle(t)  # the window moves up by a win, or stays
        ahead = torch.where(moves, ahead[..., :-1], ahead[..., 1:])
        now = torch.lerp(ahead[..., :-1], ahead[..., 1:], mean[:, :-1])  # [2, B, W]
        now = now.mul_(discount)
        now[0] += mean[:, :-1] - charge
        now[1] += 1
        yield t, middle(t) + window[:-1], now[0], now[1]
        above = torch.stack([mean[:, -1:] - charge, torch.ones_like(charge)]) * forever
        ahead = torch.cat([torch.zeros_like(above), now * (now[0] > 0), above], -1)


def gittins_table(pulls: int, discount: float) -> Tensor:
    r"""The Gittins indices of all arms with a uniform prior, by wins and losses, float64 `[pulls + 1, pulls + 1]`.

    Entry (w, l) is the index of Beta(w + 1, l + 1); where w + l exceeds `pulls` it is nan. A thousand charges c are
    tried on all arms at once; each gives a stopping rule and so a ratio c + G / D for each arm, and the best is kept,

    $$ \nu(w + 1, l + 1) \approx \max_c \Big[ c + \frac{G(w, l; c)}{D(w, l; c)} \Big] , \qquad
       c_i = \sin^2 \Big( \frac\pi2\, \frac{i - 1/2}{1000} \Big) . $$

    Again nothing is above the index. The error is quadratic in the spacing of the charges: below 2e-4 for 500
    pulls, by comparison with `gittins_index`; it looks 2 / (1 - discount) pulls beyond the last, and for a discount
    of .999 that takes about ten seconds, once.

    Args:
        pulls: the most pulls of one arm, at least 1.
        discount: gamma, at least 0 and below 1.

    Raises:
        ValueError: if a number is out of its range.
    """
    (pulls,) = counts(pulls=pulls)
    _check_discount(discount)
    return _best_ratios(pulls, float(discount)).clone()


@functools.lru_cache(maxsize=8)
def _best_ratios(pulls: int, discount: float) -> Tensor:
    table = torch.full((pulls + 1, pulls + 1), math.nan, dtype=F64)
    angle = math.pi / 2 * (torch.arange(1000, dtype=F64) + 0.5) / 1000
    steps = pulls + math.ceil(2 / (1 - discount))
    for charge in torch.split(angle.sin().square().unsqueeze(-1), 250):
        one = torch.ones_like(charge)
        rounds = keep_pulling_all(one, one, charge - 0.5, discount, steps)
        for t, wins, gain, time in rounds:
            if t <= pulls:
                there = (wins >= 0) & (wins <= t)
                ratio, won = (charge + gain / time)[there], wins[there].long()
                best = torch.zeros(t + 1, dtype=F64)
                best = best.scatter_reduce(0, won, ratio, "amax")
                now = torch.arange(t + 1)
                table[now, t - now] = torch.fmax(table[now, t - now], best)
    return table


def gittins(pulls: int, discount: float) -> Rule:
    """A rule that pulls the arm of highest Gittins index; the best there is for the discounted, endless game.

    For a game of n pulls it is not the optimum, though near it for many discounts: 1 / (1 - discount) = n is a rule of
    thumb. In ten pulls of five arms .05 to .5 are best.

    Args:
        pulls: the most pulls that it will ever be asked for.
        discount: gamma, at least 0 and below 1.
    """
    table = gittins_table(pulls, discount)

    def rule(wins: Tensor, losses: Tensor, gen: torch.Generator) -> Tensor:
        if (wins + losses).max() > pulls:
            raise ValueError(
                f"an arm has been pulled more than {pulls} times: make the rule with a "
                "larger `pulls`."
            )
        return table[wins.long(), losses.long()].argmax(-1)

    return rule


def _look_ahead(discount: float) -> int:
    """N: beyond this many pulls, all that is left to gain is below 1e-6."""
    return (
        max(1, math.ceil(math.log(4e-6 * (1 - discount)) / math.log(discount)))
        if discount > 0
        else 1
    )


def _check_discount(discount: float) -> None:
    if not 0 <= real(discount) < 1:
        raise ValueError(
            f"discount = {discount!r}: a number of at least 0 and below 1 is needed, "
            "such as 0.99."
        )


def _parameters(alpha: Numbers, beta: Numbers) -> list[Tensor]:
    """Both as float64 tensors of one shape."""
    both = {
        "alpha": torch.as_tensor(alpha, dtype=F64),
        "beta": torch.as_tensor(beta, dtype=F64),
    }
    for name, x in both.items():
        wrong = x[~((x > 0) & (x < math.inf))]
        if wrong.numel():
            raise ValueError(
                f"{name} holds {wrong[0].item()}: a Beta parameter is positive and "
                "finite, such as 1."
            )
    try:
        shape = (both["alpha"] + both["beta"]).shape
        return [x.expand(shape) for x in both.values()]
    except RuntimeError as error:
        shapes = " and ".join(f"{name} {list(x.shape)}" for name, x in both.items())
        raise ValueError(
            f"{shapes} do not broadcast: for a table, give [rows, 1] and [columns]."
        ) from error
