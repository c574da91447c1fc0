"""Actions: work inside the cluster that the controller fetches and carries out.

Shapes: internal/castai/types.go of castai/cluster-controller.
"""

import threading
import time
import uuid
from collections.abc import Callable

from sandbox.castai.api import Document, RefusalError, now

Done = Callable[[str], object]
"""Takes the error with which the controller acknowledged, or an empty text."""


class Actions:
    """The open actions of one cluster; each stays until it is acknowledged."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[Document, Done]] = {}
        self._changed = threading.Condition()
        self._polled: float | None = None
        self.log: list[Document] = []
        """Acknowledged actions with their errors, oldest first."""

    def send(self, kind: str, content: Document, done: Done) -> str:
        """Give an action, such as `actionDrainNode`, to the controller; return its id."""
        identifier = str(uuid.uuid4())
        with self._changed:
            action = {"id": identifier, "createdAt": now(), kind: content}
            self._open[identifier] = (action, done)
            self._changed.notify_all()
        return identifier

    def poll(self, hold: float) -> list[Document]:
        """Return the open actions; wait `hold` seconds for the first."""
        with self._changed:
            self._polled = time.monotonic()
            self._changed.wait_for(lambda: self._open, hold)
            self._polled = time.monotonic()
            return [action for action, _ in self._open.values()]

    def acknowledge(self, identifier: str, error: str) -> None:
        """Close an action, and tell who waits for it."""
        with self._changed:
            if identifier not in self._open:
                raise RefusalError(404, "action not found")
            action, done = self._open.pop(identifier)
            self.log.append({**action, "error": error})
        done(error)

    def expire(self, identifier: str) -> None:
        """Close an action that nobody acknowledged."""
        if identifier in self._open:
            self.acknowledge(identifier, "the cluster controller did not acknowledge the action")

    def is_polled(self, window: float) -> bool:
        """Whether a controller asked within the last `window` seconds."""
        return self._polled is not None and time.monotonic() - self._polled <= window
