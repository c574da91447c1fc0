"""Bounded waits with growing pauses, progress in the log and an end on cancellation."""

import threading
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

_PAUSES = (0.5, 1.0, 2.0, 3.0)
_LONGEST_PAUSE = 5.0
_REPORT_SECONDS = 15.0

T = TypeVar("T")


class Clock(Protocol):
    """Time as the waits see it."""

    def monotonic(self) -> float:
        """Return seconds since some moment."""
        ...

    def sleep(self, seconds: float, stopping: threading.Event) -> None:
        """Let time pass until `stopping` is set."""
        ...


class _Clock:
    monotonic = staticmethod(time.monotonic)

    @staticmethod
    def sleep(seconds: float, stopping: threading.Event) -> None:
        stopping.wait(seconds)


CLOCK: Clock = _Clock()
"""Replaced by tests."""


class Wait:
    """A wait of at most `seconds`. Call `until(look)`: it polls until `look` returns a value."""

    def __init__(
        self,
        purpose: str,
        seconds: float,
        report: Callable[[str], None] = lambda _: None,
        stopping: threading.Event | None = None,
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        """`stop` is called when `stopping` is set, and raises."""
        self.purpose = purpose
        self.seconds = seconds
        self._report = report
        self._stopping = stopping or threading.Event()
        self._stop = stop
        self._started = CLOCK.monotonic()
        self._reported = ("", self._started)
        self._looks = 0

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return CLOCK.monotonic() - self._started

    def until(self, look: Callable[[], T | None]) -> T | None:
        """Return the first answer of `look` that is not None, or None when time is up."""
        while True:
            answer = look()
            if answer is not None:
                return answer
            if not self.pause():
                return None

    def pause(self) -> bool:
        """Let a little time pass; False when there is none left. A cancellation raises."""
        left = self.seconds - self.elapsed
        if left > 0:
            pause = _PAUSES[self._looks] if self._looks < len(_PAUSES) else _LONGEST_PAUSE
            self._looks += 1
            CLOCK.sleep(min(pause, left), self._stopping)
        if self._stopping.is_set():
            self._stop()
        return left > 0

    def say(self, state: str, more: Callable[[], str] | None = None) -> None:
        """Report a new state at once, and every fifteen seconds with the details of `more`."""
        last, at = self._reported
        now = CLOCK.monotonic()
        if state == last and now - at < _REPORT_SECONDS:
            return
        detail = f" ({more()})" if more is not None and state == last else ""
        self._reported = (state, now)
        self._report(f"{self.purpose}: {state}{detail}, {self.elapsed:.0f} of {self.seconds:.0f} s")
