"""One driver for every training loop: what happens around an iteration, whichever algorithm's it is.

An algorithm is a function of one iteration, `iterate(state)`: it changes what the state holds and returns what it saw.
All else is here: the progress bar, Ctrl-C and SIGTERM, divergence, the callback, the file that keeps the run.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from .ram import keep_freed_memory
from .state import State
from .tasks.base import check_positive
from .types import Diverged, NotSaved

#: One iteration: changes the state and returns what it saw, for the history.
Iteration = Callable[[State], dict[str, Any]]
#: Called after each iteration with (iteration, policy so far, history); True ends
#: training.
Callback = Callable[[int, Any, Any], bool | None]

log = logging.getLogger(__name__)


def train(
    name: str,
    state: State,
    iterate: Iteration,
    rates: str,
    callback: Callback | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    every: int = 50,
) -> tuple[Any, Any]:
    """Runs the iterations of a leg that are left to do.

    Ctrl-C is acted on at the iteration's end: the state is written, and what was trained so far is returned. A second
    Ctrl-C interrupts at once, and the state of the last writing stays. SIGTERM is acted on at the iteration's end, too,
    and then takes its course. Outside of the main thread signals cannot be caught, and are not.

    Args:
        name: of the algorithm, for bar and messages.
        state: where the run stands; changed.
        iterate: one iteration.
        rates: the learning rates, for the message if training diverges.
        callback: called after each iteration; training ends early where it returns True.
        checkpoint: a file that keeps the state. Where it exists, training goes on from it.
        every: iterations from one writing of that file to the next.

    Returns:
        The trained policy and the history.

    Raises:
        ValueError: if the checkpoint holds another run, or a leg from which this one cannot go on.
        Diverged: if a number is not finite; the error names the iteration and carries the last good policy.
        NotSaved: if the checkpoint cannot be written; the error carries what was trained.
    """
    keep_freed_memory()
    check_positive(every=every)
    iterations, stop = state.config["iterations"], False
    if checkpoint is not None:
        state.restore(checkpoint)
        _write(
            name, state, checkpoint
        )  # where it cannot be written, that is noticed here
    good = _copied(state)
    bar = tqdm(total=iterations, initial=state.iteration, desc=name, leave=False)
    with bar, _signals_noted() as came:
        while state.iteration < iterations and not (stop or came):
            before = state.iteration
            try:
                state.history.add(iterate(state))
                state.iteration += 1
                good = _copied(state)
                bar.update()
                if callback is not None:
                    policy = state.policy.replace(good)
                    stop = bool(callback(before, policy, state.history))
            except Diverged as error:
                policy = state.policy.replace(good)
                said = name, rates, before, policy, state.history
                raise error.with_state(*said) from error
            except KeyboardInterrupt:  # a second Ctrl-C, or one outside the main thread
                came.append(signal.SIGINT)
            whole = state.iteration > before  # not interrupted in the middle
            due = stop or came or state.iteration == iterations
            due = due or state.iteration % every == 0
            if checkpoint is not None and whole and due:
                _write(name, state, checkpoint)
    _after_signals(name, came, state)
    return state.policy.replace(good), state.history


def _after_signals(name: str, came: list[int], state: State) -> None:
    """Says that there was a Ctrl-C, and lets SIGTERM take its course."""
    if signal.SIGINT in came:
        print(
            f"{name}: interrupted after {state.iteration} of "
            f"{state.config['iterations']} iterations; this is what was trained so far."
        )
    if signal.SIGTERM in came:
        signal.raise_signal(signal.SIGTERM)


def _copied(state: State) -> dict[str, Any]:
    """The parameters as they are now: what `iterate` changes is changed in place."""
    return {name: p.detach().clone() for name, p in state.theta.items()}


def _write(name: str, state: State, checkpoint: str | os.PathLike[str]) -> None:
    try:
        state.save(checkpoint)
    except OSError as error:
        policy = state.policy.replace(_copied(state))
        raise NotSaved.with_state(
            name, error, state.iteration, policy, state.history
        ) from error
    log.info("%s: iteration %d kept in %s", name, state.iteration, checkpoint)


@contextmanager
def _signals_noted() -> Iterator[list[int]]:
    """Notes Ctrl-C and SIGTERM instead of acting on them; of a second Ctrl-C it makes a KeyboardInterrupt."""
    came: list[int] = []

    def note(number: int, frame: Any) -> None:
        if number == signal.SIGINT and number in came:
            raise KeyboardInterrupt
        came.append(number)

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if handler not in (signal.SIG_IGN, None):  # what is ignored stays ignored
                before[number] = signal.signal(number, note)
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
