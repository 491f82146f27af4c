"""The scoreboard: nobody is above the possible, the two ends are where they belong, and every algorithm has a row."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pytest
import torch

from metarl_lite.algorithms import configs
from metarl_lite.algorithms.actor_critic import STEPS
from metarl_lite.algorithms.configs import ALGORITHMS, UPDATES, MAMLConfig
from metarl_lite.algorithms.maml import OUTER, meta_gradient
from metarl_lite.evaluate.intervals import t_quantile
from metarl_lite.experiments import EXPERIMENTS, contenders, scoreboard
from metarl_lite.experiments.base import TEST_SEED
from metarl_lite.experiments.columns import COLUMNS, Bounds, share
from metarl_lite.experiments.contenders import Budget, Score, at_random, held_out
from metarl_lite.experiments.scoreboard import ROWS, Cell, Entry, Row, cells, play, summary
from metarl_lite.losses import LOSSES
from metarl_lite.oracles import bandits, bayes, gittins, grid, posterior
from metarl_lite.policies.belief import BeliefPolicy
from metarl_lite.policies.gru import GRUPolicy
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.records.results import recorded
from metarl_lite.rng import generator
from metarl_lite.rollout import draw_noise
from metarl_lite.tasks import GridGoal, PointGoal, make_tasks
from tools import scoreboard as page

F64 = torch.float64
JOINT = 0.01  # the chance that a sound board fails a test of all its cells
RECORD = recorded("scoreboard")
FRESH = TEST_SEED + 500  # of other test tasks than the record's
Board = dict[tuple[str, str], Cell]


def allowed(count: int, sides: int = 1) -> float:
    """How many standard errors the worst of so many independent cells is off with chance `JOINT` (Šidák)."""
    return NormalDist().inv_cdf(1 - (1 - (1 - JOINT) ** (1 / count)) / sides)


def test_the_bound_is_joint_over_the_cells() -> None:
    assert allowed(1) == pytest.approx(2.3263, abs=1e-4)
    assert allowed(1, sides=2) == pytest.approx(2.5758, abs=1e-4)
    assert NormalDist().cdf(allowed(120)) ** 120 == pytest.approx(1 - JOINT)
    assert 3.5 < allowed(len(list(cells()))) < 4


# --- The share --------------------------------------------------------------------------------------------------------


def test_a_share_by_hand() -> None:
    assert share(torch.tensor([1.0, 3.0]), Bounds(1.0, 5.0)) == (0.25, pytest.approx(math.sqrt(2) / math.sqrt(2) / 4))
    # each task has ends of its own: 1 of 2 and 3 of 6 are gained, the same part of each, so it is known exactly
    assert share(torch.tensor([1.0, 3.0]), Bounds(torch.tensor([0.0, 0.0]), torch.tensor([2.0, 6.0]))) == (0.5, 0.0)
    assert share(2.0, Bounds(1.0, 5.0)) == (0.25, None)


def test_the_error_of_a_share_is_what_repeated_boards_show() -> None:
    gen, found = torch.Generator().manual_seed(0), []
    for _ in range(400):
        low = torch.rand(50, generator=gen)
        high = low + 1 + torch.rand(50, generator=gen)
        returns = low + 0.6 * (high - low) + 0.3 * torch.randn(50, generator=gen)
        found.append(share(returns, Bounds(low, high)))
    values, errors = (torch.tensor(x) for x in zip(*found, strict=True))
    assert values.mean().item() == pytest.approx(0.6, abs=4 * values.std().item() / 20)
    assert errors.mean().item() == pytest.approx(values.std().item(), rel=4 / math.sqrt(2 * 399))  # 4 standard errors


def test_seeds_share_their_tasks_so_that_luck_does_not_average_out() -> None:
    runs = [{"share": x, "error": 0.03, "env_steps": 10} for x in (0.4, 0.6)]
    record = {"runs": {f"MAML, TRPO on arms, seed {i}": run for i, run in enumerate(runs)}}
    (key, cell), *rest = summary(record).items()
    assert (key, rest) == (("MAML, TRPO", "arms"), [])
    assert (cell.share, cell.luck, cell.seeds, cell.steps) == (pytest.approx(0.5), pytest.approx(0.03), 2, 10)
    assert cell.error == pytest.approx(math.hypot(math.sqrt(0.02 / 2), 0.03))


# --- What holds of every board ----------------------------------------------------------------------------------------


def above(board: Board) -> dict[tuple[str, str], float]:
    """Cells whose share exceeds 1 by more than luck.

    A cell is as many errors above 1 as luck may make it, jointly over the board. The errors are those over test tasks:
    each single agent is bound by the optimum, whatever training gave it. Where the optimum bounds each single task the
    error is 0, and only rounding is allowed.
    """
    limit = allowed(len(board))
    return {key: cell.share for key, cell in board.items() if cell.share > 1 + limit * cell.luck + 1e-4}


def misplaced(board: Board) -> dict[tuple[str, str], float]:
    """Cells of the two ends that are not 0 and 1, as far as luck lets one see."""
    ends = {"task-agnostic best": 0.0, "Bayes-optimal": 1.0}
    mine = {key: cell for key, cell in board.items() if key[0] in ends}
    limit = allowed(len(mine), sides=2)
    return {key: c.share for key, c in mine.items() if abs(c.share - ends[key[0]]) > limit * c.luck + 1e-4}


def live(rows: list[str], seed: int = 0, budget: Budget | None = None) -> Board:
    """These rows, played now on fresh tasks."""
    budget = budget or Budget(test_seed=FRESH)
    runs = {
        f"{row} on {column}, seed {seed}": play(row, column, seed, budget) for row, column, _ in cells() if row in rows
    }
    return summary({"runs": runs})


ENDS = ["task-agnostic best", "Bayes-optimal"]


def test_the_two_ends_are_where_they_belong() -> None:
    board = live(ENDS)
    assert len(board) == 2 * len(COLUMNS) - 1  # of random MDPs nobody knows the optimum
    assert not misplaced(board)
    assert not above(board)
    assert max(cell.luck for cell in board.values()) < 0.02, "too few test tasks to see anything"


def test_a_wrong_baseline_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    grid_column = COLUMNS["grid"]
    random = at_random(grid_column, 0, Budget()).returns
    assert isinstance(random, torch.Tensor)
    wrong = Bounds(random.mean().item(), grid_column.bounds({}).optimum)
    monkeypatch.setitem(COLUMNS, "grid", replace(grid_column, bounds=lambda task: wrong))
    assert ("task-agnostic best", "grid") in misplaced(live(ENDS))


def test_a_wrong_optimum_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The value of knowing the goal, taken for that of not knowing it."""
    told = Bounds(COLUMNS["grid"].bounds({}).agnostic, COLUMNS["grid"].known or 0.0)
    monkeypatch.setitem(COLUMNS, "grid", replace(COLUMNS["grid"], bounds=lambda task: told))
    assert set(misplaced(live(ENDS))) == {("Bayes-optimal", "grid")}


