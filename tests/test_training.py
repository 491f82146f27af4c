"""The driver of every training loop: a run ends where an uninterrupted one ends, whatever comes in between.

Most of it is tested on an iteration of microseconds. Each algorithm is then interrupted as well, and in the slow tests
killed, at moments that are drawn at random.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from metarl_lite.algorithms import actor_critic
from metarl_lite.policies.base import Policy
from metarl_lite.state import State, Stored
from metarl_lite.tasks import BernoulliBandit, FiniteTasks, PointGoal
from metarl_lite.training import train
from metarl_lite.types import Diverged, NotSaved
from tests.runs import RUNS, End, cart_pole, run_maml, run_rl2, same, same_end, toy, toy_iteration

ROOT = Path(__file__).parents[1]


def run(state: State | None = None, iterate: Callable[[State], Any] = toy_iteration, **options: Any) -> End:
    """The toy run under the driver."""
    state = state or toy()
    return End(*train("toy", state, iterate, "lr = 0.1", **options), state.gen)


WHOLE = run()


def stop_after(count: int) -> Callable[..., bool]:
    return lambda iteration, policy, history: iteration + 1 == count


def in_iteration(number: int, act: Callable[[], Any]) -> Callable[[State], dict[str, Any]]:
    """The toy iteration, in the middle of which something happens once: parameters are changed, nothing is noted."""

    def iterate(state: State) -> dict[str, Any]:
        seen = toy_iteration(state)
        if state.iteration == number:
            act()
        return seen

    return iterate


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def done(path: Path) -> int:
    """How many iterations a file holds."""
    return int(Stored.read(path).about["iteration"])


# --- Going on ---------------------------------------------------------------------------------------------------------


def test_a_run_is_its_iterations_and_nothing_else() -> None:
    state = toy()
    for _ in range(6):
        state.history.add(toy_iteration(state))
        state.iteration += 1
    by_hand = End(state.policy.replace({n: p.detach() for n, p in state.theta.items()}), state.history, state.gen)
    assert same_end(WHOLE, by_hand)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6])
@pytest.mark.parametrize(("every", "later"), [(1, 50), (2, 3), (50, 1)])
def test_a_run_that_was_stopped_goes_on_to_the_same_end(count: int, every: int, later: int, tmp_path: Path) -> None:
    path = tmp_path / "run.state"
    early = run(checkpoint=path, every=every, callback=stop_after(count))
    assert len(early.history.returns) == count
    assert early.history.returns == WHOLE.history.returns[:count]
    assert done(path) == count
    seen: list[int] = []
    late = run(checkpoint=path, every=later, callback=lambda i, p, h: seen.append(i))
    assert seen == list(range(count, 6))
    assert same_end(late, WHOLE)
    assert same_end(run(checkpoint=path), WHOLE), "a run that has ended has nothing left to do"
    assert files(tmp_path) == ["run.state"]


def test_the_file_is_written_at_the_start_every_so_often_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    save = State.save

    def noted(state: State, path: Path) -> None:
        written.append(state.iteration)
        save(state, path)

    monkeypatch.setattr(State, "save", noted)
    run(toy(7), checkpoint=tmp_path / "a", every=3)
    assert written == [0, 3, 6, 7]
    written.clear()
    run(toy(7), checkpoint=tmp_path / "a", every=3)
    assert written == []
    run(toy(7))
    assert written == []


def test_the_callback_sees_each_iteration_and_cannot_change_it() -> None:
    met: list[tuple[int, Policy, int]] = []

    def meddle(iteration: int, policy: Any, history: Any) -> None:
        met.append((iteration, policy.replace(policy.params()), len(history.returns)))
        for p in policy._params.values():
            p.zero_()

    end = run(callback=meddle)
    assert same_end(end, WHOLE)
    assert [(i, n) for i, _, n in met] == [(i, i + 1) for i in range(6)]
    assert same(met[-1][1], end.policy)
    assert not same(met[-2][1], end.policy)


def test_the_policy_that_training_starts_from_is_not_changed() -> None:
    state = toy()
    before = state.policy.replace(state.policy.params())
    run(state)
    assert same(state.policy, before)


@pytest.mark.parametrize("every", [0, -1, 1.5, True])
def test_a_senseless_every_is_refused(every: Any) -> None:
    with pytest.raises(ValueError, match=f"every = {every}: a positive integer"):
        run(every=every)


# --- Legs -------------------------------------------------------------------------------------------------------------


def test_a_leg_is_killed_and_gone_on_with_like_a_run(tmp_path: Path) -> None:
    ends = []
    for name, counts in (("whole", ()), ("cut", (1, 3))):
        path = tmp_path / name
        run(checkpoint=path)
        for count in counts:
            run(toy(5, leg=2, lr=0.3), checkpoint=path, callback=stop_after(count))
        second = run(toy(5, leg=2, lr=0.3), checkpoint=path)
        assert len(second.history.returns) == 11
        assert second.history.steps == 110
        ends.append(run(toy(2, leg=3, lr=0.3), checkpoint=path))
    assert same_end(*ends)
    assert len(ends[0].history.returns) == 13
    assert ends[0].history.steps == 130


def test_a_leg_that_ends_before_its_first_writing_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "run.state"
    run(checkpoint=path)

    def fail(state: State) -> dict[str, Any]:
        toy_iteration(state)
        raise RuntimeError("the light went out")

    with pytest.raises(RuntimeError, match="the light"):
        run(toy(4, leg=2), fail, checkpoint=path)
    assert len(Stored.read(path).about["legs"]) == 2
    late = run(toy(4, leg=2), checkpoint=path)
    run(checkpoint=tmp_path / "other")
    assert same_end(late, run(toy(4, leg=2), checkpoint=tmp_path / "other"))


@pytest.mark.parametrize("leg", [0, -1, 1.5, True])
def test_a_leg_that_is_none_is_refused_with_those_that_are(leg: Any) -> None:
    with pytest.raises(ValueError, match=r"leg = .*counted from 1\. A run begins with leg=1, and leg=2 goes on from"):
        run(toy(leg=leg))


def test_a_further_leg_without_a_checkpoint_is_refused() -> None:
    with pytest.raises(ValueError, match="leg = 2, but there is no checkpoint to go on from"):
        run(toy(leg=2))


# --- Ctrl-C -----------------------------------------------------------------------------------------------------------


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def test_ctrl_c_in_an_iteration_is_acted_on_at_its_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, handler = tmp_path / "run.state", signal.getsignal(signal.SIGINT)
    early = run(iterate=in_iteration(2, ctrl_c), checkpoint=path)
    assert capsys.readouterr().out == "toy: interrupted after 3 of 6 iterations; this is what was trained so far.\n"
    assert early.history.returns == WHOLE.history.returns[:3]
    assert signal.getsignal(signal.SIGINT) is handler
    seen: list[int] = []
    assert same_end(run(checkpoint=path, callback=lambda i, p, h: seen.append(i)), WHOLE)
    assert seen == [3, 4, 5], "nothing is repeated"


def test_ctrl_c_lets_the_callback_of_the_iteration_see_it() -> None:
    seen: list[int] = []
    run(iterate=in_iteration(2, ctrl_c), callback=lambda i, p, h: seen.append(i))
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("how", ["signal", "signal twice", "raised"])
def test_ctrl_c_in_a_callback_keeps_the_iteration(how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def callback(iteration: int, policy: Any, history: Any) -> None:
        if iteration == 2:
            if how == "raised":
                raise KeyboardInterrupt
            ctrl_c()
            if how == "signal twice":
                ctrl_c()
                raise AssertionError("a second Ctrl-C interrupts at once")

    path = tmp_path / "run.state"
    early = run(checkpoint=path, callback=callback)
    assert "interrupted after 3 of 6 iterations" in capsys.readouterr().out
    assert len(early.history.returns) == done(path) == 3
    assert same_end(run(checkpoint=path), WHOLE)


@pytest.mark.parametrize("how", ["signal twice", "raised"])
def test_a_second_ctrl_c_leaves_half_an_iteration_out(
    how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def act() -> None:
        if how == "raised":
            raise KeyboardInterrupt
        ctrl_c()
        ctrl_c()
        raise AssertionError("a second Ctrl-C interrupts at once")

    path = tmp_path / "run.state"
    early = run(iterate=in_iteration(3, act), checkpoint=path, every=2)
    assert "interrupted after 3 of 6 iterations" in capsys.readouterr().out
    assert same(early.policy, run(callback=stop_after(3)).policy), "of the last whole iteration"
    assert early.history.returns == WHOLE.history.returns[:3]
    assert done(path) == 2, "of the last writing"
    assert same_end(run(checkpoint=path), WHOLE)


def test_ctrl_c_while_the_file_is_written_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """However often: who is in a hurry presses it again and again."""
    path, fsync = tmp_path / "run.state", os.fsync

    def impatient(file: int) -> None:
        for _ in range(3):
            ctrl_c()
        fsync(file)

    with monkeypatch.context() as patch:
        early = run(checkpoint=path, every=2, callback=lambda i, p, h: patch.setattr(os, "fsync", impatient))
    assert len(early.history.returns) == done(path) == 2
    assert "interrupted after 2 of 6" in capsys.readouterr().out
    assert same_end(run(checkpoint=path), WHOLE)


def test_ctrl_c_before_the_first_iteration_returns_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.state"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: ctrl_c())
        early = run(checkpoint=path)
    assert "interrupted after 0 of 6" in capsys.readouterr().out
    assert same(early.policy, toy().policy)
    assert same_end(run(checkpoint=path), WHOLE)


def test_ctrl_c_in_the_last_iteration_finds_the_run_whole(tmp_path: Path) -> None:
    assert same_end(run(iterate=in_iteration(5, ctrl_c), checkpoint=tmp_path / "run.state"), WHOLE)
    assert done(tmp_path / "run.state") == 6


# --- SIGTERM, and who else handles signals ----------------------------------------------------------------------------


@contextmanager
def handled(number: int, handler: Any) -> Iterator[None]:
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def sigterm() -> None:
    signal.raise_signal(signal.SIGTERM)


def test_sigterm_takes_its_course_once_the_state_is_written(tmp_path: Path) -> None:
    path = tmp_path / "run.state"
    found: list[int] = []
    with handled(signal.SIGTERM, lambda number, frame: found.append(done(path))):
        early = run(iterate=in_iteration(2, sigterm), checkpoint=path)
        assert found == [3]
    assert len(early.history.returns) == 3
    assert same_end(run(checkpoint=path), WHOLE)


def test_an_error_that_comes_before_sigterm_is_told_first() -> None:
    came: list[int] = []

    def fail() -> None:
        sigterm()
        raise Diverged("a loss of inf.")

    with handled(signal.SIGTERM, lambda number, frame: came.append(number)):
        with pytest.raises(Diverged) as caught:
            run(iterate=in_iteration(2, fail))
        assert len(caught.value.history.returns) == 2
        sigterm()
    assert came == [signal.SIGTERM], "and the handler is back in its place"


def test_what_is_ignored_stays_ignored() -> None:
    with handled(signal.SIGINT, signal.SIG_IGN), handled(signal.SIGTERM, signal.SIG_IGN):
        end = run(iterate=in_iteration(1, lambda: (ctrl_c(), ctrl_c(), sigterm())))
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert same_end(end, WHOLE)


@pytest.mark.parametrize("error", [RuntimeError("no"), Diverged("no"), SystemExit(3)])
def test_handlers_are_put_back_after_an_error(error: BaseException) -> None:
    def fail() -> None:
        raise error

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(type(error)):
        run(iterate=in_iteration(1, fail))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_outside_of_the_main_thread_training_runs_and_touches_no_handler(tmp_path: Path) -> None:
    before, ends, met = signal.getsignal(signal.SIGINT), [], []

    def work() -> None:
        met.append(signal.getsignal(signal.SIGINT))
        ends.append(run(iterate=in_iteration(1, lambda: met.append(signal.getsignal(signal.SIGINT)))))

        def interrupt() -> None:
            raise KeyboardInterrupt  # as `_thread.interrupt_main` and its like would

        ends.append(run(iterate=in_iteration(3, interrupt), checkpoint=tmp_path / "run.state", every=2))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert met == [before, before]
    assert same_end(ends[0], WHOLE)
    assert len(ends[1].history.returns) == 3
    assert done(tmp_path / "run.state") == 2


#: An iteration that says where it is and waits for a line; a run that says what it returned.
WAITS = """
import sys
from tests.runs import toy, toy_iteration
from metarl_lite.training import train

