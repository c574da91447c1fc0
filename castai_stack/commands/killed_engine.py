"""Traces of an engine on this machine: its process, its lock, its plugins, half-written files."""

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from castai_stack.config.stack_file import PROJECT

_PLUGINS = ("pulumi-resource-", "pulumi-language-")
_BY_PATH = "PulumiPlugin.yaml"
"""In the folder of a plugin that Python runs by its path."""
_ENGINE = "pulumi"
_WRITING = frozenset({"up", "update", "destroy", "refresh", "import", "watch"})
"""Commands of the engine that change a state."""
_GRACE_SECONDS = 5.0
_WRITING_SECONDS = 1.0
_PROCESSES = Path("/proc")
BACKEND = "PULUMI_BACKEND_URL"
"""Environment variable that names the backend."""


def half_written(folder: Path) -> list[Path]:
    """List attribute files that are not JSON and do not change: no engine is writing them."""

    def broken() -> dict[Path, int]:
        times = {}
        for path in folder.rglob("*.attrs"):
            with contextlib.suppress(FileNotFoundError):
                try:
                    json.loads(path.read_text())
                except ValueError:
                    times[path] = path.stat().st_mtime_ns
        return times

    before = broken()
    if before:
        time.sleep(_WRITING_SECONDS)
    after = broken() if before else {}
    return sorted(path for path, moment in before.items() if after.get(path) == moment)


@dataclass(frozen=True, slots=True)
class Process:
    """One process of this user."""

    pid: int
    words: tuple[str, ...]
    """Its command line."""

    @property
    def command(self) -> str:
        """The engine's command, such as `up`; empty for any other program."""
        if not self.words or Path(self.words[0]).name != _ENGINE:
            return ""
        return next((word for word in self.words[1:] if word in _WRITING), "")


def engines(folder: Path, processes: Path = _PROCESSES) -> list[Process]:
    """Live engines that change a state of the project in this folder, under any parent."""
    return [process for process in _processes_in({folder.resolve()}, processes) if process.command]


def orphans(
    folder: Path, backend: str | None = None, processes: Path = _PROCESSES
) -> list[tuple[int, str]]:
    """Plugins of this project whose engine is gone, as process ids and names.

    An engine puts its plugins into process groups of their own, so they survive it when it is
    killed. Only processes of this user count that work in the project's folder, or in that of its
    program, under the same `backend` (PULUMI_BACKEND_URL; None: the one that is logged in to).
    """
    plugins = []
    for process in _processes_in(_folders(folder), processes):
        name = next((word for word in process.words if _is_plugin(word)), None)
        if name is None:
            continue
        entry = processes / str(process.pid)
        with contextlib.suppress(OSError, IndexError):
            variables = (entry / "environ").read_text(errors="replace").split("\0")
            backends = [one for one in variables if one.startswith(f"{BACKEND}=")]
            same = backends == ([f"{BACKEND}={backend}"] if backend else [])
            own = same and f"PULUMI_PROJECT={PROJECT}" in variables
            if own and not _has_engine(entry, processes):
                plugins.append((process.pid, Path(name).name))
    return plugins


def _is_plugin(word: str) -> bool:
    if any(plugin in word for plugin in _PLUGINS):
        return True
    try:
        return (Path(word) / _BY_PATH).is_file()
    except OSError:  # a word of a command line, such as a script, may be too long for a path
        return False


def _folders(folder: Path) -> set[Path]:
    """Folders in which an engine starts plugins: the project's, and that of its `main`."""
    folders = {folder.resolve()}
    with contextlib.suppress(OSError, ValueError, yaml.YAMLError):
        project = yaml.safe_load((folder / "Pulumi.yaml").read_text())
        if isinstance(project, dict) and isinstance(project.get("main"), str):
            main = (folder / project["main"]).resolve()
            folders.add(main.parent if main.is_file() else main)
    return folders


def _processes_in(folders: set[Path], processes: Path) -> Iterator[Process]:
    for entry in sorted(processes.glob("[0-9]*")):
        with contextlib.suppress(OSError, ValueError):
            if (entry / "cwd").resolve() in folders and entry.stat().st_uid == os.getuid():
                yield Process(int(entry.name), _words(entry))


def _words(entry: Path) -> tuple[str, ...]:
    line = (entry / "cmdline").read_text(errors="replace")
    return tuple(word for word in line.split("\0") if word)


def _has_engine(entry: Path, processes: Path) -> bool:
    """Return True if an engine is among the parents; a language host may stand between the two."""
    with contextlib.suppress(OSError):
        while (entry := processes / _parent(entry)).name != "0":
            words = _words(entry)
            if words and Path(words[0]).name == _ENGINE:
                return True
    return False


def _parent(entry: Path) -> str:
    # The second field, the name, may hold blanks and brackets: count from the last bracket.
    return (entry / "stat").read_text().rpartition(")")[2].split()[1]


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock of a backend that consists of files.

    Source: pulumi/pulumi, pkg/backend/diy/lock.go (lockContent)
    """

    pid: int
    username: str
    hostname: str
    timestamp: str

    def __str__(self) -> str:
        return f"{self.username}@{self.hostname}, process {self.pid}, since {self.timestamp}"

    @property
    def local(self) -> bool:
        """Return True if its owner ran on this machine."""
        return self.hostname == socket.gethostname()

    def owner_lives(self, processes: Path = _PROCESSES) -> bool:
        """Return True if the lock's process still runs; for locks of this machine only."""
        entry = processes / str(self.pid)
        if processes.is_dir():
            try:
                words = _words(entry)
            except OSError:
                return False
            return bool(words) and Path(words[0]).name == _ENGINE
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # of another user
            return True
        return True


def locks(folder: Path, stack: str) -> list[Lock]:
    """Locks of a stack; the path ends in the project's and the stack's name."""
    name = stack.rpartition("/")[2]
    read = []
    for path in sorted(folder.rglob(f"{PROJECT}/{name}/*.json")):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            content = json.loads(path.read_text())
            read.append(
                Lock(
                    pid=int(content.get("pid") or 0),
                    username=str(content.get("username") or "somebody"),
                    hostname=str(content.get("hostname") or "an unknown machine"),
                    timestamp=str(content.get("timestamp") or "an unknown time"),
                )
            )
    return read


def end(pid: int) -> None:
    """Ask a process to end, and end it by force after a few seconds."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_SECONDS
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
