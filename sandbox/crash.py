"""Kill the engine after a request, recover, go on, and see that nothing is left or doubled.

`python -m sandbox.crash` goes through every write of `up` and of `destroy`, to AWS and to CAST AI,
in both modes, and writes the table to `crash.txt` in the state folder. A point is one request:
the server carries it out and kills the engine, its program and its group before it answers.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import requests
from rich.console import Console

from sandbox import castai, engine, inventory, toolchain
from sandbox.engine import OperationError, Stack
from sandbox.processes import ProcessError
from sandbox.session import Sandbox, SandboxError
from sandbox.toolchain import ToolchainError

MODES = ("user", "role")
OPERATIONS = ("up", "destroy")
SERVERS = ("aws", "castai")
_SECONDS = 30
_HEADER = ("MODE", "OPERATION", "SERVER", "REQUEST", "NO.", "THEN", "SECONDS", "RESULT")


@dataclass(frozen=True, slots=True)
class Point:
    """One moment to die at."""

    mode: str
    operation: str
    server: str
    request: str
    number: int
    """Which request of that name, counted from 1."""
    then: str
    """What runs after the recovery: `up` and then `destroy`, or `destroy` at once."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    point: Point
    seconds: float
    problem: str | None

    def row(self) -> tuple[str, ...]:
        """Cells of the table."""
        point = self.point
        return (
            point.mode,
            point.operation,
            point.server,
            point.request,
            str(point.number),
            point.then,
            f"{self.seconds:.0f}",
            self.problem.splitlines()[0] if self.problem else "ok",
        )


class CrashError(Exception):
    """Recovery did not lead where it must; the message says what is wrong."""


