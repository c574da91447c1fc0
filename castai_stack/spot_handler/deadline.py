"""Trying again until a moment, and not beyond it."""

import random
import time
from collections.abc import Callable

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 8.0
LAST_TRY_SECONDS = 1.0
"""Less than this before the end no further attempt is worth its start."""

_random = random.SystemRandom()


class Deadline:
    """A moment until which something may be tried again."""

    def __init__(
        self,
        at: float,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.at = at
        self._clock = clock
        self._sleep = sleep

    def left(self) -> float:
        """Seconds until then; negative afterwards."""
        return self.at - self._clock()

    def pause(self, attempts: int, wanted: float = 0.0) -> bool:
        """Wait before the next attempt; False, without a wait, when no time is left for one.

        Waits grow with `attempts` and are jittered; `wanted` is a server's own demand, kept
        unless it reaches past the last useful moment.
        """
        last_start = self.left() - LAST_TRY_SECONDS
        if last_start <= 0:
            return False
        longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(attempts, 10))
        self._sleep(min(max(wanted, _random.uniform(longest / 2, longest)), last_start))
        return True
