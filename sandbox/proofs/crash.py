"""Kills the engine after every request that changes something: `python -m sandbox.proofs.crash`.

A point is one write to AWS, Kubernetes or CAST AI. The service carries it out and then, instead of
answering, ends the engine's process group. `python -m castai_stack recover` and then `up` must
bring what an undisturbed run brings, and `destroy` what there was before: no duplicate, no orphan,
no plain secret. Each killed operation is followed by `up` as well as by `destroy`. A killed `up`
that was completed is where the next killed `destroy` begins, so two points share a life cycle.

`--in-a-row` visits the points in one life cycle: each run is killed after its first write that no
run has carried out yet, and the next one goes on from there, until one ends by itself.
"""

import argparse
import contextlib
import dataclasses
import functools
import itertools
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from castai_stack.commands import command_line, killed_engine
from sandbox import castai, inventory, proofs, toolchain
from sandbox.engine.stack import OperationError, Running, Stack
from sandbox.inventory import Inventory
from sandbox.kubernetes.proxy import KubernetesProxy
from sandbox.processes import ProcessError
from sandbox.proofs import EVERYTHING
from sandbox.proofs.comparison import DeviationError, comparable, require_same
from sandbox.proofs.secret_search import SecretSearch
from sandbox.session import Sandbox, SandboxError
from sandbox.toolchain import ToolchainError

MODES = ("user", "role")
OPERATIONS = ("up", "destroy")
KINDS = (("up", "destroy"), ("up", "up"), ("destroy", "destroy"), ("destroy", "up"))
"""Operation that is killed, and the one that follows."""
SERVICES = ("AWS", "Kubernetes", "CAST AI")

_OPERATOR = {"AWS": "assumed-role/platform-admin/", "CAST AI": "api-key"}
"""Part of the name under which the servers' logs show the program."""
_SECONDS = 10
_RUN_SECONDS = 900
_KEYS_AT_MOST = 2
_TABLE_WIDTH = 180


@dataclass(frozen=True, slots=True)
class Point:
    """One moment to die at."""

    mode: str
    operation: str
    service: str
    request: str
    number: int
    """Which request of that name, counted from 1."""
    then: str
    """Operation after the recovery."""

    def __str__(self) -> str:
        nth = "" if self.number == 1 else f" (no. {self.number})"
        what = f"{self.mode}: {self.operation} killed after {self.request}{nth}"
        return f"{what}, then {self.then}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one point."""

    point: Point
    killed: bool
    """False when the operation had ended before."""
    taken_in: int
    """Things that were there and that the state did not know."""
    seconds: float
    deviation: str = ""


@dataclass
class Undisturbed:
    """Result of a run without a crash, and its writes."""

    after_up: dict[str, Inventory]
    resources: list[str]
    writes: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """By operation and service, in their order."""