def test_an_agent_that_is_told_the_task_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(column: Any, seed: int, budget: Budget) -> Score:
        return Score(column.episodes * held_out(column, budget)["probabilities"].amax(1))

    monkeypatch.setitem(ROWS, "greedy", Row(Entry(told), dict.fromkeys(set(COLUMNS) - {"arms", "pair"}, "no arms")))
    board = live(["greedy", *ENDS])
    assert set(above(board)) == {("greedy", "arms"), ("greedy", "pair")}
    for key in ("arms", "pair"):
        known = COLUMNS[key].known
        assert known is not None
        expected = share(known, COLUMNS[key].bounds({}))[0]
        assert abs(board["greedy", key].share - expected) < allowed(2, sides=2) * board["greedy", key].luck


def test_a_cell_on_the_plane_may_not_exceed_1_at_all() -> None:
    cell = Cell(1.001, 0.05, 0.0, 5, 10, (1.001,) * 5)
    assert above({("MAML", "plane"): cell}) == {("MAML", "plane"): 1.001}
    assert not above({("MAML", "plane"): replace(cell, share=1.0)})


# --- The record -------------------------------------------------------------------------------------------------------


def test_every_cell_is_recorded() -> None:
    assert set(RECORD["runs"]) == set(EXPERIMENTS["scoreboard"].runs)
    assert set(summary(RECORD)) == {(row, column) for row, column, _ in cells()}


def test_nobody_is_recorded_above_the_possible() -> None:
    assert not above(summary(RECORD))
    assert not misplaced(summary(RECORD))


def test_training_has_its_steps() -> None:
    for key, cell in summary(RECORD).items():
        trained = key[0] in {name for name in ROWS if name.startswith(("from", "RL", "task inf")) or "MAML" in name}
        assert (cell.steps > 0) == (trained or key[0] in ("Reptile", "ANIL", "Meta-SGD")), key


