"""What a task must be: a tensor for each leaf, of the family's shapes, and as many tasks as are wanted."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

#: Shapes by leaf.
Shapes = dict[str, tuple[int, ...]]


def check_leaves(
    name: str, shapes: Shapes, task: Any, num_tasks: int | None = None
) -> None:
    """Refuses what is no task of a family, or no batch of so many.

    Args:
        name: of the family, for the message.
        shapes: of each leaf of one task.
        task: what was given.
        num_tasks: N; None for one task, without a leading dimension.

    Raises:
        ValueError: naming the leaf, its shape, the shape that was expected, and the remedy.
    """
    if not isinstance(task, dict) or set(task) != set(shapes):
        leaves = sorted(task) if isinstance(task, dict) else type(task).__name__
        raise ValueError(
            f"a task of {name} is a dict with the leaves {sorted(shapes)}, got "
            f"{leaves}; draw one with tasks.sample(num_tasks, gen) or start from "
            "tasks.default_task()."
        )
    lead: tuple[int, ...] = () if num_tasks is None else (num_tasks,)
    for leaf, trailing in shapes.items():
        value, expected = task[leaf], (*lead, *trailing)
        if not isinstance(value, Tensor):
            raise ValueError(
                f"task[{leaf!r}] of {name} is of type {type(value).__name__}, but a "
                f"tensor of shape {expected} was expected; tasks.sample(num_tasks, "
                "gen) gives such."
            )
        if num_tasks == 0 and len(value.shape) and not len(value):
            raise ValueError(
                f"task[{leaf!r}] of {name} has shape {tuple(value.shape)}, which holds "
                "no task: at least one is needed, as tasks.sample(20, gen) draws "
                "twenty."
            )
        if tuple(value.shape) != expected:
            found = f"task[{leaf!r}] of {name} has shape {tuple(value.shape)}"
            raise ValueError(found + _misfit(leaf, shapes, task, num_tasks))
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ValueError(
                f"task[{leaf!r}] of {name} holds "
                f"{value[~value.isfinite()][0].item()}; all its numbers must be finite."
            )


def tasks_in(task: Any) -> int:
    """How many tasks these seem to be; a single task, or what is no task at all, is left to `check_leaves` to name."""
    leaf = next(iter(task.values()), None) if isinstance(task, dict) else None
    return len(leaf) if isinstance(leaf, Tensor) and leaf.ndim else 1


def _misfit(
    leaf: str, shapes: Shapes, task: dict[str, Any], num_tasks: int | None
) -> str:
    """What is wrong with a leaf's shape, and what to do, by what the task seems to be: one task, or other ones."""
    trailing = tuple(shapes[leaf])
    if num_tasks is not None and _all_have(shapes, task):
        return (
            f": this is one task, and a batch of them is needed, "
            f"[{', '.join(map(str, ('N', *trailing)))}]. "
            "Add a leading dimension: {name: leaf.unsqueeze(0) for name, leaf in "
            "task.items()}."
        )
    if num_tasks is None:
        said = f", but {trailing} was expected for a single task: "
    else:
        wanted = (num_tasks, *trailing)
        said = f", but {wanted} was expected for a batch of {num_tasks} tasks: "
    given = task[leaf].shape[0] if task[leaf].ndim else None
    if given is None or not _all_have(shapes, task, given):
        return said + (
            "tasks.sample(num_tasks, gen) gives leaves of the right shapes, all of one "
            "N. If these came from it, it does not keep to task_shape: mend that "
            "sample."
        )
    if num_tasks is None:
        return said + (
            f"these are {given} tasks. The first of them is {{name: leaf[0] for name, "
            "leaf in task.items()}."
        )
    return said + (
        f"these are {given}. As many are needed as there are sets of parameters, or "
        f"environments: tile(policy.params(), {given}) makes {given} sets, and "
        f"tasks.sample({num_tasks}, gen) draws {num_tasks} tasks. If that gave these, "
        "mend that sample."
    )


def _all_have(shapes: Shapes, task: dict[str, Any], *lead: int) -> bool:
    """Whether all leaves are of their shapes, after these leading dimensions."""
    return all(
        isinstance(task[leaf], Tensor) and tuple(task[leaf].shape) == (*lead, *trailing)
        for leaf, trailing in shapes.items()
    )
