"""Cost of many clusters in one account, under IAM's throttling: `python -m sandbox.proofs.growth`.

Fleets of 1, 10 and 100 clusters, a stack each, are created and previewed again, some at a time.
IAM throttles the account by a token bucket. AWS publishes neither its rate nor its size; those of
this proof are assumptions, and options.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from rich.console import Console
from rich.table import Table

from castai_stack.commands import command_line
from sandbox import constants, proofs, toolchain
from sandbox.engine.stack import OperationError, Stack
from sandbox.processes import ProcessError
from sandbox.session import Sandbox, SandboxError
from sandbox.toolchain import ToolchainError

SIZES = (1, 10, 100)
FLAT = 1.1
"""Requests for one cluster of the largest fleet over those of the smallest, at most."""
_PROGRAM = Path(__file__).parent / "bench_programs" / "fleet.py"
_CASTAI_USER = f"arn:aws:iam::{constants.CASTAI_ACCOUNT}:user/cast-crossrole"
_NUMBER = "CASTAI_SANDBOX_FLEET_NUMBER"
_SECONDS = 60
_WIDTH = 140
"""Columns of a log, in which nothing is cut."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of one operation on a whole fleet."""

    operation: str
    size: int
    seconds: float
    """Until the last stack was done."""
    processor_seconds: float
    """Median of one stack."""
    reads: int
    writes: int
    throttled: int
    """Requests that the bucket refused; each was repeated."""
    failures: tuple[str, ...]
    actions: Mapping[str, int] = field(default_factory=dict)
    """How often each action was carried out."""

    @property
    def requests(self) -> float:
        """Requests for one cluster that AWS carried out."""
        return (self.reads + self.writes) / self.size


class Fleet:
    """Clusters of one account, numbered from 0; a fleet is the first so many of them."""

    def __init__(self, sandbox: Sandbox, parallel: int) -> None:
        self._sandbox = sandbox
        self._parallel = parallel
        self._clusters = 0
        # IAM refuses a trust policy with a principal that does not exist.
        url = f"{sandbox.aws_url}/_sandbox/foreign-principals/{_CASTAI_USER}"
        requests.put(url, timeout=_SECONDS).raise_for_status()

    def measure(self, size: int) -> list[Cost]:
        """Create a fleet, preview it again, and remove it."""
        self._add_clusters(size)
        stacks = [self._stack(number) for number in range(size)]
        costs = [self._run(operation, stacks) for operation in ("up", "preview", "destroy")]
        left = [one for one in self._roles() if "fleet-" in one]
        if left:
            raise SandboxError(f"roles are left after the destroy: {', '.join(left)}")
        return costs

    def _add_clusters(self, size: int) -> None:
        eks = self._sandbox.client("eks", "root")
        model = eks.describe_cluster(name=constants.CLUSTER)["cluster"]
        where = {"subnetIds": model["resourcesVpcConfig"]["subnetIds"]}
        for number in range(self._clusters, size):
            eks.create_cluster(
                name=f"fleet-{number:03d}", roleArn=model["roleArn"], resourcesVpcConfig=where
            )
        self._clusters = max(self._clusters, size)

    def _stack(self, number: int) -> Stack:
        stack = self._sandbox.stack(program=_PROGRAM, name=f"fleet-{number:03d}")
        stack.environment = {**stack.environment, _NUMBER: str(number)}
        return stack

    def _roles(self) -> list[str]:
        pages = self._sandbox.client("iam", "root").get_paginator("list_roles").paginate()
        return [role["RoleName"] for page in pages for role in page["Roles"]]

    def _run(self, operation: str, stacks: Sequence[Stack]) -> Cost:
        control = f"{self._sandbox.aws_url}/_sandbox/requests"
        requests.delete(control, timeout=_SECONDS).raise_for_status()
        failures: list[str] = []
        processor: list[float] = []

        def one(stack: Stack) -> None:
            try:
                result = stack.begin(operation).result()
            except OperationError as error:
                failures.append(f"{stack.name}: {error}")
                return
            processor.append(result.processor_seconds)
            if operation == "preview" and not result.empty:
                failures.append(f"{stack.name}: the preview is not empty: {result.changes}")

        started = time.monotonic()
        with ThreadPoolExecutor(self._parallel) as pool:
            list(pool.map(one, stacks))
        seconds = time.monotonic() - started
        everybody: list[dict[str, Any]] = requests.get(control, timeout=_SECONDS).json()["log"]
        # The kubelets of the sandbox ask as root.
        log = [entry for entry in everybody if not entry["principal"].endswith(":root")]
        accepted_requests = [entry for entry in log if entry["fault"] != "throttle"]
        writes = sum(entry["write"] for entry in accepted_requests)
        return Cost(
            operation,
            len(stacks),
            seconds,
            statistics.median(processor) if processor else 0.0,
            len(accepted_requests) - writes,
            writes,
            len(log) - len(accepted_requests),
            tuple(failures),
            Counter(f"{entry['service']}:{entry['action']}" for entry in accepted_requests),
        )


