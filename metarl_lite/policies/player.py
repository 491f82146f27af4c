"""A trained policy at play: in any loop of the form that gymnasium's have, one step at a time.

`rollout` and `trial` move a whole meta-batch through the worlds of this package. A player is for all other worlds, and
for looking on: it is told what is seen and what came of it, and says what to do. What is to be remembered in between,
it remembers by itself.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from ..given import as_params, switches
from ..rng import generator
from ..tasks.base import check_kind
from ..types import Diverged, Params
from .base import Policy
from .distributions import Distribution, check_logits
from .gru import GRUPolicy
from .mlp import MLPPolicy
from .seat import Seat, as_numbers, one_each

#: An environment of gymnasium, or many in one.
Environment = gymnasium.Env[Any, Any] | VectorEnv[Any, Any, Any]


class Player:
    """What every player is: `act(observation)`, then `observe(reward, done)`, and `reset()` where a trial begins.

    Observations are numpy arrays or tensors: one `[O]`, or a batch `[B, O]` of worlds that are played at the same time.
    The action is of the same kind: `[A]`, or `[B, A]`; where actions are discrete, an integer, or `[B]` of them.
    """

    def __init__(
        self, policy: Policy, params: Params, seat: Seat, gen: torch.Generator | None
    ) -> None:
        self.policy, self.seat = policy, seat
        self.params = {name: p.detach().clone() for name, p in params.items()}
        self.device = next(iter(self.params.values())).device
        self.gen = generator(0, self.device) if gen is None else gen

    def act(
        self, observation: Any, deterministic: bool = False, *, noise: Any = None
    ) -> Any:
        """What to do on seeing this.

        Args:
            observation: `[O]` or `[B, O]`.
            deterministic: take the most probable action instead of drawing one.
            noise: draw it with these numbers, as `policy.noise` gives them, `[A]` or `[B, A]` (1 for A where discrete),
                instead of the player's own.

        Returns:
            What `env.step` takes.

        Raises:
            ValueError: for an observation of another size than the policy's, or a number in it that is not finite; for
                noise that `policy.noise` does not draw; and where a policy with a memory was not told what came of its
                last action.
            Diverged: if the policy's own action is not finite.
        """
        rows, lead = self.seat.rows(observation, self.policy.dtype, self.device)
        (greedy,) = switches(deterministic=deterministic)
        if noise is None:
            luck = self.policy.noise((len(rows),), self.gen)
        else:
            luck = self._luck(noise, len(rows), lead).to(rows)
        with torch.no_grad():
            chosen = self._chosen(rows)
            action = self.policy.sample(chosen, luck, greedy)
            check_logits(chosen, dims=("world",))
        if not bool(action.isfinite().all()):
            raise Diverged(
                f"the policy gave the action {action.tolist()}: its parameters have "
                "diverged. Lower the learning rate they were trained with."
            )
        self._did(action)
        shaped = action.reshape((*lead, *action.shape[1:]))
        return self.seat.action(shaped, observation)

    def observe(self, reward: Any, done: Any) -> None:
        """What came of the last action, once after each step of the world; a policy without a memory need not be told.

        Args:
            reward: a number, or `[B]`.
            done: whether the episode is over, `terminated or truncated`; for a batch `terminated | truncated`. 1 and 0
                will do.

        Raises:
            ValueError: without an action before it, for numbers of another shape, a reward that is not finite, or a
                done that is neither true nor false.
        """

    def reset(self, members: Any = None) -> None:
        """A trial begins: the memory is emptied. A new episode of the same trial needs no word, it just goes on.

        Args:
            members: a boolean for each world of a batch, where not all of them begin anew.

        Raises:
            ValueError: if `members` is something else, such as indices; `numpy.isin(range(B), indices)` makes it.
        """

    def _luck(self, noise: Any, count: int, lead: tuple[int, ...]) -> Tensor:
        """The noise that was given, `[B, A]`, if it is such as this policy's."""
        discrete = self.policy.discrete
        size = 1 if discrete else self.policy.action_size
        needed = (
            f"{'numbers in [0, 1)' if discrete else 'finite numbers'} of shape "
            f"{(*lead, size)} are needed, as policy.noise({lead}, gen) draws them"
        )
        found = as_numbers(noise, "noise", needed)
        good = (found >= 0) & (found < 1) if discrete else found.isfinite()
        shaped = tuple(found.shape) in ((*lead, size), (count, size))
        if not shaped or not bool(good.all()):
            raise ValueError(f"noise = {noise!r}: {needed}.")
        return found.reshape(count, size)

    def _chosen(self, rows: Tensor) -> Distribution:
        """What the actions are drawn from, on seeing `[B, O]`."""
        raise NotImplementedError

    def _did(self, action: Tensor) -> None:
        """These actions are taken."""