def iterate(state):
    seen = toy_iteration(state)
    if state.iteration == 2:
        for _ in range(2):
            print("in the middle", flush=True)
            sys.stdin.readline()
    return seen

policy, history = train("toy", toy(), iterate, "lr", checkpoint=sys.argv[1], every=2)
print(f"returned {len(history.returns)}")
"""


def in_the_middle(path: Path, first: int, second: int | None = None) -> tuple[int, str]:
    """Sends signals into the middle of an iteration of another process; its exit code, and what it said last."""
    command = [sys.executable, "-c", WAITS, str(path)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "in the middle\n"
        process.send_signal(first)
        process.stdin.write("go on\n")
        process.stdin.flush()
        assert process.stdout.readline() == "in the middle\n", "the iteration goes on"
        if second is not None:
            process.send_signal(second)
        said, _ = process.communicate(None if second is not None else "go on\n")
    return process.returncode, said


def test_sigterm_ends_a_process_after_the_iteration(tmp_path: Path) -> None:
    code, said = in_the_middle(tmp_path / "run.state", signal.SIGTERM)
    assert (code, said) == (-signal.SIGTERM, "")
    assert done(tmp_path / "run.state") == 3
    assert files(tmp_path) == ["run.state"]
    assert same_end(run(checkpoint=tmp_path / "run.state"), WHOLE)


def test_ctrl_c_ends_training_after_the_iteration_and_not_the_process(tmp_path: Path) -> None:
    code, said = in_the_middle(tmp_path / "run.state", signal.SIGINT)
    assert code == 0
    assert said.splitlines() == [
        "toy: interrupted after 3 of 6 iterations; this is what was trained so far.",
        "returned 3",
    ]
    assert done(tmp_path / "run.state") == 3
    assert same_end(run(checkpoint=tmp_path / "run.state"), WHOLE)


def test_a_second_ctrl_c_ends_training_in_the_middle(tmp_path: Path) -> None:
    code, said = in_the_middle(tmp_path / "run.state", signal.SIGINT, signal.SIGINT)
    assert code == 0
    assert said.splitlines()[-2:] == [
        "toy: interrupted after 2 of 6 iterations; this is what was trained so far.",
        "returned 2",
    ]
    assert done(tmp_path / "run.state") == 2
    assert same_end(run(checkpoint=tmp_path / "run.state"), WHOLE)


# --- Errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError("a plot failed"), SystemExit(3)])
def test_a_callback_that_fails_costs_no_iteration(error: BaseException, tmp_path: Path) -> None:
    def fail(iteration: int, policy: Any, history: Any) -> None:
        if iteration == 3:
            raise error

    path = tmp_path / "run.state"
    with pytest.raises(type(error)) as caught:
        run(checkpoint=path, callback=fail)
    assert caught.value is error
    assert done(path) == 4
    assert same_end(run(checkpoint=path), WHOLE)


def test_an_iteration_that_fails_costs_what_came_since_the_last_writing(tmp_path: Path) -> None:
    def fail() -> None:
        raise RuntimeError("the simulator failed")

    path = tmp_path / "run.state"
    with pytest.raises(RuntimeError, match="the simulator failed"):
        run(iterate=in_iteration(5, fail), checkpoint=path, every=2)
    assert done(path) == 4
    assert same_end(run(checkpoint=path), WHOLE)


def test_divergence_carries_the_last_good_state(tmp_path: Path) -> None:
    def diverge() -> None:
        raise Diverged("a loss of inf.")

    path, good = tmp_path / "run.state", []
    with pytest.raises(
        Diverged, match=r"toy stopped in iteration 3 with lr = 0\.1: a loss of inf\. The last"
    ) as caught:
        run(iterate=in_iteration(3, diverge), checkpoint=path, every=2, callback=lambda i, p, h: good.append(p))
    error = caught.value
    assert error.iteration == len(error.history.returns) == 3
    assert error.history.returns == WHOLE.history.returns[:3]
    assert same(error.policy, good[-1])
    assert done(path) == 2
    with pytest.raises(Diverged, match="in iteration 3"):
        run(iterate=in_iteration(3, diverge), checkpoint=path)
    assert same_end(run(checkpoint=path), WHOLE), "where it was chance, the run goes on"


def test_a_callback_that_diverges_is_no_loss_either(tmp_path: Path) -> None:
    def judge(iteration: int, policy: Any, history: Any) -> None:
        if iteration == 2:
            raise Diverged("a loss of nan after a test's inner step.")

    path = tmp_path / "run.state"
    with pytest.raises(Diverged, match="after a test's inner step") as caught:
        run(checkpoint=path, callback=judge)
    error = caught.value
    assert error.iteration == len(error.history.returns) == done(path) == 3
    assert same(error.policy, run(callback=stop_after(3)).policy)


# --- Where nothing can be written -------------------------------------------------------------------------------------


class Disk:
    """Full when it is told to be."""

    full = False

    def fsync(self, file: int) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(os, "fsync", disk.fsync)
    return disk


def not_saved(after: int, path: Path, disk: Disk, kept: int | None, **options: Any) -> None:
    """A run that loses its disk: nothing is lost, and once there is room it goes on."""
    with pytest.raises(NotSaved) as caught:
        run(checkpoint=path, **options)
    error, message = caught.value, str(caught.value)
    when = f"after {after} iterations" if after else "before the first iteration"
    assert f"toy could not keep its state {when}" in message
    assert ("What was trained is this error's .policy" in message) == (after > 0)
    assert "No space left on device" in message
    assert str(path) in message
    assert "Make room, or choose another checkpoint" in message
    assert error.iteration == len(error.history.returns) == after
    assert error.history.returns == WHOLE.history.returns[:after]
    assert same(error.policy, run(callback=stop_after(after)).policy if after else toy().policy)
    assert files(path.parent) == ([] if kept is None else [path.name]), "no litter"
    disk.full = False
    if kept is not None:
        assert done(path) == kept, "the old file is whole"
    assert same_end(run(checkpoint=path), WHOLE)


def test_a_disk_that_is_full_at_the_start_is_noticed_before_the_first_iteration(tmp_path: Path, disk: Disk) -> None:
    disk.full = True

    def iterate(state: State) -> dict[str, Any]:
        raise AssertionError("no hour of work before that is known")

    not_saved(0, tmp_path / "run.state", disk, None, iterate=iterate)


def fill(disk: Disk, iteration: int) -> Callable[..., None]:
    def callback(now: int, policy: Any, history: Any) -> None:
        disk.full = now == iteration

    return callback


@pytest.mark.parametrize(("iteration", "every", "kept"), [(1, 2, 0), (3, 2, 2), (5, 2, 4), (5, 50, 0)])
def test_a_disk_that_fills_up_loses_nothing(iteration: int, every: int, kept: int, tmp_path: Path, disk: Disk) -> None:
    not_saved(iteration + 1, tmp_path / "run.state", disk, kept, every=every, callback=fill(disk, iteration))


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM", "True", "error"])
def test_a_disk_that_is_full_when_training_is_ended_loses_nothing(how: str, tmp_path: Path, disk: Disk) -> None:
    def callback(iteration: int, policy: Any, history: Any) -> bool:
        disk.full = iteration == 2
        if disk.full and how == "error":
            raise RuntimeError("a plot failed")
        if disk.full and how in ("Ctrl-C", "SIGTERM"):
            (ctrl_c if how == "Ctrl-C" else sigterm)()
        return disk.full

    with handled(signal.SIGTERM, lambda number, frame: None):
        not_saved(3, tmp_path / "run.state", disk, 0, callback=callback)


def test_a_disk_that_is_full_when_a_run_goes_on_leaves_its_file(tmp_path: Path, disk: Disk) -> None:
    run(checkpoint=tmp_path / "run.state", callback=stop_after(4))
    disk.full = True
    not_saved(4, tmp_path / "run.state", disk, 4)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full is a thing of Linux")
def test_a_disk_that_is_really_full_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run.state"

    def callback(iteration: int, policy: Any, history: Any) -> None:
        if iteration == 1:
            (tmp_path / "run.state.part").symlink_to("/dev/full")

    with pytest.raises(NotSaved, match=r"after 2 iterations .*No space left on device.*run\.state") as caught:
        run(checkpoint=path, every=2, callback=callback)
    assert len(caught.value.history.returns) == 2
    assert files(tmp_path) == ["run.state"]
    assert same_end(run(checkpoint=path), WHOLE)


def test_a_folder_that_cannot_be_written_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    said = (
        r"before the first iteration \(.* Not a directory; .*file/run\.state'\)\. Choose another checkpoint\. "
        r"Nothing was trained yet\.$"
    )
    for path in (tmp_path / "file" / "run.state", tmp_path / "file" / "folder" / "run.state"):
        with pytest.raises(NotSaved, match=said.replace("file/", "file/.*")):
            run(checkpoint=path)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder in which no file can be made is a thing of Linux")
def test_a_place_where_no_file_can_be_made_is_named() -> None:
    said = r"No such file or directory, and none can be made there; .*'/proc/run\.state'\)\. Choose another checkpoint"
    with pytest.raises(NotSaved, match=said):
        run(checkpoint=Path("/proc/run.state"))


@pytest.mark.parametrize("checkpoint", [3, "", b"run.state", True])
def test_what_names_no_file_is_refused(checkpoint: Any) -> None:
    with pytest.raises(
        ValueError, match=r"checkpoint = .*: the name of a file is needed, such as checkpoint=\"run.ck\""
    ):
        run(checkpoint=checkpoint)


def test_a_read_only_folder_is_named_and_a_finished_run_is_read_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    run(checkpoint=tmp_path / "finished")
    run(checkpoint=tmp_path / "half", callback=stop_after(3))
    monkeypatch.setattr(os, "replace", refuse)
    assert same_end(run(checkpoint=tmp_path / "finished"), WHOLE)
    for name, after in (("half", 3), ("new", 0)):
        when = f"after {after} iterations" if after else "before the first iteration"
        with pytest.raises(NotSaved, match=rf"{when} .*Permission denied.*{name}'\)\. Choose another checkpoint"):
            run(checkpoint=tmp_path / name)
    assert files(tmp_path) == ["finished", "half"]
    assert done(tmp_path / "half") == 3


# --- Each algorithm ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole() -> Callable[[str], End]:
    """The uninterrupted run of an algorithm."""
    ends: dict[str, End] = {}

    def end(name: str) -> End:
        if name not in ends:
            ends[name] = RUNS[name]()
        return ends[name]

    return end


@pytest.mark.parametrize("name", RUNS)
def test_each_algorithm_goes_on_to_the_same_end(name: str, whole: Callable[[str], End], tmp_path: Path) -> None:
    path, seen = tmp_path / "run.state", []
    early = RUNS[name](checkpoint=path, every=3, callback=stop_after(4))
    assert len(early.history.returns) == 4
    assert not same(early.policy, whole(name).policy)
    late = RUNS[name](checkpoint=path, every=2, callback=lambda i, p, h: seen.append(i))
    assert seen == [4, 5]
    assert same_end(late, whole(name))
    assert same_end(RUNS[name](checkpoint=path), whole(name))


@pytest.mark.parametrize("name", RUNS)
def test_each_algorithm_takes_a_further_leg(name: str, whole: Callable[[str], End], tmp_path: Path) -> None:
    options = {"outer_lr" if name.startswith("maml") else "lr": 1e-3, "iterations": 3}
    ends = []
    for cut in (False, True):
        path = tmp_path / f"{cut}.state"
        first = RUNS[name](checkpoint=path)
        again: dict[str, Any] = {"checkpoint": path, "leg": 2, "changes": options}
        if cut:
            RUNS[name](**again, callback=stop_after(1))
        ends.append(RUNS[name](**again))
        assert len(ends[-1].history.returns) == 9
        assert ends[-1].history.steps == first.history.steps * 9 // 6
        assert ends[-1].history.returns[:6] == first.history.returns
        assert not same(ends[-1].policy, first.policy)
    assert same_end(*ends)


def test_a_leg_may_have_other_inner_steps(tmp_path: Path) -> None:
    """The history has rows of another length then."""
    path = tmp_path / "run.state"
    run_maml(checkpoint=path)
    run_maml(checkpoint=path, leg=2, changes={"inner_steps": 2}, callback=stop_after(2))
    end = run_maml(checkpoint=path, leg=2, changes={"inner_steps": 2})
    assert [len(row) for row in end.history.returns] == [2] * 6 + [3] * 6
    assert end.history.steps == 6 * 2 * 45 + 6 * 3 * 45


def test_steps_are_those_of_the_environment() -> None:
    assert run_maml(changes={"iterations": 2, "inner_steps": 2}).history.steps == 2 * 3 * (3 * 3 * 5)
    assert run_rl2(changes={"iterations": 2}).history.steps == 2 * (3 * 2) * 3


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("maml adam", {"seed": 1}, r"generator is .*policy\.parameters is"),
        (
            "maml adam",
            {"tasks": BernoulliBandit(2, horizon=5)},
            r"family\.class is .*PointGoal there, .*BernoulliBandit",
        ),
        ("maml adam", {"tasks": PointGoal(horizon=6)}, r"family\.horizon is 5 there, 6 here"),
        ("maml adam", {"tasks": PointGoal(horizon=5, dtype=torch.float64)}, r"family\.dtype is torch\.float32 there"),
        ("maml adam", {"hidden": (5,)}, r"policy\.hidden is \(4,\) there, \(5,\) here; policy\.parameters is"),
        ("maml adam", {"outer": "promp"}, r"outer is adam there, promp here"),
        ("maml adam", {"changes": {"inner_lr": 0.2}}, r"inner_lr is 0\.1 there, 0\.2 here"),
        ("maml adam", {"changes": {"chunk_size": 2}}, r"chunk_size is None there, 2 here"),
        ("maml adam", {"changes": {"iterations": 9}}, r"iterations = 9, but .* holds a leg of 6, 1 of them done"),
        ("rl2 a2c", {"seed": 1}, r"generator is"),
        ("rl2 a2c", {"tasks": BernoulliBandit(3, horizon=1)}, r"family\.action_size is 2 there, 3 here"),
        ("rl2 a2c", {"tasks": BernoulliBandit(2, horizon=2)}, r"family\.horizon is 1 there, 2 here"),
        ("rl2 a2c", {"made": {"hidden": 5}}, r"policy\.hidden is 4 there, 5 here; policy\.parameters"),
        ("rl2 a2c", {"changes": {"algorithm": "ppo"}}, r"algorithm is a2c there, ppo here"),
        ("rl2 belief", {"made": {"code": 4, "units": 4, "queries": 2}}, r"policy\.queries is 4 there, 2 here"),
    ],
)
def test_another_run_of_each_algorithm_is_refused(
    name: str, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "run.state"
    RUNS[name](checkpoint=path, callback=stop_after(1))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        RUNS[name](checkpoint=path, **options)
    assert path.read_bytes() == before
    assert files(tmp_path) == ["run.state"]


def test_another_range_of_a_family_is_refused(tmp_path: Path) -> None:
    path, tasks = tmp_path / "run.state", PointGoal(horizon=5)
    wider = PointGoal(horizon=5)
    wider.radius = 0.1
    run_maml(checkpoint=path, callback=stop_after(1))
    with pytest.raises(ValueError, match=r"family\.radius is 0\.01 there, 0\.1 here"):
        run_maml(checkpoint=path, tasks=wider)
    some = [FiniteTasks(tasks, tasks.sample(3, torch.Generator().manual_seed(seed))) for seed in (0, 1)]
    run_maml(checkpoint=tmp_path / "pool", tasks=some[0], callback=stop_after(1))
    with pytest.raises(ValueError, match=r"family\.pool\.goal is \w{16} there, \w{16} here"):
        run_maml(checkpoint=tmp_path / "pool", tasks=some[1])


def test_double_precision_goes_on_to_the_bit_too(tmp_path: Path) -> None:
    tasks = PointGoal(horizon=5, dtype=torch.float64)
    whole = run_maml(tasks=tasks)
    run_maml(tasks=tasks, checkpoint=tmp_path / "run.state", callback=stop_after(2))
    assert same_end(run_maml(tasks=tasks, checkpoint=tmp_path / "run.state"), whole)


def test_a_family_of_gymnasium_goes_on_to_the_bit_and_says_what_it_takes_on_trust(tmp_path: Path) -> None:
    path, families = tmp_path / "run.state", [cart_pole() for _ in range(3)]
    try:
        whole = run_maml(tasks=families[0])
        run_maml(tasks=families[1], checkpoint=path, callback=stop_after(2))
        with pytest.warns(UserWarning, match=r"family\.make_env, family\.set_task, family\.sample cannot") as caught:
            late = run_maml(tasks=families[2], checkpoint=path)
        assert caught[0].filename.endswith("runs.py"), "the line that called maml"
    finally:
        for tasks in families:
            tasks.close()
    assert same_end(late, whole)


def test_divergence_in_the_third_minibatch_leaves_the_iteration_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parameters have moved twice by then, and the generator has drawn."""
    calls, good, loss = [0], [], actor_critic.trial_loss

    def third(*given: Any) -> Any:
        calls[0] += 1
        if calls[0] == 2 * 6 + 3:  # two iterations of two passes over three minibatches, and three of the next
            raise Diverged("a loss of inf.")
        return loss(*given)

    path = tmp_path / "run.state"
    with monkeypatch.context() as patch:
        patch.setattr(actor_critic, "trial_loss", third)
        with pytest.raises(Diverged, match="rl2 stopped in iteration 2") as caught:
            RUNS["rl2 ppo"](checkpoint=path, every=1, callback=lambda i, p, h: good.append(p))
    assert caught.value.iteration == len(caught.value.history.returns) == len(good) == 2
    assert same(caught.value.policy, good[-1])
    assert same_end(RUNS["rl2 ppo"](checkpoint=path), RUNS["rl2 ppo"]())


