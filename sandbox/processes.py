"""Child processes of a sandbox: each with a log and a pid file, and none left behind."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_STARTER = Path(__file__).with_name("starter.py")
_PORTS = range(10_000, 32_000)
_END_SECONDS = 5
_TAIL_LINES = 10


_CHILDREN: dict[Path, subprocess.Popen[bytes]] = {}
"""By pid file; whichever object ends a child of this process also takes leave of it."""


class ProcessError(Exception):
    """A process of the sandbox did not start or did not stay; the message is the whole story."""


def free_port() -> int:
    """Return a loopback port that nobody listens on, outside the range of outgoing connections."""
    for port in random.sample(_PORTS, 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ProcessError("no free loopback port found; end some other servers and start again")


def end_with_parent(parent: int, before: Callable[[], None] = lambda: None) -> None:
    """End this process within a second of its parent, and call `before` first.

    A plugin does this, because a killed engine ends none of its plugins.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        before()
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


class Processes:
    """The processes of one directory; another Python process can take over where one died."""

    def __init__(self, directory: Path) -> None:
        directory = directory.absolute()
        self._logs = directory / "logs"
        self._pids = directory / "pids"
        self._logs.mkdir(parents=True, exist_ok=True)
        self._pids.mkdir(parents=True, exist_ok=True)

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        environment: Mapping[str, str] | None = None,
        *,
        with_parent: bool,
    ) -> None:
        """Start `command` in a process group of its own.

        The group's pid is on disk before the program runs, and the program does not run when its
        file is gone, so no interruption loses it. With
        `with_parent` the kernel ends the process when this one dies (Linux).
        """
        pid_file = self._pids / name
        pid_file.write_text("")
        parent = str(os.getpid() if with_parent else 0)
        starter = [sys.executable, "-I", "-S", _STARTER, pid_file, parent]
        with (self._logs / f"{name}.log").open("ab") as log:
            _CHILDREN[pid_file] = subprocess.Popen(
                [*map(str, starter), *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=None if environment is None else {**os.environ, **environment},
                start_new_session=True,
            )

    def _children(self) -> dict[str, subprocess.Popen[bytes]]:
        return {path.name: one for path, one in _CHILDREN.items() if path.parent == self._pids}

    def require_alive(self) -> None:
        """Raise with the end of its log if a process that was started here has ended."""
        for name, child in self._children().items():
            if child.poll() is not None:
                raise ProcessError(
                    f"{name} ended with status {child.returncode}; the end of "
                    f"{self._logs / f'{name}.log'}:\n{self._tail(name)}"
                )

    def _tail(self, name: str) -> str:
        text = (self._logs / f"{name}.log").read_text(errors="replace")
        lines = text.strip().splitlines()[-_TAIL_LINES:]
        return "\n".join(f"  {line}" for line in lines)

    def alive(self) -> list[str]:
        """Names of the processes that run, whoever started them."""
        return [name for name, _ in self._running()]

    def _running(self) -> list[tuple[str, int]]:
        running = []
        for path in sorted(self._pids.iterdir()):
            text = path.read_text().strip()
            if text.isdigit() and self._is_ours(int(text), path.name):
                running.append((path.name, int(text)))
        return running

    def _is_ours(self, pid: int, name: str) -> bool:
        child = _CHILDREN.get(self._pids / name)
        if child is not None and child.pid == pid:
            return child.poll() is None
        # Every command line names the directory, so a pid that was given to somebody else shows.
        return str(self._pids.parent) in _command_line(pid)

    def stop(self) -> None:
        """End every process group by force: the API server takes a minute to end by request."""
        pids = {}
        for path in sorted(self._pids.iterdir()):
            with path.open() as file:
                # A starter whose pid is not in the file yet ends without the file.
                path.unlink()
                text = file.read()
            if text.isdigit() and self._is_ours(int(text), path.name):
                pids[path.name] = int(text)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(int(text), signal.SIGKILL)
        deadline = time.monotonic() + _END_SECONDS
        while left := [name for name, pid in pids.items() if self._is_ours(pid, name)]:
            if time.monotonic() > deadline:
                raise ProcessError(f"{', '.join(left)} did not end, see {pids}")
            time.sleep(0.02)
        for name, child in self._children().items():
            child.wait(_END_SECONDS)
            del _CHILDREN[self._pids / name]


def _command_line(pid: int) -> str:
    if sys.platform == "linux":
        try:
            return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
        except OSError:
            return ""
    listed = subprocess.run(
        ["ps", "-ww", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False
    )
    return listed.stdout