class ReflexPlayer(Player):
    """Plays an `MLPPolicy`: with one set of parameters for all worlds, or with one for each, `[N, ...]`."""

    policy: MLPPolicy

    def __init__(self, policy: MLPPolicy, params: Params, *rest: Any) -> None:
        super().__init__(policy, params, *rest)
        own = {name: p.shape for name, p in policy.params().items()}
        self.apart = {name: p.shape for name, p in params.items()} != own
        if self.apart:  # else [1, ...]: all worlds are episodes of one task
            if all(p.ndim == len(own.get(n, p.shape)) for n, p in params.items()):
                policy.check_params(self.params)  # one set, of another network
            policy.num_tasks(self.params)
            policy.check_params({name: p[0] for name, p in self.params.items()})
        else:
            self.params = {name: p.unsqueeze(0) for name, p in self.params.items()}

    def _chosen(self, rows: Tensor) -> Distribution:
        count = len(next(iter(self.params.values())))
        if self.apart and len(rows) != count:
            raise ValueError(
                f"{len(rows)} observations, but parameters for {count} tasks: one "
                "observation of each is needed, [N, O]. For one task alone take "
                "{name: p[0] for name, p in params.items()}."
            )
        alone = 1 if self.apart else 0  # [N, 1, O] or [1, B, O]
        chosen = self.policy.distribution(self.params, rows.unsqueeze(alone))
        return {name: x.squeeze(alone) for name, x in chosen.items()}


class MemoryPlayer(Player):
    """Plays a `GRUPolicy`, and keeps its memory from step to step."""

    policy: GRUPolicy
    agent: tuple[Tensor, ...]  # memory, and action, reward and done of the last step
    memory: Tensor  # [B, H] with which the step that is being taken was chosen
    code: Tensor  # [B, A] its action
    asleep: Tensor  # [B] whose next step is none of theirs, but begins an episode

    def __init__(self, policy: GRUPolicy, params: Params, *rest: Any) -> None:
        policy.check_params(params)
        super().__init__(policy, params, *rest)
        self.reset()

    def reset(self, members: Any = None) -> None:
        if members is None or self.count is None:
            self.count: int | None = None  # B, known from the first observation on
            self.acting = False  # between `act` and `observe`
        else:
            told = one_each(members, "members", self.count, "True or False", _is_bool)
            chosen = told.to(self.device)
            first = self.policy.first(self.count, self.device)
            self.agent = _where(chosen, first, self.agent)
            self.asleep &= ~chosen

    def observe(self, reward: Any, done: Any) -> None:
        if not self.acting or self.count is None:
            raise ValueError(
                "observe was called without an action before it: call act, env.step "
                "and observe in turn."
            )
        kind, count = self.policy.dtype, self.count
        paid = one_each(
            reward,
            "reward",
            count,
            f"a finite number ({kind})",
            lambda x: x.to(kind).isfinite(),
        ).to(self.device, kind)
        over = one_each(
            done, "done", count, "True or False", lambda x: (x == 0) | (x == 1)
        ).to(self.device, kind)
        # Who slept through a reset has done nothing, and nothing came of it.
        now = (self.memory, self.code, paid, over)
        self.agent = _where(~self.asleep, now, self.agent)
        self.asleep = (over > 0) & ~self.asleep & self.seat.resets_itself
        self.acting = False

    def _chosen(self, rows: Tensor) -> Distribution:
        if self.acting:
            raise ValueError(
                "act was called twice, and the policy was not told what came of its "
                "action: call observe(reward, terminated or truncated) after env.step, "
                "or reset() where a trial begins."
            )
        if self.count is None:  # a trial begins
            self.count = len(rows)
            self.agent = self.policy.first(self.count, self.device)
            self.asleep = torch.zeros(self.count, dtype=torch.bool, device=self.device)
        if len(rows) != self.count:
            raise ValueError(
                f"{len(rows)} observations, but {self.count} trials are being played: "
                "the number stays until reset()."
            )
        memory, *came = self.agent
        x = self.policy.input(rows, *came)
        self.memory = self.policy.remember(self.params, memory, x)
        return self.policy.distribution(self.params, self.memory)

    def _did(self, action: Tensor) -> None:
        self.code, self.acting = self.policy.encode(action), True


