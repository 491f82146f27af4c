"""What an iteration of MAML holds at its largest, counted before it is begun."""

from __future__ import annotations

from ..policies.mlp import MLPPolicy
from ..ram import check_memory
from ..tasks.base import TaskDistribution, check_like
from .configs import MAMLConfig

#: What lies about besides, in the gaps between tensors of the C library's heap.
GAPS = 1.1
#: Steps that are differentiated at once where `chunk_size` is None. With two layers of
#: 64 units they take 1 GB, which is kept from one chunk to the next; more would be
#: mapped and zeroed anew each time.
AT_ONCE = 160_000


def tasks_at_once(tasks: TaskDistribution, config: MAMLConfig, num_tasks: int) -> int:
    """How many of N tasks are worked through at once: `chunk_size`, or what is quick; E-MAML compares all with all."""
    check_like(TaskDistribution, "action_scale", tasks=tasks)
    quick = max(1, AT_ONCE // (config.episodes * tasks.horizon))
    whole = config.algorithm == "e_maml"
    return min(num_tasks, config.chunk_size or (num_tasks if whole else quick))


def check_inner_memory(
    tasks: TaskDistribution,
    policy: MLPPolicy,
    config: MAMLConfig,
    num_tasks: int,
    outer: str | None,
) -> None:
    """Refuses inner loops that would not fit, before they are begun.

    Args:
        tasks: the family.
        policy: the network.
        config: episodes, inner steps, `chunk_size`.
        num_tasks: N.
        outer: the outer update, which differentiates through the inner steps; None where nothing does.

    Raises:
        ValueError: with the bytes that are needed, those that are available, and what to do.
    """
    in_parts = outer in (None, "adam")  # the other updates hold all tasks
    at_once = tasks_at_once(tasks, config, num_tasks) if in_parts else num_tasks
    taken = f"{config.inner_steps} inner steps, {config.episodes} episodes"
    check_memory(
        policy.dtype.itemsize * numbers_held(tasks, policy, config, num_tasks, outer),
        f"to adapt {at_once} tasks at once ({taken} of {tasks.horizon} steps, "
        f"{policy.hidden_units} hidden units)",
        "set chunk_size to a part of the tasks, or take fewer episodes or tasks."
        if in_parts and config.algorithm != "e_maml"
        else "take fewer tasks or episodes.",
    )


def numbers_held(
    tasks: TaskDistribution,
    policy: MLPPolicy,
    config: MAMLConfig,
    num_tasks: int,
    outer: str | None,
) -> float:
    r"""How many numbers there are at once, when there are most: in the outer backward pass.

    With H hidden units in all, P parameters and M inner steps, each step of each episode has left, for every batch of
    M + 1, what was played: observation, action, chance, reward, mask, advantage, and the distribution's few tensors of
    the actions' size. The baseline's features are as wide as the observations, several times. The graph of an inner
    step holds 3 H, which are activations, gradients and slopes; the query's loss holds H, and the outer backward pass
    2 H on its way. First-order updates keep no inner graph, and a curve holds 2 H, in each step anew. Each task holds
    its parameters and their gradient for each step.

    $$ N E T \big[ (3 M + 3) H + (M + 1)(3 O + 5 A + Z + 20) + 6 O \big] + N P\, (2 M + 3) $$

    E-MAML keeps the log-probabilities' graphs besides, TRPO adapts a second time without a graph, and ProMP with one.
    """
    in_parts, steps = outer in (None, "adam"), config.inner_steps
    at_once = tasks_at_once(tasks, config, num_tasks) if in_parts else num_tasks
    second = outer is not None and config.algorithm not in ("fomaml", "reptile")
    graphs = 3 * steps + 3 if second else 2 if outer is None else 3
    graphs += 2 * steps if config.algorithm == "e_maml" else 0
    graphs = {"trpo": graphs + 2, "promp": 2 * graphs}.get(outer or "", graphs)
    sizes = 3 * tasks.observation_size + 5 * policy.action_size + tasks.noise_size + 20
    of_a_step = (
        graphs * policy.hidden_units + (steps + 1) * sizes + 6 * tasks.observation_size
    )
    chance = (steps + 1) * (tasks.noise_size + policy.action_size)  # drawn for all
    played = config.episodes * tasks.horizon
    copies = (2 * steps if second else 2) + 3
    held = at_once * (played * of_a_step + copies * policy.num_parameters)
    return GAPS * held + num_tasks * played * chance
