"""What an inner step is given, and where it leads: parameters, their rates, the noise of its episodes.

Looked at once a step, and nothing is refused that works.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..given import as_floats, as_params, described, number, ordinary, severed
from ..rollout import Noise
from ..tasks.base import check_like
from ..types import Diverged, Params

#: Sizes of an inner step by the name of the parameter that takes it; who is not named
#: stays where it is.
Rates = dict[str, float | Tensor]


def learnable(params: Params) -> Params:
    """The parameters, as a graph can begin with them: where none requires a gradient, all of them begin to.

    Raises:
        ValueError: if these are no parameters.
    """
    params = as_params(params, "tile(policy.params(), num_tasks)")
    if torch._C._are_functorch_transforms_active():
        return params
    params = {
        name: p.detach() if severed(p) else ordinary(p) for name, p in params.items()
    }
    if any(p.requires_grad for p in params.values()):
        return params
    for name, p in params.items():
        if not p.is_floating_point():
            raise ValueError(
                f"parameter {name!r} is of type {p.dtype}, which has no gradient: "
                "convert it with .to(torch.float32)."
            )
    return {name: p.detach().requires_grad_() for name, p in params.items()}


def tasks_of(params: Params) -> int:
    """N, the tasks that parameters `[N, ...]` are for.

    Raises:
        ValueError: if they are not for equally many tasks.
    """
    sizes = {p.shape[0] if p.ndim else None for p in params.values()}
    size = sizes.pop()
    if sizes or size is None:
        shapes = {name: list(p.shape) for name, p in params.items()}
        raise ValueError(
            f"params of shapes {shapes}: one set for each task is needed, [N, ...] of "
            "one N: tile(policy.params(), num_tasks)."
        )
    return size


def rates_of(params: Params, lr: float | Tensor | Rates) -> Rates:
    """The rate of every parameter that moves, each as a number or a tensor that fits.

    Raises:
        ValueError: for a rate without a parameter, one that does not fit, or if nothing would move.
    """
    given = lr if isinstance(lr, Mapping) else dict.fromkeys(params, lr)
    if unknown := sorted(given.keys() - params.keys()):
        raise ValueError(
            f"lr names {', '.join(map(repr, unknown))}, but the parameters are "
            f"{', '.join(map(repr, params))}: a rate goes by its parameter's name."
        )
    rates = {
        name: _rate(name, rate, params[name])
        for name, rate in given.items()
        if params[name].requires_grad or torch._C._are_functorch_transforms_active()
    }
    if not rates:
        raise ValueError(
            f"lr = {lr!r} moves no parameter: name one that requires a gradient, or "
            "give one rate for all, such as lr=0.1."
        )
    return rates


def _rate(name: str, rate: Any, p: Tensor) -> float | Tensor:
    """A rate that fits its parameter; a tensor keeps its graph, for it may be learned."""
    if isinstance(rate, np.ndarray | list | tuple):
        rate = as_floats(rate, f"the rate of {name!r}")
    if not isinstance(rate, Tensor) or rate.dtype == torch.bool or rate.is_complex():
        plain = number(rate)
        most = torch.finfo(p.dtype).max if p.is_floating_point() else math.inf
        if plain is None or not -most <= plain <= most:
            raise ValueError(
                f"the rate of {name!r} is {rate!r}: a finite number is needed, and one "
                f"that {p.dtype} holds, such as lr=0.1, or a tensor that fits the "
                "parameter."
            )
        return plain
    sizes = zip(reversed(rate.shape), reversed(p.shape), strict=False)
    if rate.ndim > p.ndim or any(mine not in (1, its) for mine, its in sizes):
        raise ValueError(
            f"the rate of {name!r} has shape {list(rate.shape)}, which does not fit "
            f"{list(p.shape)}: a number, or a tensor that broadcasts to it, is needed."
        )
    return ordinary(rate).to(p.dtype)


def check_step(params: Params, grads: Params, rates: Rates, adapted: Params) -> None:
    """Stops an inner step that leads from numbers to what are none, and says whose doing it was.

    Args:
        params: where the step began.
        grads: the gradients of those that moved.
        rates: their rates, and others.
        adapted: where the step led.

    Raises:
        ValueError: for a rate that is not finite.
        Diverged: for such a gradient, such as the slope of a root at 0, or a step too long.
    """
    if torch._C._are_functorch_transforms_active():
        return
    # A sum is quick, and finite where all is; a large one is looked at again.
    sums = torch.stack([adapted[name].detach().sum() for name in grads])
    if bool(sums.isfinite().all()):
        return
    for name, g in grads.items():
        if not bool((params[name].isfinite() & ~adapted[name].isfinite()).any()):
            continue
        rate, wrong = rates[name], g[~g.isfinite()]
        if wrong.numel():
            raise Diverged(
                f"the gradient in {name!r} holds {wrong[0].item()} where the loss is "
                "finite: gradients must be finite. A root or a norm has no slope at 0: "
                "add a small number inside it; or try a learning rate ten times "
                "smaller."
            )
        if isinstance(rate, Tensor) and not bool(rate.isfinite().all()):
            said = f"the rate of {name!r} holds {rate[~rate.isfinite()][0].item()}: "
            said += "its numbers must be finite."
            raise (Diverged if rate.requires_grad else ValueError)(said)
        raise Diverged(
            f"a step of {name!r} leads beyond what {g.dtype} holds: try a learning "
            "rate ten times smaller."
        )


def noises(
    noise: Any, count: int | None = None, num_tasks: int | None = None
) -> list[Noise]:
    """Pieces of noise as a list, one for each rollout.

    Args:
        noise: what was given.
        count: how many are needed; None: any number.
        num_tasks: N of each; None: that is left to `rollout` to compare.

    Raises:
        ValueError: for what is none, such as a generator, or the noise of a single rollout; or for another count or N.
    """
    made = "draw_noise(tasks, policy, num_tasks, config.episodes, gen)"
    try:
        found = None if isinstance(noise, Noise) else list(noise)
    except TypeError:
        found = None
    if found is None:
        raise ValueError(
            f"noise is {described(noise)}: a list is needed, with one {made} for each "
            "rollout."
        )
    if count is not None:
        for one in found:
            check_like(Noise, "reset step action", noise=one)
        rows = [len(one.action) for one in found]
        if rows != [num_tasks] * count:
            raise ValueError(
                f"noise is for {rows} tasks, a number for each rollout: {count} pieces "
                f"for {num_tasks} tasks are needed, one for each inner step and one "
                f"for the episodes after: [{made} for _ in range({count})]."
            )
    return found
