"""How the commands of this package end."""

import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn


def report_progress(line: str, stream: Any = None) -> None:
    """Write one line of progress."""
    (stream or sys.stdout).write(f"recover: {line}\n")


_SIGPIPE_STATUS = 128 + 13


def leave(main: Callable[[], int]) -> NoReturn:
    """Run a command and exit with its status.

    When whoever reads has seen enough (`| head`), it ends there without a word, with the status of
    a program that the system ends for it.
    https://docs.python.org/3/library/signal.html#note-on-sigpipe
    """
    try:
        status: int | str | None
        try:
            status = main()
        except SystemExit as ended:  # argparse, after its help
            status = ended.code
        sys.stdout.flush()
    except BrokenPipeError:
        # What is left is written at exit, and would complain once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = _SIGPIPE_STATUS
    sys.exit(status)
