"""Cart-pole and pendulum with physical parameters that differ from task to task and are never observed."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ..given import counts, real
from ..rng import uniform
from ..types import Task
from .base import TaskDistribution, check_positive

Ranges = dict[str, tuple[float, float]]


class PhysicalTasks(TaskDistribution):
    """A mechanical system whose parameters are uniform on intervals, independently of each other.

    Args:
        ranges: (low, high) by name. Parameters that are not named keep gymnasium's value, so
            `ranges={"length": (0.25, 1.0)}` varies the length alone; without `ranges` all of them vary.
        horizon: T.
        dtype: of states and parameters.

    Task: one positive number `[...]` for each parameter.

    Raises:
        ValueError: for an unknown parameter, or an interval that is not 0 < low <= high.
    """

    nominal: dict[str, float]
    default_ranges: Ranges

    def __init__(
        self,
        ranges: Ranges | None = None,
        horizon: int = 200,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        (self.horizon,), self.dtype = counts(horizon=horizon), dtype
        self.task_shape = dict.fromkeys(self.nominal, ())
        ranges = self.default_ranges if ranges is None else ranges
        if not isinstance(ranges, Mapping):
            raise ValueError(
                f"ranges = {ranges!r}: a dict of pairs (low, high) is needed, such as "
                f"ranges={dict([*self.default_ranges.items()][:1])}."
            )
        for name, interval in ranges.items():
            if name not in self.nominal:
                known = sorted(self.nominal)
                raise ValueError(
                    f"ranges has the key {name!r}; the parameters of {self.name} are "
                    f"{known}."
                )
            pair = tuple(map(real, interval)) if np.iterable(interval) else ()
            if len(pair) != 2 or not 0 < pair[0] <= pair[1] < math.inf:
                raise ValueError(
                    f"ranges[{name!r}] = {interval}: a pair (low, high) with 0 < low "
                    f"<= high is needed, such as {self.default_ranges[name]}."
                )
        self.ranges: Ranges = {}
        for name, value in self.nominal.items():
            low, high = ranges.get(name, (value, value))
            self.ranges[name] = float(low), float(high)

    def sample(self, num_tasks: int, gen: torch.Generator) -> Task:
        check_positive(num_tasks=num_tasks)
        return {
            name: low + (high - low) * uniform((num_tasks,), gen, self.dtype)
            for name, (low, high) in self.ranges.items()
        }

    def default_task(self) -> Task:
        return {
            name: torch.tensor(value, dtype=self.dtype)
            for name, value in self.nominal.items()
        }

    def check_task(self, task: Task, num_tasks: int | None = None) -> None:
        """Refuses, besides wrong shapes, parameters that are not positive."""
        super().check_task(task, num_tasks)
        for name, leaf in task.items():
            if not bool((leaf > 0).all()):
                raise ValueError(
                    f"task[{name!r}] of {self.name} holds {leaf.min().item()}; it must "
                    f"be positive, such as {self.nominal[name]}."
                )


class CartPoleTasks(PhysicalTasks):
    r"""A pole on a cart is kept upright by pushes left (0) or right (1): CartPole-v1 with free parameters.

    With total mass $M = m_c + m_p$, half-length $l$ and force $F = \pm$ `force_mag`,

    $$ q = \frac{F + m_p l \dot\theta^2 \sin\theta}{M}, \qquad
       \ddot\theta = \frac{g \sin\theta - q \cos\theta}{l (4/3 - m_p \cos^2\theta / M)}, \qquad
       \ddot x = q - \frac{m_p l \ddot\theta \cos\theta}{M}, $$

    integrated by Euler's method in steps of .02 s. The reward is 1 for every step, that which ends the
    episode included; an episode ends beyond $|x| = 2.4$ m or $|\theta| = 12$ degrees. The horizon is 200
    steps unless stated otherwise (gymnasium's CartPole-v1: 500), so that a return of 200 is the best there
    is.

    Task: `gravity` (m/s^2), `masscart`, `masspole` (kg), `length` (m, half the pole's), `force_mag` (N).
    State and observation: $(x, \dot x, \theta, \dot\theta)$ `[..., 4]`, in m and rad; at first U[-.05, .05]
    each.

    Source: Barto, Sutton and Anderson (1983); Florian (2007); gymnasium, classic_control/cartpole.py.
    """

    name = "cartpole"
    observation_size = 4
    action_size = 2
    discrete = True
    reset_noise_size = 4
    can_terminate = True
    time_step = 0.02
    max_position = 2.4
    max_angle = 12 * 2 * math.pi / 360
    nominal = {  # noqa: RUF012
        "gravity": 9.8,
        "masscart": 1.0,
        "masspole": 0.1,
        "length": 0.5,
        "force_mag": 10.0,
    }
    default_ranges = {  # noqa: RUF012
        "gravity": (7.0, 13.0),
        "masscart": (0.5, 2.0),
        "masspole": (0.05, 0.3),
        "length": (0.25, 1.0),
        "force_mag": (5.0, 15.0),
    }

    def reset(self, task: Task, noise: Tensor) -> Tensor:
        return 0.1 * noise - 0.05

    def step(
        self, task: Task, state: Tensor, action: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        x, velocity, angle, spin = state.unbind(-1)
        mass, length = task["masscart"] + task["masspole"], task["length"]
        pole = task["masspole"] / mass
        force = torch.where(action == 1, task["force_mag"], -task["force_mag"])
        cos, sin = angle.cos(), angle.sin()
        push = force / mass + pole * length * spin**2 * sin
        spin_rate = (task["gravity"] * sin - cos * push) / (
            length * (4 / 3 - pole * cos**2)
        )
        acceleration = push - pole * length * spin_rate * cos
        rates = torch.stack([velocity, acceleration, spin, spin_rate], -1)
        state = state + self.time_step * rates
        over = (state[..., 0].abs() > self.max_position) | (
            state[..., 2].abs() > self.max_angle
        )
        return state, torch.ones_like(x), over

    def observe(self, task: Task, state: Tensor) -> Tensor:
        return state

    def observation_bounds(self) -> tuple[Tensor, Tensor]:
        r"""Bounds that no task of `ranges` can leave.

        While an episode lasts, position and angle stay in windows of width w. An acceleration of at most a
        brings the speed within it to at most $\sqrt{2 a w} + a \tau$, plus what it was at first, and one more
        step ends the episode. The acceleration depends on the spin, so the bound is improved until it
        settles.
        """
        low, high = (
            {name: pair[i] for name, pair in self.ranges.items()} for i in (0, 1)
        )
        tau, start, sin = self.time_step, 0.05, math.sin(self.max_angle)
        pole = high["masspole"] / (high["masspole"] + low["masscart"])

        def fastest(acceleration: float, width: float) -> float:
            return start + math.sqrt(2 * acceleration * width) + acceleration * tau

        # faster than this, the next step leaves the window
        spin = most = 2 * self.max_angle / tau
        # without the cap for the step that ends the episode
        for cap in 20 * [most] + [math.inf]:
            whirl = pole * high["length"] * min(spin, cap) ** 2 * sin
            push = high["force_mag"] / (low["masscart"] + low["masspole"]) + whirl
            spin_rate = (high["gravity"] * sin + push) / (
                low["length"] * (4 / 3 - pole)
            )
            spin = fastest(spin_rate, 2 * self.max_angle)
        acceleration = push + pole * high["length"] * spin_rate
        velocity = fastest(acceleration, 2 * self.max_position) + acceleration * tau
        spin += spin_rate * tau
        far, tilted = self.max_position + tau * velocity, self.max_angle + tau * spin
        bound = torch.tensor([far, velocity, tilted, spin])
        return -bound, bound


class PendulumTasks(PhysicalTasks):
    r"""A pendulum is swung up by a torque too weak to lift it; Pendulum-v1 with free parameters.

    $$ \dot\theta_{t+1} = \mathrm{clip}\Big(\dot\theta_t + \Big(\frac{3 g}{2 l} \sin\theta_t
       + \frac{3 u_t}{m l^2}\Big) \tau,\; \pm 8\Big), \qquad
       \theta_{t+1} = \theta_t + \tau \dot\theta_{t+1}, $$
    $$ r_t = -\big(\theta_t^2 + 0.1\, \dot\theta_t^2 + 0.001\, u_t^2\big), $$

    with $\tau$ = .05 s, the torque $u_t$ clipped to 2 N m, and in the reward $\theta$ (0 is upright) brought
    to $[-\pi, \pi)$. An episode always lasts `horizon` steps.

    Task: `g` (m/s^2), `m` (kg), `l` (m). State: $(\theta, \dot\theta)$ `[..., 2]`, at first U[-pi, pi] and
    U[-1, 1]. Observation: $(\cos\theta, \sin\theta, \dot\theta)$ `[..., 3]`. Action: torque in N m, `[...,
    1]`.

    Source: gymnasium, classic_control/pendulum.py.
    """

    name = "pendulum"
    observation_size = 3
    action_size = 1
    discrete = False
    reset_noise_size = 2
    action_limit = 2.0
    time_step = 0.05
    max_speed = 8.0
    nominal = {"g": 10.0, "m": 1.0, "l": 1.0}  # noqa: RUF012
    default_ranges = {  # noqa: RUF012
        "g": (7.0, 13.0),
        "m": (0.5, 1.5),
        "l": (0.5, 1.5),
    }

    def reset(self, task: Task, noise: Tensor) -> Tensor:
        return (2 * noise - 1) * noise.new_tensor([math.pi, 1.0])

    def step(
        self, task: Task, state: Tensor, action: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        angle, speed = state.unbind(-1)
        torque = action[..., 0].clamp(-self.action_limit, self.action_limit)
        upright = torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
        cost = upright**2 + 0.1 * speed**2 + 0.001 * torque**2
        inertia = task["m"] * task["l"] ** 2
        pull = 3 * task["g"] / (2 * task["l"]) * angle.sin() + 3 / inertia * torque
        speed = (speed + pull * self.time_step).clamp(-self.max_speed, self.max_speed)
        state = torch.stack([angle + speed * self.time_step, speed], -1)
        return state, -cost, torch.zeros_like(cost, dtype=torch.bool)

    def observe(self, task: Task, state: Tensor) -> Tensor:
        angle, speed = state.unbind(-1)
        return torch.stack([angle.cos(), angle.sin(), speed], -1)

    def observation_bounds(self) -> tuple[Tensor, Tensor]:
        bound = torch.tensor([1.0, 1.0, self.max_speed])
        return -bound, bound
