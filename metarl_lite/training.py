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

import torch
from tqdm import tqdm

from .given import as_path, check_callable, described, integer, truth
from .ram import keep_freed_memory
from .state import State
from .tasks.base import check_positive
from .types import Diverged, NotSaved, Params

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
    Ctrl-C interrupts the iteration, or the callback, at once; half an iteration is none, so the state of the last
    writing stays. SIGTERM is acted on at the iteration's end, too, and then takes its course, unless an error comes
    first. Outside of the main thread signals cannot be caught, and are not.

    Args:
        name: of the algorithm, for bar and messages.
        state: where the run stands; changed.
        iterate: one iteration.
        rates: the learning rates, for the message if training diverges.
        callback: called after each iteration; training ends early where it returns True. Where it fails, the state is
            written before its error goes on.
        checkpoint: a file that keeps the state. Where it exists, training goes on from it.
        every: iterations from one writing of that file to the next.

    Returns:
        The trained policy and the history.

    Raises:
        ValueError: if the checkpoint holds another run, or a leg from which this one cannot go on; or if the callback
            gives what is neither a truth value nor None.
        Diverged: if a number is not finite; the error names the iteration and carries the last good policy.
        NotSaved: if the checkpoint cannot be written; the error carries what was trained.
    """
    keep_freed_memory()
    _check_given(state, callback, checkpoint, every)
    state.restore(checkpoint)
    iterations, good, stop = state.config["iterations"], _copied(state), False
    bar = tqdm(total=iterations, initial=state.iteration, desc=name, leave=False)
    try:
        # Gradients are on, wherever this is called.
        with bar, _signals_noted() as signals, torch.inference_mode(False):
            if state.iteration < iterations:
                _keep(name, state, checkpoint)  # where it cannot be, that is known now
            while state.iteration < iterations and not (stop or signals.came):
                seen = signals.interruptible(iterate, state)
                if seen is None:  # interrupted: half an iteration is none
                    break
                state.history.add(seen)
                state.iteration += 1
                good, stop = _copied(state), True  # what follows can fail
                bar.update()
                try:
                    stop = signals.interruptible(_ends, callback, state, good)
                finally:
                    due = state.iteration % every == 0 or state.iteration == iterations
                    if due or stop or signals.came:
                        _keep(name, state, checkpoint)
    except Diverged as error:
        policy = state.policy.replace(good)
        said = name, rates, state.iteration, policy, state.history
        raise error.with_state(*said) from error
    _after_signals(name, signals.came, state)
    return state.policy.replace(good), state.history


def _check_given(
    state: State,
    callback: Callback | None,
    checkpoint: str | os.PathLike[str] | None,
    every: int,
) -> None:
    """Refuses, by its name, what no run can be led by."""
    check_positive(every=every)
    if callback is not None:
        check_callable("iteration policy history", callback=callback)
    if checkpoint is not None:
        as_path(checkpoint=checkpoint)
    leg = integer(state.leg)
    if leg is None or leg < 1:
        raise ValueError(
            f"leg = {state.leg!r}: legs are counted from 1. A run begins with leg=1, "
            "and leg=2 goes on from its end."
        )
    state.leg = leg


def _ends(callback: Callback | None, state: State, good: Params) -> bool:
    """Whether the callback ends training; a ValueError for an answer that says neither, such as a loss."""
    if callback is None:
        return False
    policy = state.policy.replace(good)
    answer = callback(state.iteration - 1, policy, state.history)
    if answer is None:
        return False
    ends = truth(answer)
    if ends is None:
        raise ValueError(
            f"the callback gave {described(answer)}: True ends training, and False or "
            "None goes on."
        )
    return ends


def _copied(state: State) -> Params:
    """The parameters as they are now: what `iterate` changes is changed in place."""
    return {name: p.detach().clone() for name, p in state.theta.items()}


def _keep(name: str, state: State, checkpoint: str | os.PathLike[str] | None) -> None:
    """Writes the state, if there is a file for it."""
    if checkpoint is None:
        return
    try:
        state.save(checkpoint)
    except OSError as error:
        policy = state.policy.replace(_copied(state))
        said = name, error, state.iteration, policy, state.history
        raise NotSaved.with_state(*said) from error
    log.info("%s: iteration %d kept in %s", name, state.iteration, checkpoint)


class _Signals:
    """The signals that came and were noted instead of acted on."""

    def __init__(self) -> None:
        self.came: list[int] = []
        self.open = False  # whether a second Ctrl-C may interrupt what runs now

    def note(self, number: int, frame: Any) -> None:
        """The handler: a second Ctrl-C interrupts, but never the book-keeping or the writing of a file."""
        again = number == signal.SIGINT and number in self.came
        self.came.append(number)
        if again and self.open:
            self.open = False
            raise KeyboardInterrupt

    def interruptible(self, work: Callable[..., Any], *given: Any) -> Any:
        """What the work returns; None where a second Ctrl-C, or a KeyboardInterrupt of its own, ends it."""
        done = None
        try:
            self.open = True
            done = work(*given)
            self.open = False
        except KeyboardInterrupt:
            self.came.append(signal.SIGINT)
        finally:
            self.open = False
        return done


@contextmanager
def _signals_noted() -> Iterator[_Signals]:
    """Ctrl-C and SIGTERM are noted while this lasts. Only the main thread can have that; elsewhere nothing changes."""
    signals, before = _Signals(), {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if handler not in (signal.SIG_IGN, None):  # what is ignored stays ignored
                before[number] = signal.signal(number, signals.note)
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _after_signals(name: str, came: list[int], state: State) -> None:
    """Says that there was a Ctrl-C, and lets SIGTERM take its course."""
    if signal.SIGINT in came:
        print(
            f"{name}: interrupted after {state.iteration} of "
            f"{state.config['iterations']} iterations; this is what was trained so far."
        )
    if signal.SIGTERM in came:
        signal.raise_signal(signal.SIGTERM)
