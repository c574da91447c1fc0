"""Bounded waits with growing pauses and progress in the log."""

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from castai_stack.dynamic.base import tell

_PAUSES = (0.5, 1.0, 2.0, 3.0)
_LONGEST_PAUSE = 5.0
_TELL_EVERY = 15.0

T = TypeVar("T")


class Clock(Protocol):
    """Time as the waits see it."""

    def monotonic(self) -> float:
        """Return seconds since some moment."""
        ...

    def sleep(self, seconds: float, /) -> None:
        """Let time pass."""
        ...


CLOCK: Clock = time
"""Replaced by tests."""


class Wait:
    """A bounded wait that says how it goes.

    Iterate over it: each round is one look, the first at once. It ends after `seconds`; what
    then is the caller's to say.
    """

    def __init__(self, purpose: str, seconds: float) -> None:
        self.purpose = purpose
        self.seconds = seconds
        self._started = CLOCK.monotonic()
        self._told = ("", self._started)
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
        """Let a little time pass; False when there is none left."""
        left = self.seconds - self.elapsed
        if left <= 0:
            return False
        pause = _PAUSES[self._looks] if self._looks < len(_PAUSES) else _LONGEST_PAUSE
        self._looks += 1
        CLOCK.sleep(min(pause, left))
        return True

    def say(self, state: str, more: Callable[[], str] | None = None) -> None:
        """Tell the state when it is new, and every fifteen seconds with what `more` finds."""
        last, at = self._told
        now = CLOCK.monotonic()
        if state == last and now - at < _TELL_EVERY:
            return
        detail = f" ({more()})" if more is not None and state == last else ""
        self._told = (state, now)
        tell(f"{self.purpose}: {state}{detail}, {self.elapsed:.0f} of {self.seconds:.0f} s")
