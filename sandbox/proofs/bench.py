"""Costs of previews and updates, measured side by side: `python -m sandbox.proofs.bench`.

The whole stack, the same with all of its automation on, an ordinary program with one unchanged
resource per provider (the baseline), and an empty program go through the same life cycle in turn,
on the same engine and the same sandbox. The whole stack is measured at a distance from its services
and with the waits of the real AWS plugin, too.
"""

import argparse
import itertools
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import requests
from rich.console import Console
from rich.table import Table

from castai_stack.commands import command_line
from sandbox import proofs, toolchain
from sandbox.aws_provider import account
from sandbox.constants import HEARTBEATS
from sandbox.engine.stack import OperationError, Result, Stack
from sandbox.kubernetes.proxy import KubernetesProxy
from sandbox.processes import ProcessError
from sandbox.proofs import EVERYTHING
from sandbox.session import Sandbox, SandboxError
from sandbox.toolchain import ToolchainError

PROGRAMS = ("whole", "everything", "baseline", "empty")
"""`everything` is the whole stack with policies, node template, evictor and Spot DaemonSet."""
OPERATIONS = ("preview", "first up", "no-change preview", "refresh", "destroy")
NEAR = "preview, by proxy"
FAR = "preview, 50 ms away"
WAITING = "first up, AWS waits"
ALONE = (NEAR, FAR, WAITING)
"""Operations of the whole stack only."""
RATIO_TARGET = 1.35
"""No-change preview of the whole stack over that of the baseline, medians."""
DISTANCE_SECONDS = 0.05
"""Put before every answer of AWS, Kubernetes and CAST AI."""
DISTANCE_TARGET = 0.5
"""Seconds that a no-change preview may take longer at that distance."""
WAITING_TARGET = 35
"""Seconds of a first `up` in which the AWS plugin waits as long as the real one."""

_QUIET_PREVIEWS = 3
"""In each life cycle: a median of few hangs on what else the machine does."""
_PROGRAMS = Path(__file__).parent / "bench_programs"
_SECONDS = 10
_TABLE_WIDTH = 120


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests to one service during one operation."""

    reads: int = 0
    writes: int = 0

    def __str__(self) -> str:
        return f"{self.reads} / {self.writes}"


@dataclass
class Measured:
    """All repetitions of one operation of one program."""

    results: list[Result] = field(default_factory=list)
    requests: list[Mapping[str, Requests]] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(r.seconds for r in self.results)

    @property
    def least(self) -> float:
        """Seconds."""
        return min(r.seconds for r in self.results)


class Bench:
    """Repeats life cycles on one sandbox and keeps what each operation took."""

    def __init__(self, sandbox: Sandbox, console: Console) -> None:
        self._sandbox = sandbox
        self._console = console
        self._proxy = KubernetesProxy(sandbox.control_plane, sandbox.directory / "pulumi")
        self.measured: dict[tuple[str, str], Measured] = {}

    def run(self, repetitions: int) -> None:
        """Go through all programs in turn, `repetitions` times."""
        for number in range(1, repetitions + 1):
            for program in PROGRAMS:
                self._console.print(f"repetition {number} of {repetitions}: {program}")
                self._life_cycle(program)
        self._console.print("the whole stack, with the waits of the real AWS plugin")
        stack = self._stack("whole")
        waits = {account.WAITS: "1"}
        slow = replace(stack, environment={**stack.environment, **waits})
        self._measure("whole", WAITING, slow.up)
        stack.destroy()

    def close(self) -> None:
        """End what this has started; the sandbox is its owner's."""
        self._proxy.close()

    def _life_cycle(self, program: str) -> None:
        stack = self._stack(program)
        steps = itertools.chain(
            [
                ("preview", stack.preview),
                ("first up", stack.up),
                *[("no-change preview", stack.preview)] * _QUIET_PREVIEWS,
            ],
            self._distances(stack) if program == "whole" else (),
            [("refresh", stack.refresh), ("destroy", stack.destroy)],
        )
        for operation, run in steps:
            self._measure(program, operation, run)

    def _distances(self, stack: Stack) -> Iterator[tuple[str, Callable[[], Result]]]:
        """Yield previews behind the proxy, without and with a distance, in turn."""
        through = {"KUBECONFIG": str(self._proxy.kubeconfig)}
        behind = replace(stack, environment={**stack.environment, **through})
        for _ in range(_QUIET_PREVIEWS):
            for operation, seconds in ((NEAR, 0.0), (FAR, DISTANCE_SECONDS)):
                self._set_distance(seconds)
                yield operation, behind.preview
        self._set_distance(0)

    def _set_distance(self, seconds: float) -> None:
        self._proxy.latency_seconds = seconds
        for url in (self._sandbox.aws_url, self._sandbox.castai_url):
            requests.put(
                f"{url}/_sandbox/faults", json={"latency_seconds": seconds}, timeout=_SECONDS
            ).raise_for_status()

    def _measure(self, program: str, operation: str, run: Callable[[], Result]) -> None:
        before = self._counted()
        result = run()
        after = self._counted()
        measured = self.measured.setdefault((program, operation), Measured())
        measured.results.append(result)
        measured.requests.append(
            {
                service: Requests(
                    after[service].reads - before[service].reads,
                    after[service].writes - before[service].writes,
                )
                for service in after
            }
        )

    def _stack(self, program: str) -> Stack:
        if program == "whole":
            return self._sandbox.stack()
        if program == "everything":
            return self._sandbox.stack(EVERYTHING, name=program)
        return self._sandbox.stack(program=_PROGRAMS / f"{program}.py", name=program)

    def _counted(self) -> dict[str, Requests]:
        plane = self._sandbox.control_plane
        outside = [r for r in plane.requests() if not r.own]
        return {
            "AWS": _logged(self._sandbox.aws_url),
            "Kubernetes": Requests(
                sum(not r.write for r in outside), sum(r.write for r in outside)
            ),
            "CAST AI": _logged(self._sandbox.castai_url),
        }


