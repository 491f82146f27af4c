"""Ctrl-C and SIGTERM are noted, whatever runs at the time, and acted upon where nothing can be left behind.

An exception that a signal raises wherever it happens to arrive may come in the middle of asyncio, of the start of a
process or of the writing of a file, and no `finally` is safe from a second one. So a signal raises nothing here: it is
noted, it ends the process that is waited for, and the work goes on to the next `check()`, which raises.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType


class Interrupted(BaseException):
    """An end was asked for by a signal; `code` is what a shell reports of a process that such a signal ended."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


class Signals:
    """The first signal that came, once `catch` was called; a second one changes nothing."""

    def __init__(self) -> None:
        self.number = 0
        self._end: Callable[[], None] | None = None
        self._at_once = False

    def catch(self) -> None:
        """Notes Ctrl-C and SIGTERM from here to the end of the process; one that it was told to ignore stays so."""
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._note)

    def check(self) -> None:
        """A place where nothing is half done.

        Raises:
            Interrupted: a signal has come.
        """
        if self.number:
            raise Interrupted(self.number)

    @contextlib.contextmanager
    def ending(self, end: Callable[[], None]) -> Iterator[None]:
        """A signal in here calls `end`, which ends what is waited for; it must bear to be called again."""
        self._end = end
        try:
            yield
        finally:
            self._end = None

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """A signal in here raises where it arrives: for work that takes long, and of which nothing can be left.

        Where the exception is lost on its way, as in a destructor, the next `check()` raises it again.
        """
        try:
            self._at_once = True
            self.check()
            yield
        finally:
            self._at_once = False
        self.check()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = self.number or number
        if self._end is not None:
            self._end()
        if self._at_once:
            self._at_once = False  # a second signal finds the first one's exception on its way
            raise Interrupted(self.number)


SIGNALS = Signals()