def _is_bool(x: Tensor) -> Tensor:
    """0 and 1 might be indices."""
    return torch.tensor(x.dtype == torch.bool)


def _where(
    rows: Tensor, new: tuple[Tensor, ...], old: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """The new where `rows` `[B]` is True, else the old."""
    return tuple(
        torch.where(rows.reshape(-1, *(1,) * (x.ndim - 1)), x, y)
        for x, y in zip(new, old, strict=True)
    )


def player(
    policy: Policy,
    params: Params | None = None,
    env: Environment | None = None,
    gen: torch.Generator | None = None,
    *,
    through_gym: bool | None = None,
) -> Player:
    """Makes a trained policy ready to play in a loop of your own, in any world of the form of gymnasium's::

        play = player(actor("gridnavi"), env=env)
        for episode in range(4):                       # of one trial: the memory goes on
            (observation, _), done = env.reset(), False
            while not done:
                observation, reward, terminated, truncated, _ = env.step(play.act(observation))
                done = terminated or truncated
                play.observe(reward, done)
        play.reset()                                   # another task: the memory is emptied

    Args:
        policy: an `MLPPolicy`, a `GRUPolicy` or a `BeliefPolicy`.
        params: its parameters, if not its own: those of one task, `{name: p[0] for name, p in adapted.items()}`, or of
            an `MLPPolicy` one set for each world of a batch, `[N, ...]`.
        env: the environment, if it is gymnasium's, single or a vector. Then observations and actions are brought to its
            spaces as by `GymTasks` (one-hot, flat, nested ones too; a lopsided box is [-1, 1]; clipped), and where a
            vector, or the wrapper `Autoreset`, begins anew by itself, one step after an end, the memory sleeps through
            that step. Without it they are the policy's own numbers. In one of our environments they are in its family's
            units (the pendulum's 2 N m are 1 in its box), actions under `ClipAction` and `RescaleAction`, too, and
            observations, of a policy made `for_tasks`, under `RescaleObservation`; others change them with a warning.
        gen: draws the actions; one with the seed 0 unless given.
        through_gym: whether the policy was trained through `GymTasks` on `env`, though one of our environments is
            inside: then all is as on `GymTasks`. A policy made `for_tasks` knows; of one made `from_params` nothing is
            known, and if this is not said, its actions are in the family's units, and it sees what `env` shows.

    Raises:
        ValueError: for parameters of another network, or an environment whose spaces are not the policy's, or whose
            wrappers change the actions in a way that cannot be followed back.
    """
    if through_gym is not None:
        (through_gym,) = switches(through_gym=through_gym)
    if isinstance(policy, type):
        check_kind(Policy, policy=policy)
    if not isinstance(policy, MLPPolicy | GRUPolicy):
        raise ValueError(
            f"policy is of type {type(policy).__name__}: an MLPPolicy or a GRUPolicy "
            "is needed here."
        )
    given = policy.params() if params is None else as_params(params, "policy.params()")
    seat = Seat(policy, env, through_gym)
    if isinstance(policy, MLPPolicy):
        return ReflexPlayer(policy, given, seat, gen)
    return MemoryPlayer(policy, given, seat, gen)