# --- Killed -----------------------------------------------------------------------------------------------------------

#: How often each run is killed: twenty times all in all.
KILLS = {"maml adam": 4, "maml trpo": 3, "maml promp": 3, "rl2 a2c": 3, "rl2 ppo": 4, "rl2 belief": 3}


def ended(name: str, path: Path, every: int, chance: random.Random, number: int, least: int) -> list[str]:
    """Runs in another process, which is sent a signal at a random moment; what it had said by then.

    The moment is a random one after a random line that it says, from line `least` on; the first says that it begins,
    then comes one for each iteration. Whether it falls into an iteration, into a writing, or after the end, all must be
    well.
    """
    command = [sys.executable, "-m", "tests.runs", name, str(path), str(every)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(chance.randint(least, 3))]
        try:
            process.wait(chance.uniform(0, 0.05))
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        said += process.stdout.readlines()
    assert process.returncode == -number, said
    return said


@pytest.mark.slow
@pytest.mark.parametrize("name", KILLS)
def test_a_run_that_is_killed_again_and_again_ends_as_if_it_had_not_been(name: str, tmp_path: Path) -> None:
    assert sum(KILLS.values()) == 20
    chance, path = random.Random(name), tmp_path / "run.state"
    for _ in range(KILLS[name]):
        before = done(path) if path.exists() else 0
        ended(name, path, chance.randint(1, 3), chance, signal.SIGKILL, 1)
        assert not path.exists() or done(path) >= before
    assert same_end(RUNS[name](checkpoint=path), RUNS[name]())
    assert files(tmp_path) == ["run.state"], "what a killed writer leaves is used by the next"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["maml promp", "rl2 ppo"])