def test_what_the_page_says_of_the_record() -> None:
    board = summary(RECORD)

    def at(row: str, column: str) -> float:
        return board[row, column].share

    for column in ("arms", "pair"):
        one, other = board["MAML", column].shares, board["FOMAML", column].shares
        assert one == other == board["ANIL", column].shares
        assert board["MAML, DiCE", column].shares == board["MAML, LVC", column].shares != one
        assert abs(at("MAML", column) - at("from scratch", column)) < 0.05
        assert min(at("RL², A2C", column), at("RL², PPO", column)) > 0.97
    steps = [row for row in ROWS if row in ("MAML", "FOMAML", "Reptile", "ANIL", "Meta-SGD") or row[:5] == "MAML,"]
    assert len(steps) == 9
    assert at("RL², PPO", "plane") > max(at(row, "plane") for row in steps)
    assert min(at("RL², A2C", "rounds"), at("RL², PPO", "rounds"), at("RL², PPO", "grid")) > 0.98
    assert at("RL², A2C", "eleven") < at("RL², PPO", "eleven") < at("task inference", "eleven")
    assert board["RL², A2C", "eleven"].steps == board["RL², PPO", "eleven"].steps
    assert board["RL², PPO", "plane"].steps < board["RL², A2C", "plane"].steps / 2
    assert at("task inference", "plane") < at("RL², PPO", "plane") / 2
    assert at("RL², PPO", "mdps") < at("RL², A2C", "mdps")
    # as the text has them
    told = {
        ("RL², PPO", "plane"): 0.87, ("task inference", "plane"): 0.12, ("task inference", "eleven"): 0.99,
        ("RL², A2C", "eleven"): 0.53, ("RL², PPO", "eleven"): 0.89, ("RL², PPO", "mdps"): 0.16,
        ("RL², A2C", "mdps"): 0.48,
    }  # fmt: skip
    assert {cell: round(at(*cell), 2) for cell in told} == told
    assert [round(board[row, "mdps"].steps / 1e6, 1) for row in ("RL², PPO", "RL², A2C")] == [1.9, 89.6]
    spread = board["RL², A2C", "eleven"].shares
    assert max(spread) - min(spread) > 0.3, "one seed far from another"
    assert 0.3 < at("Thompson, PSRL", "grid") < 0.4
    assert 0.45 < at("Thompson, PSRL", "arms") < 0.55
    poor = [row for row in ROWS if (row, "plane") in board and "MAML" in row and min(board[row, "plane"].shares) < 0.5]
    assert poor == ["MAML, ProMP", "MAML, DiCE", "E-MAML"]
    others = [row for row in (*steps, "MAML") if row not in poor]
    assert all(0.65 < at(row, "plane") < 0.72 for row in others), "two thirds of the way"


def test_with_one_state_and_one_layer_there_is_no_second_order() -> None:
    """Autograd's meta-gradient and the first-order one: equal on a bandit, not on a grid."""
    for tasks, equal in ((make_tasks("bernoulli-bandit", horizon=1, dtype=F64), True), (GridGoal(dtype=F64), False)):
        gen = generator(0)
        policy = MLPPolicy.for_tasks(tasks, gen, hidden=())
        theta, found = policy.params(), {}
        task = tasks.sample(3, gen)
        config = MAMLConfig(num_tasks=3, episodes=8, inner_lr=1.0)
        noise = [draw_noise(tasks, policy, 3, 8, gen) for _ in range(2)]
        for algorithm in ("maml", "fomaml"):
            grads = meta_gradient(tasks, policy, theta, task, replace(config, algorithm=algorithm), noise)[0]
            found[algorithm] = torch.cat([g.flatten() for g in grads.values()])
        assert torch.allclose(found["maml"], found["fomaml"], rtol=1e-9, atol=1e-12) == equal


def test_numbers_of_other_records_are_theirs() -> None:
    for key, run in RECORD["runs"].items():
        if "source" in run and run["error"] is None:
            record, name = run["source"].split(": ", 1)
            assert run["return"] == pytest.approx(recorded(record)["runs"][name]["test_returns"][-1][-1]), key


def test_the_page_says_what_is_recorded() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.written(text, RECORD) == text, "python -m tools.scoreboard writes it"
    assert ("A rehearsal" in text) == (RECORD["config"]["iterations"] is not None)


def test_a_rehearsal_shows_no_number_of_an_agent_that_was_hardly_trained() -> None:
    rehearsed = RECORD | {"config": {"iterations": 2}}
    hardly = page.hardly_trained(rehearsed)
    assert ("MAML", "arms") in hardly
    assert {("from scratch", "arms"), ("RL², A2C", "arms"), ("random", "arms"), ("MAML", "plane")}.isdisjoint(hardly)
    assert page.board(rehearsed).count("| … ") == len(hardly)
    assert "…" not in page.board(RECORD | {"config": {"iterations": None}})


