"""What a killed engine leaves on this machine: plugins without a parent, files half written."""

import contextlib
import json
import os
import signal
import time
from pathlib import Path

PROJECT = "castai-eks"

_PLUGINS = ("pulumi-resource-", "pulumi.dynamic", "pulumi-language-")
_GRACE_SECONDS = 5.0
_WRITING_SECONDS = 1.0


def half_written(folder: Path) -> list[Path]:
    """List files of attributes that are no JSON and stay so: no engine is writing them."""

    def broken() -> dict[Path, int]:
        found = {}
        for path in folder.rglob("*.attrs"):
            with contextlib.suppress(FileNotFoundError):
                try:
                    json.loads(path.read_text())
                except ValueError:
                    found[path] = path.stat().st_mtime_ns
        return found

    before = broken()
    if before:
        time.sleep(_WRITING_SECONDS)
    after = broken() if before else {}
    return sorted(path for path, moment in before.items() if after.get(path) == moment)


def orphans(folder: Path, processes: Path = Path("/proc")) -> list[tuple[int, str]]:
    """Plugins of this project whose engine is gone, as process ids and what they are.

    An engine puts its plugins into process groups of their own, so they outlive it when it is
    killed. Only processes of this user that work for this project in this folder count.
    """
    found = []
    for entry in sorted(processes.glob("[0-9]*")):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if entry.stat().st_uid != os.getuid():
                continue
            words = [word for word in (entry / "cmdline").read_text().split("\0") if word]
            what = next((w for w in words for plugin in _PLUGINS if plugin in w), None)
            if what is None or not _works_in(entry, folder):
                continue
            environment = (entry / "environ").read_text(errors="replace").split("\0")
            if f"PULUMI_PROJECT={PROJECT}" in environment and not _has_engine(entry, processes):
                found.append((int(entry.name), Path(what).name))
    return found


def _works_in(entry: Path, folder: Path) -> bool:
    return (entry / "cwd").resolve() == folder.resolve()


def _has_engine(entry: Path, processes: Path) -> bool:
    # The second field, the name, may hold blanks and brackets: what follows the last one counts.
    parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
    words = (processes / parent / "cmdline").read_text().split("\0")
    return Path(words[0]).name == "pulumi"


def end(pid: int) -> None:
    """Ask a process to end, and make it after a few seconds."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_SECONDS
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