class Crash:
    """All points on one sandbox; after a deviation on another one, if `anew` is given."""

    def __init__(self, sandbox: Sandbox, *, anew: Callable[[], Sandbox] | None = None) -> None:
        self._anew = anew
        self._undisturbed: dict[str, Undisturbed] = {}
        self._texts: list[str] = []
        self._use(sandbox)

    def _use(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._proxy = KubernetesProxy(sandbox.control_plane, sandbox.directory / "pulumi")
        self._search = SecretSearch.over(sandbox)
        self._others: frozenset[str] = frozenset()
        self._others = frozenset(one["id"] for one in self._live_clusters())
        self._beginning = self._inventory()

    def close(self) -> None:
        """End what this has started; the sandbox is its owner's."""
        self._proxy.close()

    # -- points --------------------------------------------------------------------------------

    def measure(self, mode: str) -> None:
        """Run an `up` and a `destroy` that nothing disturbs, and note what they do."""
        up = self._writes_of(mode, "up")
        undisturbed = Undisturbed(self._comparable(), resources(self._stack(mode)), {"up": up})
        self._undisturbed[mode] = undisturbed
        undisturbed.writes["destroy"] = self._writes_of(mode, "destroy")
        self._require_beginning()

    def _writes_of(self, mode: str, operation: str) -> dict[str, list[str]]:
        self._count_anew()
        getattr(self._stack(mode), operation)()
        return {service: self._writes(service) for service in SERVICES}

    def points(self, mode: str, operation: str, then: str) -> list[Point]:
        """Every write of an undisturbed run."""
        all_points = []
        for service, writes in self._undisturbed[mode].writes[operation].items():
            counts: Counter[str] = Counter()
            for request in writes:
                counts[request] += 1
                all_points.append(Point(mode, operation, service, request, counts[request], then))
        return all_points

    def run(self, points: Sequence[Point]) -> Iterator[Outcome]:
        """Go through all points of one mode; each begins where the one before has ended, if it can.

        A killed `up` begins with nothing and a killed `destroy` with everything.
        """
        deployed = False
        for point in in_order(points):
            stack = self._stack(point.mode)
            needed = point.operation == "destroy"
            if needed != deployed:
                getattr(stack, "up" if needed else "destroy")()
            outcome = self._outcome(stack, point)
            yield outcome
            deployed = point.then == "up" and not (outcome.deviation and self._anew)
        if deployed:
            self._stack(points[0].mode).destroy()

    def run_in_a_row(self, mode: str, operation: str, *, every: int = 1) -> Iterator[Outcome]:
        """Kill an operation after each of its writes in turn, until it ends by itself.

        The writes that a killed run has under way are carried out, too, and are no points any more.
        With `every`, a run dies after that many new writes to one service.
        """
        if operation == "destroy":
            self._stack(mode).up()
        left = Counter(
            (one.service, one.request) for one in self.points(mode, operation, operation)
        )
        while (outcome := self._next_in_row(mode, operation, left, every)).killed:
            yield outcome
        if outcome.deviation:
            yield outcome
        elif operation == "up":
            self._stack(mode).destroy()

    def _next_in_row(
        self, mode: str, operation: str, left: Counter[tuple[str, str]], every: int
    ) -> Outcome:
        """Run once; take the writes that were carried out off those that are `left`."""
        started = time.monotonic()
        stack = self._stack(mode)
        self._texts = []
        point = Point(mode, operation, "", "its end", 1, operation)
        killed, output, deviation = False, "", ""
        try:
            lay = functools.partial(self._lay_all, left, every)
            with self._operation(stack, operation, lay) as running:
                writes = self._writes_until_the_end(running, operation)
                carried_out = [
                    (service, request) for service in SERVICES for request in writes[service]
                ]
                new = [one for one in carried_out if left[one]]
                left -= Counter(carried_out)
                if running.killed:
                    killed, point = True, Point(mode, operation, *new[0], 1, operation)
                    output = self._recover(stack)
                else:
                    running.result()
            if not killed:
                self._require_result(stack, mode, operation)
            self._require_no_plain_secret()
        except (DeviationError, OperationError) as error:
            killed, deviation = False, str(error)
        return self._ended(point, killed, output, time.monotonic() - started, deviation)

    def _begin_anew(self) -> None:
        if self._anew is not None:
            self.close()
            self._use(self._anew())

    def _outcome(self, stack: Stack, point: Point) -> Outcome:
        started = time.monotonic()
        self._texts = []
        killed, output, deviation = False, "", ""
        try:
            lay = functools.partial(self._lay, point.service, [point.request], point.number)
            with self._operation(stack, point.operation, lay) as running:
                killed = self._died(running, point)
                output = self._recover(stack)
            self._texts.append(getattr(stack, point.then)().output)
            self._require_result(stack, point.mode, point.then)
            self._require_no_plain_secret()
        except DeviationError as error:
            deviation = str(error)
        except OperationError as error:
            self._texts.append(error.output)
            deviation = f"{error}"
        return self._ended(point, killed, output, time.monotonic() - started, deviation)

    def _ended(
        self, point: Point, killed: bool, output: str, seconds: float, deviation: str
    ) -> Outcome:
        if deviation:
            self._keep(point, deviation)
            self._begin_anew()
        return Outcome(point, killed, output.count("taken into the state"), seconds, deviation)

    @contextmanager
    def _operation(
        self, stack: Stack, operation: str, lay: Callable[[int], None]
    ) -> Iterator[Running]:
        """Start the operation with the kill laid; keep what it printed."""
        self._count_anew()
        running = stack.begin(operation)
        lay(running.group)
        try:
            yield running
        finally:
            running.kill()
            with contextlib.suppress(OperationError):
                running.result()
            self._texts.append(running.output)

    def _died(self, running: Running, point: Point) -> bool:
        """Wait for the end; return False when it came before the point."""
        writes = self._writes_until_the_end(running, point.operation)[point.service]
        if writes.count(point.request) >= point.number:
            return True
        running.result()
        return False

    def _writes_until_the_end(self, running: Running, operation: str) -> dict[str, list[str]]:
        """Wait for the end, take the kill away, and return the writes by service."""
        if not running.ended(_RUN_SECONDS):
            raise DeviationError(f"{operation} did not end within {_RUN_SECONDS} s")
        writes = {service: self._writes(service) for service in SERVICES}
        for service in _OPERATOR:
            requests.delete(f"{self._url(service)}/_sandbox/faults", timeout=_SECONDS)
        self._proxy.count_anew()
        self._require_few_keys()
        return writes

    def _lay(self, service: str, wanted: Sequence[str], number: int, group: int) -> None:
        """End the group at the write of that number among those wanted."""
        if service == "Kubernetes":
            self._proxy.count_anew((wanted, number, group))
            return
        kill = {"actions": [*wanted], "after": number, "pid": group, "writes_only": True}
        requests.put(
            f"{self._url(service)}/_sandbox/faults", json={"kill": kill}, timeout=_SECONDS
        ).raise_for_status()

    def _lay_all(self, left: Mapping[tuple[str, str], int], number: int, group: int) -> None:
        """End the group at the first writes to a service that are left."""
        for service in SERVICES:
            wanted = [request for where, request in left if where == service]
            if wanted:
                self._lay(service, wanted, number, group)

    def _recover(self, stack: Stack) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "castai_stack", "recover", "--stack", stack.name],
            cwd=stack.work,
            env={**stack.process_environment(), "CASTAI_API_KEY": castai.API_KEY},
            capture_output=True,
            text=True,
            timeout=_RUN_SECONDS,
            check=False,
        )
        self._texts += [done.stdout, done.stderr]
        if done.returncode != 0:
            raise DeviationError(f"recover failed: {done.stderr[-2000:]}")
        backend = stack.process_environment()[killed_engine.BACKEND]
        if left := killed_engine.orphans(stack.work, backend):
            raise DeviationError(f"recover left processes of the killed run: {left}")
        return done.stdout

    # -- what has to hold ----------------------------------------------------------------------

    def _require_undisturbed(self, stack: Stack, mode: str) -> None:
        expected = self._undisturbed[mode]
        current = self._comparable()
        require_same(expected.after_up, current, "than after an undisturbed up")
        if (current_resources := resources(stack)) != expected.resources:
            odd = sorted(set(current_resources) ^ set(expected.resources))
            raise DeviationError(f"the state holds other resources: {odd or 'some twice'}")
        (cluster,) = self._live_clusters()
        if cluster["status"] != "ready" or cluster["credentialsKind"] != mode:
            raise DeviationError(
                f"CAST AI's cluster is {cluster['status']}, its access {cluster['credentialsKind']}"
            )
        active = [key for key, one in self._keys().items() if one["status"] == "Active"]
        if mode == "user" and active != [cluster["accessKeyId"]]:
            raise DeviationError(f"active keys are {active}, in use is {cluster['accessKeyId']}")

    def _require_result(self, stack: Stack, mode: str, operation: str) -> None:
        if operation == "up":
            self._require_undisturbed(stack, mode)
        else:
            self._require_beginning()

    def _require_beginning(self) -> None:
        require_same(self._beginning, self._inventory(), "than at the beginning")

    def _require_few_keys(self) -> None:
        if len(keys := self._keys()) > _KEYS_AT_MOST:
            raise DeviationError(f"after the crash the user has {len(keys)} access keys")

    def _require_no_plain_secret(self) -> None:
        if plain := self._search.plain({"the output of a run": "\n".join(self._texts)}):
            raise DeviationError("; ".join(plain))

    # -- looking -------------------------------------------------------------------------------

    def _inventory(self) -> dict[str, Inventory]:
        plane = self._sandbox.control_plane
        return {
            "AWS": inventory.aws(self._sandbox.aws_url),
            "Kubernetes": inventory.kubernetes(plane.url, plane.authority, plane.token_of("admin")),
            "CAST AI": inventory.castai(self._sandbox.castai_url),
        }

    def _comparable(self) -> dict[str, Inventory]:
        """Return what there is, with every id that differs between two runs replaced."""
        live = self._live_clusters()
        if len(live) != 1:
            raise DeviationError(f"CAST AI holds {len(live)} clusters")
        everything = self._inventory()
        del everything["CAST AI"]
        return {where: comparable(one, live[0]["id"]) for where, one in everything.items()}

    def _live_clusters(self) -> list[dict[str, Any]]:
        state = requests.get(f"{self._sandbox.castai_url}/_sandbox/state", timeout=_SECONDS).json()
        return [
            one
            for one in state["clusters"]
            if one["status"] not in ("archived", "deleted") and one["id"] not in self._others
        ]

    def _keys(self) -> dict[str, Any]:
        return inventory.aws(self._sandbox.aws_url).get("iam-access-key", {})

    def _url(self, service: str) -> str:
        return self._sandbox.aws_url if service == "AWS" else self._sandbox.castai_url

    def _count_anew(self) -> None:
        self._proxy.count_anew()
        for service in _OPERATOR:
            requests.delete(f"{self._url(service)}/_sandbox/requests", timeout=_SECONDS)

    def _writes(self, service: str) -> list[str]:
        if service == "Kubernetes":
            return list(self._proxy.writes)
        answer = requests.get(f"{self._url(service)}/_sandbox/requests", timeout=_SECONDS).json()
        ours = _OPERATOR[service]
        return [
            f"{one['service']}:{one['action']}"
            for one in answer["log"]
            if one["write"] and ours in one["principal"]
        ]

    def _stack(self, mode: str) -> Stack:
        return self._behind_proxy(self._sandbox.stack([f"credentials.mode={mode}", *EVERYTHING]))

    def _behind_proxy(self, stack: Stack) -> Stack:
        through = {"KUBECONFIG": str(self._proxy.kubeconfig)}
        return dataclasses.replace(stack, environment={**stack.environment, **through})

    def _keep(self, point: Point, deviation: str) -> None:
        """Put what was printed where a person finds it."""
        folder = self._sandbox.directory / "logs"
        name = re.sub(r"[^A-Za-z0-9]+", "-", str(point))
        (folder / f"crash-{name}.log").write_text("\n".join([deviation, *self._texts]))


