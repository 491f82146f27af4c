"""One demonstration on the turned plane: who imitates an expert of known quality, from starts that it did not show.

Five seeds of each. A seed has test tasks, demonstrations and starts of its own, the same for every method, so that an
interval over seeds holds the chance of both. Everyone who is trained sees as many demonstrations in as many iterations,
but for those that are judged on the very demonstration that they were shown, who see half.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ..apps.demonstrations import Demonstrations, Expert, TurnedPlane, moves, until_arrival
from ..apps.one_shot import Learner, MultiTask, fine_tune
from ..apps.one_shot_training import Exam, OneShotConfig, learn_from_one
from ..rng import generator
from ..rollout import rollout
from ..types import Params
from .base import TEST_SEED, Experiment, Run, Stopwatch, budget

VALIDATION_SEED = 3_000_003  # of the tasks that rates are chosen on
TASKS, STARTS, MOST = 40, 10, 10  # test tasks of a seed, starts in each, demonstrations of each
VALIDATION_TASKS = 64
NOISE = 0.05  # of a worse expert, half a step in each number of its actions
STEPS = 200  # of Adam, of who clones at test time

#: Rates among which each method's was chosen on validation tasks (`one-shot-rates`).
RATES = {
    "mil": (3e-3, 1e-2, 3e-2),
    "states": (3e-3, 1e-2, 3e-2),
    "conditioned": (3e-3, 1e-2, 3e-2),
    "fine-tuned": (3e-2, 1e-1, 3e-1),
    "scratch": (3e-2, 1e-1, 3e-1),
}
CHOSEN = {"mil": 0.003, "states": 0.01, "conditioned": 0.01, "fine-tuned": 0.1, "scratch": 0.1}

#: Who is trained, and how that differs from the experiment's configuration.
TRAINED: dict[str, dict[str, Any]] = {
    "mil": {},
    "conditioned": {},
    "states": {},
    "mil, same demonstration": {"same": True},
    "conditioned, until arrival": {"arrival": True},
}
#: Maps demonstrations to parameters that act.
Imitate = Callable[[Demonstrations], Params]


def score(exam: Exam, learner: Learner, imitate: Imitate) -> dict[str, float]:
    """The share of episodes that end within a step of the goal, and the mean distance there."""
    played = exam.played(learner, imitate(exam.shown))
    success, distance = exam.tasks.success(exam.task, played), exam.tasks.distances(exam.task, played)
    return {"success": round(success.mean().item(), 5), "distance": round(distance.mean().item(), 5)}


def exams(tasks: TurnedPlane, seed: int, count: int = TASKS) -> dict[str, Exam]:
    """What everyone is asked, by name: a number of demonstrations, noisy ones, and three that differ in one thing."""
    whole = Exam.draw(tasks, count, MOST, STARTS, generator(seed))
    noisy = Exam.draw(tasks, count, MOST, STARTS, generator(seed), NOISE)
    found = {f"{k} shown": replace(whole, shown=whole.shown.some(0, k)) for k in (1, 2, 3, 5, 10)}
    found |= {f"{k} noisy": replace(noisy, shown=noisy.shown.some(0, k)) for k in (1, 3, 10)}
    one = found["1 shown"]
    found["moves"] = replace(one, shown=moves(one.shown))
    found["until arrival"] = replace(one, shown=until_arrival(tasks, one.task, one.shown))
    found["same start"] = one.from_shown_starts()
    return found


def scores(learner: Learner, imitate: Imitate, seed: int) -> dict[str, dict[str, float]]:
    """What is reached in each of the exams of a seed."""
    return {name: score(exam, learner, imitate) for name, exam in exams(TurnedPlane(), TEST_SEED + seed).items()}


def trained(config: OneShotConfig, seed: int) -> tuple[Learner, dict[str, Any]]:
    """A learner after its whole training, and what that cost."""
    watch = Stopwatch()
    learner, history = learn_from_one(TurnedPlane(), config, generator(seed), watch)
    if len(history.loss) < config.iterations:  # Ctrl-C; half a run is not to be recorded
        raise KeyboardInterrupt
    cost = budget(history.steps, config.iterations) | {"training_seconds": watch.seconds(config.iterations)}
    return learner, cost | {"demonstrations": history.steps // TurnedPlane().horizon}


def trained_run(config: OneShotConfig, folder: Path, *, name: str, seed: int) -> dict[str, Any]:
    """One seed of who answers a demonstration without further training."""
    method = name.split(",")[0]
    changes = {"method": method, "lr": CHOSEN[method], **TRAINED[name]}
    learner, cost = trained(replace(config, **changes), seed)
    return {"scores": scores(learner, learner.imitate, seed), "changes": changes, **cost}


def cloned_run(config: OneShotConfig, folder: Path, *, name: str, seed: int) -> dict[str, Any]:
    """One seed of who clones at test time: from scratch, or from a multi-task start, judged as it is as well."""
    if name == "scratch":
        learner: Learner = MultiTask(TurnedPlane(), generator(seed), 2 * (config.hidden,))
        cost, unadapted = budget(0, 0) | {"demonstrations": 0}, {}
    else:
        learner, cost = trained(replace(config, method="multi-task"), seed)
        unadapted = {"unadapted": scores(learner, learner.imitate, seed)}
    imitate = partial(fine_tune, learner, steps=STEPS, lr=CHOSEN[name])
    changes = {"steps": STEPS, "lr": CHOSEN[name]}
    return {"scores": scores(learner, imitate, seed), **unadapted, "changes": changes, **cost}


def expert_run(config: OneShotConfig, folder: Path, *, seed: int) -> dict[str, Any]:
    """The experts themselves, on the starts of the same exams: what is imitated, and how good that is."""
    tasks, found = TurnedPlane(), {}
    exam = exams(tasks, TEST_SEED + seed)["1 shown"]
    for noise in (0.0, NOISE):
        expert = Expert(tasks, noise)
        played = rollout(tasks, expert, exam.task, exam.task, STARTS, noise=exam.noise)
        success, distance = tasks.success(exam.task, played), tasks.distances(exam.task, played)
        found[f"noise {noise}"] = {
            "success": round(success.mean().item(), 5),
            "distance": round(distance.mean().item(), 5),
        }
    return {"scores": found}


def rate_run(config: OneShotConfig, folder: Path, *, method: str, rate: float) -> dict[str, Any]:
    """One rate of one method, after one demonstration of validation tasks."""
    exam = exams(TurnedPlane(), VALIDATION_SEED, VALIDATION_TASKS)["1 shown"]
    if method in ("fine-tuned", "scratch"):
        learner: Learner = MultiTask(TurnedPlane(), generator(100), 2 * (config.hidden,))
        if method == "fine-tuned":
            learner, _ = trained(replace(config, method="multi-task"), 100)
        return {"score": score(exam, learner, partial(fine_tune, learner, steps=STEPS, lr=rate))}
    learner, _ = trained(replace(config, method=method, lr=rate), 100)
    return {"score": score(exam, learner, learner.imitate)}


def rate_name(method: str, rate: float) -> str:
    """A run of `one-shot-rates`."""
    return f"{method}, rate {rate}"


RATE_RUNS: dict[str, Run] = {
    rate_name(method, rate): partial(rate_run, method=method, rate=rate) for method in RATES for rate in RATES[method]
}
RUNS: dict[str, Run] = {}
for seed in range(5):
    RUNS |= {f"{name}, seed {seed}": partial(trained_run, name=name, seed=seed) for name in TRAINED}
    RUNS |= {f"{name}, seed {seed}": partial(cloned_run, name=name, seed=seed) for name in ("fine-tuned", "scratch")}
    RUNS[f"expert, seed {seed}"] = partial(expert_run, seed=seed)

EXPERIMENTS: dict[str, Experiment] = {
    "one-shot-rates": Experiment(
        "Rates for imitation from one demonstration, on validation tasks", RATE_RUNS, OneShotConfig()
    ),
    "one-shot": Experiment(
        "One demonstration on the turned plane: MIL, conditioning, fine-tuning, cloning from scratch; five seeds each",
        RUNS,
        OneShotConfig(),
    ),
}