def report(costs: Sequence[Cost], console: Console) -> bool:
    """Print the table and the verdicts; returns whether all targets are met."""
    table = Table(title="a fleet in one account; requests to AWS for one cluster")
    columns = ("operation", "clusters", "seconds", "s / cluster", "CPU s", "reads", "writes")
    for column in (*columns, "throttled"):
        table.add_column(column, justify="left" if column == "operation" else "right", no_wrap=True)
    for cost in costs:
        table.add_row(
            cost.operation,
            str(cost.size),
            f"{cost.seconds:.0f}",
            f"{cost.seconds / cost.size:.1f}",
            f"{cost.processor_seconds:.1f}",
            f"{cost.reads / cost.size:.1f}",
            f"{cost.writes / cost.size:.1f}",
            str(cost.throttled),
        )
    console.print(table)
    for cost in costs:
        for failure in cost.failures:
            console.print(f"{cost.operation} of {cost.size}: {failure}", highlight=False)
    for cost in costs:
        if cost.operation == "preview" and cost.size == costs[-1].size:
            console.print("a no-change preview asks, for one cluster:")
            for action, number in sorted(cost.actions.items()):
                console.print(f"  {action}: {number / cost.size:g}", highlight=False)
    ok = not any(cost.failures for cost in costs)
    for operation in dict.fromkeys(cost.operation for cost in costs):
        sizes = [cost for cost in costs if cost.operation == operation]
        ratio = sizes[-1].requests / sizes[0].requests
        met = ratio <= FLAT
        ok = ok and met
        console.print(
            f"{operation}: requests for one of {sizes[-1].size} clusters over one of "
            f"{sizes[0].size}: {ratio:.2f}, target at most {FLAT}: {'met' if met else 'MISSED'}",
            highlight=False,
        )
    return ok


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure fleets of several sizes."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.proofs.growth", description=main.__doc__
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), metavar="N")
    parser.add_argument(
        "--parallel",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="stacks at a time (default: %(default)s)",
    )
    parser.add_argument(
        "--rate", type=float, default=5, help="requests a second to IAM (default: %(default)s)"
    )
    parser.add_argument(
        "--burst", type=float, default=20, help="size of IAM's bucket (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    console = proofs.console(_WIDTH)
    try:
        programs = toolchain.programs(console=console)
        with tempfile.TemporaryDirectory(prefix="castai-eks-growth-") as folder:
            sandbox = Sandbox.start(
                Path(folder) / "sandbox", programs, console=console, with_parent=True
            )
            try:
                bucket = {"action": "iam:*", "rate": options.rate, "burst": options.burst}
                requests.put(
                    f"{sandbox.aws_url}/_sandbox/faults", json={"bucket": bucket}, timeout=_SECONDS
                ).raise_for_status()
                fleet = Fleet(sandbox, options.parallel)
                costs = []
                for size in options.sizes:
                    console.print(f"{size} clusters, {options.parallel} at a time")
                    costs += fleet.measure(size)
            finally:
                sandbox.stop()
    except (OperationError, ProcessError, SandboxError, ToolchainError) as error:
        console.print(f"growth: failed: {error}", highlight=False, markup=False)
        return 1
    return 0 if report(costs, console) else 1


if __name__ == "__main__":
    command_line.leave(main)