def in_order(points: Sequence[Point]) -> list[Point]:
    """Sort points so that few of them need an `up` or a `destroy` of their own before."""

    def of_kind(operation: str, then: str) -> list[Point]:
        return [one for one in points if (one.operation, one.then) == (operation, then)]

    alternating = itertools.zip_longest(of_kind("up", "up"), of_kind("destroy", "destroy"))
    return [
        *of_kind("up", "destroy"),
        *(one for pair in alternating for one in pair if one is not None),
        *of_kind("destroy", "up"),
    ]


def resources(stack: Stack) -> list[str]:
    """URNs in the state, which must hold nothing half done."""
    deployment = stack.export()["deployment"]
    if pending := deployment.get("pending_operations"):
        raise DeviationError(f"the state still has {len(pending)} operations pending")
    return sorted(one["urn"] for one in deployment.get("resources") or ())


def sample(points: Sequence[Point], number: int) -> list[Point]:
    """Return `number` points at even distances, the same ones every time."""
    if number >= len(points):
        return list(points)
    step = len(points) / number
    return [points[int((n + 0.5) * step)] for n in range(number)]


def table(outcomes: Sequence[Outcome]) -> Table:
    """Every point and what came of it."""
    result = Table(title="the engine killed after each write, then recover and the same again")
    for name in ("mode", "killed", "service"):
        result.add_column(name)
    result.add_column("after", overflow="fold")
    result.add_column("no.", justify="right")
    result.add_column("then")
    result.add_column("taken in", justify="right")
    result.add_column("seconds", justify="right")
    result.add_column("outcome", overflow="fold")
    for one in outcomes:
        point = one.point
        result.add_row(
            point.mode,
            point.operation,
            point.service,
            point.request,
            str(point.number),
            point.then,
            str(one.taken_in),
            f"{one.seconds:.0f}",
            escape(verdict(one)),
        )
    return result


