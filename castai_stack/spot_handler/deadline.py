"""Retries that end at a deadline."""

import random
import time
from collections.abc import Callable

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 8.0
LEAST_ATTEMPT_SECONDS = 1.0
"""Do not start another attempt with less time left."""

_random = random.SystemRandom()


class Deadline:
    """Time until which an operation may be retried."""

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
        """Return the seconds until the deadline; negative after it."""
        return self.at - self._clock()

    def pause(self, attempts: int, least: float = 0.0) -> bool:
        """Sleep before the next attempt; return False at once if no time is left for one.

        The pause grows with `attempts` and is jittered. `least` is the server's own demand,
        honoured as far as the deadline permits.
        """
        last_start = self.left() - LEAST_ATTEMPT_SECONDS
        if last_start <= 0:
            return False
        longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(attempts, 10))
        self._sleep(min(max(least, _random.uniform(longest / 2, longest)), last_start))
        return True