def test_the_page_is_not_written_from_another_record() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    runs = RECORD["runs"] | {"greedy on arms, seed 0": RECORD["runs"]["greedy on arms, seed 0"] | {"share": 0.123}}
    assert "0.12<br>" in page.written(text, RECORD | {"runs": runs})


def test_numbers_as_the_page_writes_them() -> None:
    assert [page.number(x) for x in (0.0, -0.001, 0.996, -0.25, -15.54)] == ["0.00", "0.00", "1.00", "−0.25", "−15.5"]
    assert [page.spread(x) for x in (0.0, 0.0042, 0.00996, 0.57)] == ["0.000", "0.004", "0.01", "0.57"]
    assert [page.short(x) for x in (800, 6000, 128_000, 2_400_000, 25_600_000, 125_000_000)] == [
        "800", "6.0 k", "128 k", "2.4 M", "26 M", "125 M",
    ]  # fmt: skip


# --- Every algorithm has a row ----------------------------------------------------------------------------------------


def used(rows: dict[str, Row]) -> set[Any]:
    """All that the register hands to its contenders: names of algorithms and updates, kinds of policies, rules."""

    def parts(value: Any) -> Iterator[Any]:
        if isinstance(value, partial):
            yield value.func
            for part in (*value.args, *value.keywords.values()):
                yield from parts(part)
        elif not isinstance(value, tuple | dict):
            yield value

    entries = [entry for row in rows.values() for entry in (row.play, *row.but.values()) if isinstance(entry, Entry)]
    return {part for entry in entries for part in parts(entry.play)}


def rules() -> set[Callable[..., Any]]:
    """All functions of the oracles that are rules to act by, or make one: their type says so."""
    found = set()
    for module in (bandits, bayes, gittins, grid, posterior):
        acts = {("wins", "losses", "gen"), ("search", "gen"), ("belief", "gen")}
        for function in vars(module).values():
            if not inspect.isfunction(function) or function.__module__ != module.__name__:
                continue
            signature = inspect.signature(function)
            if tuple(signature.parameters) in acts or signature.return_annotation == "Rule":
                found.add(function)
    return found


#: Rules that are rows under another name: any arm, any move, and the best path, which `by_search(None)` follows.
OTHERWISE = {bandits.random_arm, grid.walk_at_random, grid.along}


def missing(rows: dict[str, Row]) -> set[Any]:
    """What the package has and the register has not.

    Not the applications' own kinds of memory: their table is their chapter's, and whether they are imported depends on
    which tests ran before this one.
    """
    kinds = {kind for kind in GRUPolicy.__subclasses__() if kind.__module__.startswith("metarl_lite.policies.")}
    names = {*configs.ALGORITHMS, *OUTER, *LOSSES, *UPDATES}
    return (names | kinds | rules()) - OTHERWISE - used(rows)


def test_every_algorithm_has_a_row() -> None:
    assert set(STEPS) == set(UPDATES)
    assert BeliefPolicy in GRUPolicy.__subclasses__()
    assert {bandits.thompson, bandits.ucb1, gittins.gittins, bayes.bayes_optimal, posterior.psrl} <= rules()
    assert not missing(ROWS)


def test_every_module_that_trains_is_played() -> None:
    """An algorithm that is no name of `ALGORITHMS` or `UPDATES` has a module that the driver runs."""
    modules = Path(configs.__file__).parent.glob("*.py")
    trains = {path.stem for path in modules if "import train" in path.read_text(encoding="utf-8")}
    played = Path(contenders.__file__).read_text(encoding="utf-8")
    assert {"maml", "rl2"} <= trains
    assert not {name for name in trains if f"from ..algorithms.{name} import" not in played}