def summary(outcomes: Sequence[Outcome]) -> Table:
    """Count the points by mode, operation and what followed."""
    result = Table(title="in short")
    for name in ("mode", "killed", "then"):
        result.add_column(name)
    for name in ("points", "converged", "had ended before", "deviations", "median s", "longest s"):
        result.add_column(name, justify="right")
    groups: dict[tuple[str, str, str], list[Outcome]] = {}
    for one in outcomes:
        point = one.point
        groups.setdefault((point.mode, point.operation, point.then), []).append(one)
    for names, group in groups.items():
        bad = sum(bool(one.deviation) for one in group)
        early = sum(not one.killed and not one.deviation for one in group)
        seconds = [one.seconds for one in group]
        figures = (len(group), len(group) - bad - early, early, bad)
        result.add_row(
            *names,
            *map(str, figures),
            f"{statistics.median(seconds):.0f}",
            f"{max(seconds):.0f}",
        )
    return result


def verdict(outcome: Outcome) -> str:
    """Return the result of a point in a word, or its deviation."""
    if outcome.deviation:
        return outcome.deviation
    return "converged" if outcome.killed else "had ended before"


def crash(
    run: Crash,
    console: Console,
    *,
    modes: Sequence[str] = MODES,
    kinds: Sequence[tuple[str, str]] = KINDS,
    number: int | None = None,
    in_a_row: bool = False,
) -> list[Outcome]:
    """Go through the points, or `number` of each mode and kind, and show how it goes."""
    outcomes: list[Outcome] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console
    ) as progress:
        for mode in modes:
            task = progress.add_task(f"{mode}: an undisturbed up and destroy", total=None)
            run.measure(mode)
            chosen: list[Point] = []
            total, rows = 0, dict.fromkeys(operation for operation, _ in kinds)
            for kind in [(one, one) for one in rows] if in_a_row else kinds:
                points = run.points(mode, *kind)
                total += len(points)
                chosen += points if number is None else sample(points, number)
            progress.console.print(f"{mode}: {len(chosen)} of {total} points", highlight=False)
            progress.update(task, total=len(chosen), description=mode)
            outcomes_of_mode = (
                itertools.chain.from_iterable(run.run_in_a_row(mode, one) for one in rows)
                if in_a_row
                else run.run(chosen)
            )
            for outcome in outcomes_of_mode:
                outcomes.append(outcome)
                line = f"{outcome.point}: {verdict(outcome)}, {outcome.seconds:.0f} s"
                progress.console.print(line, highlight=False, markup=False, soft_wrap=True)
                progress.update(task, advance=1)
    return outcomes


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill the engine after every write of `up` and `destroy`, and see that all comes right."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.proofs.crash", description=main.__doc__
    )
    parser.add_argument("--mode", choices=MODES, help="only this mode; default: both")
    parser.add_argument("--operation", choices=OPERATIONS, help="only this one; default: both")
    parser.add_argument(
        "--in-a-row",
        action="store_true",
        help="one life cycle, each run killed after the first write that is new in it",
    )
    parser.add_argument(
        "--sample",
        type=int,
        metavar="N",
        help="N points of each mode and kind at even distances, always the same; default: all",
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FOLDER",
        help="keep the sandboxes' folders here, with a log of each deviation; default: do not",
    )
    options = parser.parse_args(arguments)
    if options.sample is not None and options.sample < 1:
        parser.error("--sample: write a number from 1")
    if options.sample is not None and options.in_a_row:
        parser.error("--sample: a row has no sample")
    console = proofs.console(_TABLE_WIDTH)
    try:
        outcomes = _crash(options, console)
    except (DeviationError, OperationError) as error:
        console.print(f"crash: failed without a crash: {error}", markup=False, soft_wrap=True)
        return 1
    except (ProcessError, SandboxError, ToolchainError) as error:
        console.print(f"crash: failed: {error}", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("crash: interrupted; everything that was started has been ended")
        return 1
    console.print(table(outcomes), summary(outcomes))
    bad = sum(bool(one.deviation) for one in outcomes)
    console.print(f"crash: {len(outcomes)} points, {bad} deviations", highlight=False)
    return 1 if bad else 0


def _crash(options: argparse.Namespace, console: Console) -> list[Outcome]:
    with _sandboxes(console, options.state) as anew:
        run = Crash(anew(), anew=anew)
        try:
            return crash(
                run,
                console,
                modes=[options.mode] if options.mode else MODES,
                kinds=[kind for kind in KINDS if options.operation in (None, kind[0])],
                number=options.sample,
                in_a_row=options.in_a_row,
            )
        finally:
            run.close()


@contextmanager
def _sandboxes(console: Console, state: Path | None) -> Iterator[Callable[[], Sandbox]]:
    """Yield a function that starts one sandbox after the other; stop the last one."""
    programs = toolchain.programs(console=console)
    started: list[Sandbox] = []
    if state is not None:
        state.mkdir(parents=True, exist_ok=True)

    def anew() -> Sandbox:
        while started:
            started.pop().stop()
        started.append(
            Sandbox.start(
                Path(tempfile.mkdtemp(prefix="run-", dir=folder)) / "sandbox",
                programs,
                console=console,
                with_parent=True,
            )
        )
        return started[0]

    chosen = (
        contextlib.nullcontext(state)
        if state
        else tempfile.TemporaryDirectory(prefix="castai-eks-crash-")
    )
    with chosen as folder:
        try:
            yield anew
        finally:
            for one in started:
                with contextlib.suppress(ProcessError):
                    one.stop()


if __name__ == "__main__":
    command_line.leave(main)
