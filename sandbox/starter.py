"""Becomes another program: `python starter.py PID_FILE PARENT PROGRAM [ARGUMENT ...]`.

The kernel ends the program when the process PARENT dies (Linux); 0 stands for no such process.
These calls come after an `exec`: between `fork` and `exec` the handlers of gRPC end the child of a
process with threads.
"""

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def main(pid_file: str, parent: str, *command: str) -> None:
    """Write the pid into its file, and become the program while the file is there."""
    path = Path(pid_file)
    with contextlib.suppress(FileNotFoundError), path.open("r+") as file:
        file.write(str(os.getpid()))
    if parent != "0" and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):  # it died before the call
            return
    if path.exists():
        os.execvp(command[0], command)  # noqa: S606 - a process needs no shell


if __name__ == "__main__":
    main(*sys.argv[1:])