@pytest.mark.parametrize(
    ("row", "lost"),
    [
        ("Reptile", "reptile"),
        ("MAML, TRPO", "trpo"),
        ("MAML, DiCE", "dice"),
        ("RL², A2C", "a2c"),
        ("UCB1", bandits.ucb1),
    ],
)
def test_an_algorithm_without_a_row_is_found(row: str, lost: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing({name: r for name, r in ROWS.items() if name != row}) == {lost}
    monkeypatch.setattr(configs, "ALGORITHMS", (*ALGORITHMS, "newcomer"))
    assert missing(ROWS) == {"newcomer"}


def test_an_empty_cell_has_a_reason() -> None:
    for row in ROWS.values():
        for column in COLUMNS:
            entry = row.entry(column)
            assert isinstance(entry, Entry) or len(entry.split()) > 4
    with pytest.raises(ValueError, match="UCB1 does not play in column grid: a rule for other tasks"):
        play("UCB1", "grid", 0, Budget())


def test_a_row_and_a_column_are_one_entry_each(monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(list(cells()))
    monkeypatch.setitem(ROWS, "another", Row(Entry(at_random)))
    assert len(list(cells())) == before + len(COLUMNS)
    monkeypatch.setitem(COLUMNS, "more arms", replace(COLUMNS["arms"], title="More arms"))
    assert {"another", "MAML", "RL², PPO"} <= {row for row, column, _ in cells() if column == "more arms"}
    assert -0.1 < play("another", "more arms", 0, Budget())["share"] < 0.1


# --- Live -------------------------------------------------------------------------------------------------------------

#: Trained here and now; each takes seconds.
TRAINED = [("MAML", "arms"), ("MAML, TRPO", "arms"), ("MAML", "pair"), ("RL², A2C", "eleven"), ("RL², A2C", "rounds")]


@pytest.mark.slow
def test_untrained_and_recorded_agents_reach_what_is_recorded() -> None:
    """On other tasks: two independent estimates of one number, so they differ by their joint error."""
    board, found = summary(RECORD), {}
    for row, column, entry in cells():
        known = RECORD["runs"][f"{row} on {column}, seed 0"]
        if known["error"] is not None and (known["env_steps"] == 0 or "source" in known):
            found[row, column] = [play(row, column, seed, Budget(test_seed=FRESH)) for seed in range(entry.seeds)]
    assert len(found) > 30
    limit = allowed(len(found), sides=2)
    for (row, column), runs in found.items():
        for seed, run in enumerate(runs):
            old = RECORD["runs"][f"{row} on {column}, seed {seed}"]
            error = math.hypot(run["error"], old["error"])
            assert abs(run["share"] - old["share"]) <= limit * error + 1e-4, (row, column, seed)
    assert not above(board)


@pytest.mark.slow
@pytest.mark.parametrize(("row", "column"), TRAINED, ids=[" on ".join(cell) for cell in TRAINED])
def test_a_training_of_today_is_one_of_those_recorded(row: str, column: str) -> None:
    """Another seed: it lies in the interval that S trainings predict for one more, jointly over these cells."""
    cell = summary(RECORD)[row, column]
    run = play(row, column, 100, Budget(iterations=RECORD["config"]["iterations"], test_seed=FRESH))
    shares = torch.tensor(cell.shares, dtype=torch.float64)
    freedom = cell.seeds - 1
    z = t_quantile(1 - JOINT / len(TRAINED) / 2, freedom)
    spread = math.sqrt((1 + 1 / cell.seeds) * shares.var().item() + cell.luck**2 + run["error"] ** 2)
    assert abs(run["share"] - cell.share) <= z * spread
    assert run["share"] <= 1 + allowed(len(TRAINED)) * run["error"]


def test_what_follows_the_end_of_an_episode_does_not_count() -> None:
    """The first goal is reached by the first step, and the walk goes on past it; the second is never reached."""
    tasks, task = PointGoal(horizon=3), {"goal": torch.tensor([[0.1, 0.0], [-0.4, 0.0]])}
    right = torch.tensor([[0.1, 0.0]]).expand(2, 2)
    returns = contenders.live_through(tasks, task, 2, lambda t, state, gen: right, torch.Generator())
    expected = torch.tensor([[0.0, 0.0], [-0.5 - 0.6 - 0.7] * 2])
    torch.testing.assert_close(returns, expected, rtol=0, atol=1e-5)


def test_the_steps_of_an_agent_include_those_of_the_agent_that_it_began_with() -> None:
    runs = recorded("rl2-bandits")["runs"]
    score = contenders.by_actor("rl2-bandits", ("bandit-k5-n100",), COLUMNS["arms"], 0, Budget(instances=10))
    assert runs["n=100, k=5"]["start"] == runs["n=10, k=5"]["weights"]
    assert score.steps == runs["n=100, k=5"]["env_steps"] + runs["n=10, k=5"]["env_steps"]


def test_a_contender_is_pure() -> None:
    """The same seed gives the same score, and the next one another."""
    budget = Budget(iterations=1, instances=50)
    first, again, other = (play("MAML", "arms", seed, budget) for seed in (0, 0, 1))
    assert first["share"] == again["share"] != other["share"]
    assert scoreboard.play("RL², PPO", "eleven", 0, budget)["env_steps"] == 32 * 8 * 5
