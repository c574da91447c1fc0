"""Base of what plays a program of the cluster: a thread that looks again and again."""

import threading
from abc import ABC, abstractmethod

SECONDS = 10
"""How long a call may take."""


class StandIn(ABC):
    """A thread that plays a program; `close` ends it."""

    role = ""
    """What is played, for the log."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.last_error = ""
        """Why the last look did not end as the program wants; empty if it did."""

    @abstractmethod
    def step(self) -> None:
        """Look once, and do what the program would do."""

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def close(self) -> None:
        """End, and wait for a call under way."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(SECONDS)

    def say(self, text: str) -> None:
        """Write a line to the log."""
        print(f"{self.role} stand-in: {text}", flush=True)

    def forget(self) -> None:  # noqa: B027 - most know nothing
        """Drop what is known of the program that is played, after a look that failed."""

    def _run(self) -> None:
        while not self._ended.wait(self._interval):
            try:
                self.step()
            except Exception as error:  # noqa: BLE001 - a dead thread would be a program gone for ever
                self.forget()
                self._note(f"{type(error).__name__}: {error}")

    def _note(self, text: str) -> None:
        if text and text != self.last_error:
            self.say(text)
        self.last_error = text
