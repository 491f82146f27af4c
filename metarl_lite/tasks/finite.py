"""A pool of tasks as a family: what is drawn in training, or in a test, and nothing else."""

from __future__ import annotations

import torch
from torch import Tensor

from ..rng import check_generator
from ..types import Task
from .base import TaskDistribution, check_like, check_positive, index_task
from .leaves import tasks_in


class FiniteTasks(TaskDistribution):
    """A family of which only a given pool of tasks is ever drawn: a training set, or a test set.

    Everything but `sample` is the family's own. With a small pool an agent can learn its tasks by heart, and
    that is what this is for: to see it happen.

    Args:
        tasks: the family.
        pool: the tasks that may be drawn, leaves `[M, ...]`; they are copied.
    """

    def __init__(self, tasks: TaskDistribution, pool: Task) -> None:
        check_like(TaskDistribution, "action_scale", tasks=tasks)
        self.size = tasks_in(pool)
        if not self.size:
            raise ValueError(
                "pool: at least one task is needed, and its leaves hold none; "
                "tasks.sample(20, gen) gives twenty."
            )
        tasks.check_task(pool, self.size)
        self.tasks = tasks
        # copies: what the caller does with his tensors afterwards is his own affair
        self.pool = {name: own.clone() for name, own in pool.items()}
        for name in (*TaskDistribution.__annotations__,):
            setattr(self, name, getattr(tasks, name))

    def begin(self) -> None:
        self.tasks.begin()

    def sample(self, num_tasks: int, gen: torch.Generator) -> Task:
        """Draws from the pool, with replacement."""
        check_positive(num_tasks=num_tasks)
        check_generator(gen)
        return index_task(
            self.pool,
            torch.randint(self.size, (num_tasks,), generator=gen, device=gen.device),
        )

    def default_task(self) -> Task:
        return {name: leaf[0].clone() for name, leaf in self.pool.items()}

    def reset(self, task: Task, noise: Tensor) -> Tensor:
        return self.tasks.reset(task, noise)

    def step(
        self, task: Task, state: Tensor, action: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        return self.tasks.step(task, state, action, noise)

    def observe(self, task: Task, state: Tensor) -> Tensor:
        return self.tasks.observe(task, state)

    def draw(self, shape: tuple[int, ...], gen: torch.Generator) -> Tensor:
        return self.tasks.draw(shape, gen)

    def draw_reset(self, shape: tuple[int, ...], gen: torch.Generator) -> Tensor:
        return self.tasks.draw_reset(shape, gen)

    def observation_bounds(self) -> tuple[Tensor, Tensor]:
        return self.tasks.observation_bounds()

    def check_task(self, task: Task, num_tasks: int | None = None) -> None:
        self.tasks.check_task(task, num_tasks)


def is_pure(tasks: TaskDistribution) -> bool:
    """Whether a family holds no state: it has no `begin` of its own, nor has that of a pool's tasks."""
    family = tasks.tasks if isinstance(tasks, FiniteTasks) else tasks
    return type(family).begin is TaskDistribution.begin