def test_a_run_that_is_terminated_repeats_no_iteration(name: str, tmp_path: Path) -> None:
    chance, path = random.Random(name), tmp_path / "run.state"
    said = ended(name, path, 50, chance, signal.SIGTERM, 2)  # before its first iteration a process dies at once
    iterations = [int(line) for line in said if line.strip().isdigit()]
    assert done(path) == len(iterations)
    assert same_end(RUNS[name](checkpoint=path), RUNS[name]())


@pytest.mark.slow
def test_interrupting_a_kernel_of_jupyter_ends_training_and_keeps_the_state(tmp_path: Path) -> None:
    from jupyter_client.manager import start_new_kernel

    code = f"""
import signal, time
from tests.runs import toy, toy_iteration
from metarl_lite.training import train

def iterate(state):
    seen = toy_iteration(state)
    if state.iteration == 2:
        print("in the middle", flush=True)
        noted = signal.getsignal(signal.SIGINT).__self__
        while not noted.came:
            time.sleep(0.01)
    return seen

policy, history = train("toy", toy(), iterate, "lr", checkpoint={str(tmp_path / "run.state")!r}, every=50)
print("returned", len(history.returns))
"""
    manager, client = start_new_kernel(cwd=str(ROOT))
    said = ""

    def heard(message: dict[str, Any]) -> None:
        nonlocal said
        said += message["content"].get("text", "")
        if "in the middle" in message["content"].get("text", ""):
            manager.interrupt_kernel()

    try:
        reply = client.execute_interactive(code, output_hook=heard, timeout=120)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert reply["content"]["status"] == "ok"
    assert "interrupted after 3 of 6 iterations" in said
    assert "returned 3" in said
    assert done(tmp_path / "run.state") == 3
    assert same_end(run(checkpoint=tmp_path / "run.state"), WHOLE)