class Crash:
    """The points of one sandbox, one after the other, each from nothing and back to nothing."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._before = self._inventory()
        self._urls = {"aws": sandbox.aws_url, "castai": sandbox.castai_url}

    def points(self, modes: Iterable[str], operations: Iterable[str]) -> list[Point]:
        """Run each operation once undisturbed, and take every write as a point."""
        found = []
        for mode in modes:
            stack = self._stack(mode)
            for operation in OPERATIONS:
                self._forget_requests()
                getattr(stack, operation)()
                if operation in operations:
                    found += self._recorded(mode, operation)
        return found

    def _recorded(self, mode: str, operation: str) -> Iterator[Point]:
        for server in SERVERS:
            seen: Counter[str] = Counter()
            for index, request in enumerate(self._writes(server)):
                seen[request] += 1
                # After a killed `up` either command must do; they take turns.
                then = "destroy" if operation == "destroy" or index % 2 else "up"
                yield Point(mode, operation, server, request, seen[request], then)

    def die(self, point: Point) -> Outcome:
        """Go to the point, die there, recover, go on, and look at what is left."""
        started = time.monotonic()
        stack = self._stack(point.mode)
        problem = None
        try:
            if point.operation == "destroy":
                stack.up()
            self._killed(stack, point)
            self._recovered(stack)
            if point.then == "up":
                stack.up()
                self._require_no_change(stack)
            stack.destroy()
            self._require_nothing_left()
        except (CrashError, OperationError) as error:
            problem = str(error)
        return Outcome(point, time.monotonic() - started, problem)

    def _killed(self, stack: Stack, point: Point) -> None:
        url = self._urls[point.server]
        self._forget_requests()
        running = stack.begin(point.operation)
        kill = {
            "action": f"*:{point.request}",
            "after": point.number,
            "pid": running.group,
            "writes_only": True,
        }
        requests.put(f"{url}/_sandbox/faults", json={"kill": kill}, timeout=_SECONDS)
        try:
            running.result()
        except OperationError:
            pass
        else:
            raise CrashError(f"the {point.operation} ended before {point.request} {point.number}")
        finally:
            requests.delete(f"{url}/_sandbox/faults", timeout=_SECONDS)

    def _recovered(self, stack: Stack) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "castai_stack.recover"],
            cwd=stack.work,
            env={**stack.process_environment(), "CASTAI_API_KEY": castai.API_KEY},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise CrashError(done.stderr.strip())

    def _require_no_change(self, stack: Stack) -> None:
        shown = stack.preview()
        if not shown.empty:
            names = ", ".join(step.name for step in shown.changing())
            raise CrashError(f"the preview after the recovery changes {names}")

    def _require_nothing_left(self) -> None:
        left = [
            f"{name}: {difference}"
            for name, after in self._inventory().items()
            for difference in inventory.differences(self._before[name], after)
        ]
        if left:
            raise CrashError("; ".join(left))

    def _inventory(self) -> dict[str, inventory.Inventory]:
        plane = self._sandbox.control_plane
        return {
            "AWS": inventory.aws(self._sandbox.aws_url),
            "Kubernetes": inventory.kubernetes(plane.url, plane.authority, plane.token_of("admin")),
            "CAST AI": inventory.castai(self._sandbox.castai_url),
        }

    def _stack(self, mode: str) -> Stack:
        return self._sandbox.stack([f"credentials.mode={mode}"])

    def _forget_requests(self) -> None:
        for url in self._urls.values():
            requests.delete(f"{url}/_sandbox/requests", timeout=_SECONDS)

    def _writes(self, server: str) -> list[str]:
        answer = requests.get(f"{self._urls[server]}/_sandbox/requests", timeout=_SECONDS).json()
        return [entry["action"] for entry in answer["log"] if entry["write"]]


def sample(points: Sequence[Point], size: int) -> list[Point]:
    """Pick points evenly, the same ones every time; 0 picks all."""
    if size == 0 or size >= len(points):
        return list(points)
    return [points[index * len(points) // size] for index in range(size)]


def table(outcomes: Sequence[Outcome]) -> str:
    """Lay the outcomes out in columns."""
    rows = [_HEADER, *(outcome.row() for outcome in outcomes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER) - 1)]
    return "".join(
        "  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[-1]]) + "\n"
        for row in rows
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 when every point came out well."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.crash",
        description="Kill the engine after each request, recover, and see that nothing is left.",
    )
    parser.add_argument("--mode", choices=MODES, help="only this mode")
    parser.add_argument("--operation", choices=OPERATIONS, help="kill only this operation")
    parser.add_argument(
        "--sample", type=int, default=0, metavar="N", help="only N points, evenly; default: all"
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="folder for the sandbox and for crash.txt; default: one that is removed at the end",
    )
    given = parser.parse_args(arguments)
    console = Console()
    try:
        with tempfile.TemporaryDirectory(prefix="castai-eks-crash-") as temporary:
            return _run(console, given, given.state or Path(temporary) / "sandbox")
    except (SandboxError, ToolchainError, ProcessError, OperationError) as error:
        console.print(f"crash: {error}", style="red", highlight=False, markup=False)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(console: Console, given: argparse.Namespace, directory: Path) -> int:
    sandbox = Sandbox.start(
        directory, toolchain.programs(console=console), console=console, with_parent=True
    )
    try:
        crash = Crash(sandbox)
        modes = (given.mode,) if given.mode else MODES
        operations = (given.operation,) if given.operation else OPERATIONS
        points = sample(crash.points(modes, operations), given.sample)
        console.print(f"{len(points)} points", highlight=False)
        outcomes = []
        for point in points:
            outcomes.append(crash.die(point))
            console.print("  ".join(outcomes[-1].row()), highlight=False, markup=False)
            (directory / "crash.txt").write_text(table(outcomes))
            if outcomes[-1].problem:
                console.print(outcomes[-1].problem, highlight=False, markup=False)
                break  # the sandbox is not as it was, and neither would be what follows
    finally:
        sandbox.stop()
    failed = [outcome for outcome in outcomes if outcome.problem]
    console.print(f"crash: {'failed' if failed else 'ok'}, {len(outcomes)} points", highlight=False)
    return 1 if failed else 0


if __name__ == "__main__":
    os.chdir(engine.REPOSITORY)
    sys.exit(main())