def _logged(url: str) -> Requests:
    answer = requests.get(f"{url}/_sandbox/requests", timeout=_SECONDS)
    answer.raise_for_status()
    log = [entry for entry in answer.json()["log"] if entry["action"] not in HEARTBEATS]
    return Requests(sum(not e["write"] for e in log), sum(e["write"] for e in log))


def report(measured: Mapping[tuple[str, str], Measured], console: Console) -> bool:
    """Print the tables and whether each target is met; returns whether all are."""
    times = Table(title="seconds, minimum and median")
    headings = ("operation", "whole stack", "everything on", "baseline", "empty")
    for column in (*headings, "/ baseline", "/ empty"):
        first = column == "operation"
        times.add_column(column, justify="left" if first else "right", no_wrap=first)
    for operation in OPERATIONS:
        every = [measured[program, operation] for program in PROGRAMS]
        whole, _, baseline, empty = every
        times.add_row(
            operation,
            *(f"{m.least:.2f} {m.median:.2f}" for m in every),
            f"{whole.median / baseline.median:.2f}",
            f"{whole.median / empty.median:.2f}",
        )
    for operation in ALONE:
        whole = measured["whole", operation]
        times.add_row(operation, f"{whole.least:.2f} {whole.median:.2f}")
    console.print(times)
    counts = Table(title="the whole stack: requests (reads / writes), processor time, peak memory")
    for column in ("operation", "AWS", "Kubernetes", "CAST AI", "CPU s", "peak MiB"):
        counts.add_column(column, justify="left" if column == "operation" else "right")
    for operation in OPERATIONS:
        whole = measured["whole", operation]
        last = whole.requests[-1]
        cpu = statistics.median(r.processor_seconds for r in whole.results)
        peak = max(r.peak_kib for r in whole.results) / 1024
        counts.add_row(
            operation,
            *(str(last[service]) for service in ("AWS", "Kubernetes", "CAST AI")),
            f"{cpu:.2f}",
            f"{peak:.0f}",
        )
    console.print(counts)
    verdicts = [_print_verdict(console, *target) for target in _targets(measured)]
    return all(verdicts)


def _targets(measured: Mapping[tuple[str, str], Measured]) -> list[tuple[str, float, float]]:
    quiet = measured["whole", "no-change preview"]
    ratio = quiet.median / measured["baseline", "no-change preview"].median
    writes = sum(
        one.writes
        for operation in ("preview", "no-change preview")
        for counted in measured["whole", operation].requests
        for one in counted.values()
    )
    distance = measured["whole", FAR].median - measured["whole", NEAR].median
    waiting = measured["whole", WAITING].median
    return [
        ("no-change preview over the baseline's", ratio, RATIO_TARGET),
        ("seconds that 50 ms of distance add to it", distance, DISTANCE_TARGET),
        ("seconds of a first up with AWS's waits", waiting, WAITING_TARGET),
        ("writes in all previews", writes, 0),
    ]


def _print_verdict(console: Console, what: str, seconds: float, target: float) -> bool:
    met = seconds <= target
    verdict = "met" if met else "MISSED"
    console.print(f"{what}: {seconds:.2f}, target at most {target}: {verdict}", highlight=False)
    return met


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the stack's life cycle beside an empty program and a baseline."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.proofs.bench", description=main.__doc__
    )
    parser.add_argument(
        "--repetitions", type=int, default=5, metavar="N", help="life cycles (default: %(default)s)"
    )
    parser.add_argument("--own-toolchain", action="store_true", help="use this project's programs")
    options = parser.parse_args(arguments)
    console = proofs.console(_TABLE_WIDTH)
    try:
        programs = toolchain.programs(own=options.own_toolchain, console=console)
        with tempfile.TemporaryDirectory(prefix="castai-eks-bench-") as folder:
            sandbox = Sandbox.start(
                Path(folder) / "sandbox", programs, console=console, with_parent=True
            )
            try:
                bench = Bench(sandbox, console)
                try:
                    bench.run(options.repetitions)
                finally:
                    bench.close()
            finally:
                sandbox.stop()
    except OperationError as error:
        console.print(error.output, highlight=False, markup=False)
        console.print(f"bench: failed: {error}", highlight=False, markup=False)
        return 1
    except (ProcessError, SandboxError, ToolchainError) as error:
        console.print(f"bench: failed: {error}", highlight=False, markup=False)
        return 1
    return 0 if report(bench.measured, console) else 1


if __name__ == "__main__":
    command_line.leave(main)
