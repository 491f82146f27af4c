"""The recorded initialisations that `actor(NAME)` loads: where gradient steps begin, on the plane and on cart-poles.

Of each family there are three: random weights, weights trained on the mixture of all tasks for the return without any
step, and weights trained by MAML for the return after one, on as many steps of the environment.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ..algorithms.configs import MAMLConfig
from ..algorithms.maml import maml
from ..checkpoint import save
from ..evaluate.curves import adaptation_curve
from ..policies.mlp import MLPPolicy
from ..rng import generator
from ..tasks.base import TaskDistribution
from ..tasks.navigation import PointGoal
from ..tasks.physics import CartPoleTasks
from .base import TEST_SEED, Experiment, Stopwatch, budget, weights_folder

#: Families by the name that their agents bear. The poles' lengths lie thirty times apart, as in chapter 1.
FAMILIES: dict[str, TaskDistribution] = {
    "navigation": PointGoal(),
    "cart-pole": CartPoleTasks(ranges={"length": (0.1, 3.0)}),
}
#: How each is trained; None: not at all. An iteration of MAML plays episodes to adapt from, and as many to learn from:
#: on the mixture all of them are to learn from.
TRAININGS: dict[str, dict[str, Any] | None] = {
    "random": None,
    "mixture": {"inner_steps": 0, "episodes": 40},
    "maml": {},
}
TEST_TASKS, TEST_STEPS = 1000, 3


def initialisation_run(
    config: MAMLConfig, folder: Path, *, family: str, training: str, seed: int = 0
) -> dict[str, Any]:  # fmt: skip
    """One initialisation, kept as weights, and its returns on held-out tasks before and after up to three steps.

    An interrupted training goes on where it was: the folder holds its state.
    """
    tasks, gen, name, changes = FAMILIES[family], generator(seed), f"{family}-{training}", TRAININGS[training]
    policy, steps, iterations, watch = MLPPolicy.for_tasks(tasks, gen), 0, 0, Stopwatch()
    state = folder / f"{name}.state"
    if changes is not None:
        policy, history = maml(tasks, policy, replace(config, **changes), gen, watch, checkpoint=state)
        steps, iterations = history.steps, config.iterations
        if len(history.returns) < iterations:  # Ctrl-C: `maml` has said so; half a run is not to be recorded
            raise KeyboardInterrupt
    seconds = watch.seconds(iterations)
    save(policy.params(), weights_folder(folder) / f"{name}.safetensors")
    state.unlink(missing_ok=True)
    test = tasks.sample(TEST_TASKS, generator(TEST_SEED))
    adapting = replace(config, inner_steps=TEST_STEPS, later_steps=0.5)
    curve = adaptation_curve(tasks, policy, test, adapting, generator(TEST_SEED + 1)).double()  # [1 + steps, tasks]
    errors = curve.std(1) / math.sqrt(TEST_TASKS)
    return {
        "weights": name,
        "start": None,
        "seed": seed,
        **budget(steps, iterations),
        "training_seconds": seconds,
        "instances": TEST_TASKS,
        "test_returns": [round(x, 4) for x in curve.mean(1).tolist()],
        "errors": [round(x, 4) for x in errors.tolist()],
        "changes": changes or {},
    }


EXPERIMENTS: dict[str, Experiment] = {
    "initialisations": Experiment(
        "Where gradient steps begin: random, trained on the mixture, trained by MAML; on the plane and on cart-poles",
        {
            f"{family}-{training}": partial(initialisation_run, family=family, training=training)
            for family in FAMILIES
            for training in TRAININGS
        },
    ),
}
