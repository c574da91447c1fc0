"""Waits of tests on a real API server."""

import time
from collections.abc import Callable
from typing import Any

from lightkube import ApiError, Client


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, a minute at most."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "not so within 60 s"
        time.sleep(0.1)


def is_absent(api: Client, kind: Any, name: str, **where: Any) -> bool:
    """Return True if the object does not exist."""
    try:
        api.get(kind, name, **where)
    except ApiError as error:
        return error.status.code == 404
    return False
