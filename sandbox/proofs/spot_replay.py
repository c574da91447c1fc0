"""Replays thousands of Spot events through the real handler: `make spot-replay`.

Real are the handler, boto3, HTTP and JSON. EC2 and CAST AI are strict doubles on loopback that
count, throttle and fail. Time is real while code runs and virtual while it waits: back-offs,
network latency and Lambda's pauses between attempts move the clock and take no time.
"""

import argparse
import contextlib
import heapq
import io
import itertools
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from rich.console import Console
from rich.table import Table
from werkzeug.datastructures import Headers
from werkzeug.wrappers import Request, Response

from castai_stack.commands import command_line
from castai_stack.spot import archive
from castai_stack.spot import events as spot_events
from castai_stack.spot.settings import Spot
from castai_stack.spot_handler import instances
from castai_stack.spot_handler.castai import Castai
from castai_stack.spot_handler.decide import EVENT_TYPES, INTERRUPTION, NOTICE_SECONDS, REBALANCE
from castai_stack.spot_handler.handler import Settings, SpotHandler
from sandbox.serving import http_server

CLUSTER = "Shop"
CLUSTER_ID = "6d7f8a90-1b2c-4d3e-8f4a-5b6c7d8e9f00"
KEY = "replay-key-that-no-log-may-hold"
START = 1_795_000_000.0
SPAN_SECONDS = 6 * 3600.0
RECOMMENDED_SHARE = 0.8
"""Instances of which a rebalance recommendation speaks first."""
TOGETHER_SHARE = 0.1
"""Of these, the ones whose warning comes at the same time."""
WAVES = 12
"""Moments at which a whole pool is taken back."""
OWN_SHARE = 0.1
FOREIGN_CLUSTERS = ("shop", "SHOP", "Shop2", "warehouse", "")
"""Names that differ from ours by case or by an end, another, and none at all."""

# https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
RETRY_SECONDS = (60.0, 120.0)
COLD_START_SECONDS = 0.8
"""Assumed for a new execution environment; the import itself is measured below."""
IDLE_SECONDS = 600.0
"""An environment that rests longer is gone, and its memory of foreign instances with it."""

NEAR_SECONDS = 10.0
"""An event this long before an outage may still be under way in it."""

Kind = Literal["own", "foreign", "malformed", "stale", "not-spot"]


@dataclass(frozen=True, slots=True)
class Host:
    """An instance as EC2 knows it."""

    instance_id: str
    cluster: str
    lifecycle: str

    @property
    def provider_id(self) -> str:
        """As Kubernetes spells it."""
        return f"aws:///eu-central-1b/{self.instance_id}"


@dataclass(frozen=True, slots=True)
class Sent:
    """One event as it leaves EC2, and what ought to become of it."""

    at: float
    kind: Kind
    event: Any
    host: Host

    @property
    def expected(self) -> tuple[str, str] | None:
        """Report that CAST AI must hear, by type and provider id."""
        if self.kind != "own":
            return None
        return EVENT_TYPES[self.event["detail-type"]], self.host.provider_id


@dataclass(frozen=True, slots=True)
class Outage:
    """A time in which a service answers nobody, or with errors."""

    service: Literal["ec2", "castai"]
    start: float
    seconds: float
    silent: bool
    """Drops the connection instead of answering 503."""

    def covers(self, now: float) -> bool:
        """Whether the outage lasts at that moment."""
        return self.start <= now < self.start + self.seconds

    def near(self, at: float) -> bool:
        """Whether an event of that moment may fall into the outage."""
        return self.start - NEAR_SECONDS <= at < self.start + self.seconds


@dataclass(frozen=True, slots=True)
class Weather:
    """Faults of the services and their shares."""

    outages: tuple[Outage, ...]
    ec2_throttled: float = 0.05
    castai_throttled: float = 0.05
    castai_broken: float = 0.05
    crash: float = 0.001
    """Share of invocations that die, half of them before the report and half after it."""
    doubled: float = 0.03


def stream(events: int, chance: random.Random) -> list[Sent]:
    """Generate the events of some hours in a busy account, nine in ten of them foreign."""
    numbers = itertools.count(0x0A1B2C3D)
    stories: list[Sent] = []
    while len(stories) < events:
        own = chance.random() < OWN_SHARE
        cluster = CLUSTER if own else chance.choice(FOREIGN_CLUSTERS)
        host = Host(f"i-0{next(numbers):016x}", cluster, "spot")
        # A quarter of all instances goes in waves, when a whole pool is taken back.
        wave = chance.random() < 1 / 4
        at = START + (
            chance.randrange(1, WAVES) * SPAN_SECONDS / WAVES + chance.uniform(0, 20)
            if wave
            else chance.uniform(0, SPAN_SECONDS)
        )
        stories += _story(host, at, "own" if own else "foreign", chance)
    return sorted(stories[:events], key=lambda sent: sent.at)


def _story(host: Host, at: float, kind: Kind, chance: random.Random) -> Iterator[Sent]:
    """Yield the events of one instance: mostly a recommendation, then the warning."""
    kinds = [INTERRUPTION]
    if chance.random() < RECOMMENDED_SHARE:
        kinds.insert(0, REBALANCE)
    odd = chance.random()
    if odd < 0.02:  # noqa: PLR2004 - shares of odd stories
        kind, kinds = "malformed", kinds[:1]
    elif odd < 0.04:  # noqa: PLR2004
        kind, kinds = "stale", kinds[:1]
    elif odd < 0.045 and kind == "own":  # noqa: PLR2004
        kind, host = "not-spot", Host(host.instance_id, host.cluster, "")
    for detail_type in kinds:
        occurred = at - chance.uniform(400, 80_000) if kind == "stale" else at
        event: Any = {
            "version": "0",
            "id": f"{chance.getrandbits(64):016x}",
            "detail-type": detail_type,
            "source": "aws.ec2",
            "account": "012345678901",
            "time": datetime.fromtimestamp(occurred, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": "eu-central-1",
            "resources": [f"arn:aws:ec2:eu-central-1b:instance/{host.instance_id}"],
            "detail": {"instance-id": host.instance_id, "instance-action": "terminate"},
        }
        yield Sent(at, kind, _broken(event, chance) if kind == "malformed" else event, host)
        # AWS: the recommendation may come ahead of the warning, or along with it.
        at += chance.uniform(0, 2) if chance.random() < TOGETHER_SHARE else chance.uniform(60, 480)


def _broken(event: dict[str, Any], chance: random.Random) -> Any:
    """Break an event in one of the ways that must neither be reported nor raise."""
    harm: Callable[[], Any] = chance.choice(
        [
            lambda: None,
            lambda: json.dumps(event),
            lambda: [event],
            lambda: {**event, "detail": None},
            lambda: {**event, "detail": {"instance-action": "terminate"}},
            lambda: {**event, "detail": {"instance-id": event["resources"][0]}},
            lambda: {**event, "detail": {"instance-id": [event["detail"]["instance-id"]]}},
            lambda: {**event, "time": "soon"},
            lambda: {**event, "source": "aws.autoscaling"},
            lambda: {k: v for k, v in event.items() if k != "detail-type"},
        ]
    )
    return harm()


class Clock:
    """Real time while code runs, plus whatever was waited for virtually."""

    def __init__(self) -> None:
        self._base = START
        self._since = time.perf_counter()

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return self._base + time.perf_counter() - self._since

    def set(self, now: float) -> None:
        """Begin another invocation at its own moment."""
        self._base, self._since = now, time.perf_counter()

    def pass_by(self, seconds: float) -> None:
        """Wait virtually."""
        self._base += seconds


@dataclass
class Services:
    """EC2 and CAST AI on one loopback port: strict, counting, and not always well."""

    hosts: dict[str, Host]
    weather: Weather
    clock: Clock
    chance: random.Random
    reports: list[tuple[float, str, str]] = field(default_factory=list)
    """Moment, event type and provider id of every report that was taken."""
    request_counts: Counter[str] = field(default_factory=Counter)
    """Requests by service, and describes by whose instance was asked about."""
    violations: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._server = http_server.serve(self._respond)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    @property
    def url(self) -> str:
        """Address of both."""
        return self._server.url

    def _respond(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        request = Request(environ)
        answer = self.answer(request.path, request.headers, request.get_data())
        if answer is None:
            raise ConnectionAbortedError
        status, headers, content = answer
        return Response(content, status, headers)(environ, start_response)

    def answer(
        self, path: str, headers: Headers, body: bytes
    ) -> tuple[int, dict[str, str], bytes] | None:
        """Answer a request after some virtual latency; None drops the connection."""
        service: Literal["ec2", "castai"] = "ec2" if path == "/" else "castai"
        self.request_counts[service] += 1
        self.clock.pass_by(min(self.chance.lognormvariate(-2.4, 0.5), 2.0))
        instance_id = parse_qs(body.decode()).get("InstanceId.1", [""])[0]
        if service == "ec2":
            self.request_counts["foreign" if self._is_foreign(instance_id) else "own"] += 1
        for outage in self.weather.outages:
            if outage.service == service and outage.covers(self.clock()):
                return None if outage.silent else (503, {}, b"")
        if service == "ec2":
            return self._describe(instance_id)
        return self._take(path, headers, json.loads(body))

    def _is_foreign(self, instance_id: str) -> bool:
        return instance_id in self.hosts and self.hosts[instance_id].cluster != CLUSTER

    def _describe(self, instance_id: str) -> tuple[int, dict[str, str], bytes]:
        if self.chance.random() < self.weather.ec2_throttled:
            return 503, {}, _ec2_error("RequestLimitExceeded")
        host = self.hosts.get(instance_id)
        if host is None:
            self.violations.append(f"asked EC2 about {instance_id!r}, which no event named")
            return 400, {}, _ec2_error("InvalidInstanceID.NotFound")
        self.request_counts["foreign answered"] += self._is_foreign(instance_id)
        return 200, {"Content-Type": "text/xml"}, _ec2_answer(host)

    def _take(
        self, path: str, headers: Headers, body: dict[str, Any]
    ) -> tuple[int, dict[str, str], bytes]:
        wrong = [
            *([] if path.endswith(f"/{CLUSTER_ID}/events") else [f"path {path}"]),
            *([] if headers.get("X-API-Key") == KEY else ["no key in X-API-Key"]),
            *(
                []
                if set(body) == {"eventType", "nodeId", "providerId"}
                else [f"fields {sorted(body)}"]
            ),
        ]
        if wrong:
            self.violations.append(f"CAST AI was called wrongly: {', '.join(wrong)}")
            return 400, {}, b"{}"
        dice = self.chance.random()
        if dice < self.weather.castai_throttled:
            return 429, {"Retry-After": str(self.chance.randint(1, 5))}, b"{}"
        if dice < self.weather.castai_throttled + self.weather.castai_broken:
            # Half of the failures come after the report was taken: that is what doubles it.
            if self.chance.random() < 1 / 2:
                self.reports.append((self.clock(), body["eventType"], body["providerId"]))
            return self.chance.choice([500, 502, 503, 504]), {}, b"{}"
        self.reports.append((self.clock(), body["eventType"], body["providerId"]))
        return 200, {"X-Castai-Request-Id": f"{self.chance.getrandbits(32):08x}"}, b"{}"


def _ec2_error(code: str) -> bytes:
    return (
        f"<Response><Errors><Error><Code>{code}</Code><Message>no</Message></Error></Errors>"
        "<RequestID>replay</RequestID></Response>"
    ).encode()


def _ec2_answer(host: Host) -> bytes:
    tags = {"Name": "node"}
    if host.cluster:
        tags[f"kubernetes.io/cluster/{host.cluster}"] = "owned"
    items = "".join(
        f"<item><key>{escape(key)}</key><value>{escape(value)}</value></item>"
        for key, value in tags.items()
    )
    lifecycle = f"<instanceLifecycle>{host.lifecycle}</instanceLifecycle>" if host.lifecycle else ""
    return (
        '<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
        "<requestId>replay</requestId><reservationSet><item><instancesSet><item>"
        f"<instanceId>{host.instance_id}</instanceId>"
        "<placement><availabilityZone>eu-central-1b</availabilityZone></placement>"
        f"{lifecycle}<tagSet>{items}</tagSet>"
        "</item></instancesSet></item></reservationSet></DescribeInstancesResponse>"
    ).encode()


@dataclass(order=True, slots=True)
class Queued:
    """An event in Lambda's queue."""

    at: float
    order: int
    since: float = field(compare=False)
    """When Lambda took it."""
    attempt: int = field(compare=False)
    sent: Sent = field(compare=False)


@dataclass(slots=True)
class Environment:
    """One execution environment, with the handler's memory."""

    handler: SpotHandler
    free_at: float


@dataclass
class Lambda:
    """Asynchronous invocation as AWS describes it: environments, retries, age, dead letters."""

    settings: Spot
    make: Callable[[], SpotHandler]
    clock: Clock
    chance: random.Random
    crash: float
    dead_letters: list[Sent] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    retries: int = 0
    cold_starts: int = 0
    violations: list[str] = field(default_factory=list)
    _environments: list[Environment] = field(default_factory=list)

    def run(self, sent: list[Sent], doubled: float) -> None:
        """Deliver everything and work until the queue is empty."""
        order = itertools.count()
        queue: list[Queued] = []
        for one in sent:
            for _ in range(2 if self.chance.random() < doubled else 1):
                arrival = one.at + self.chance.lognormvariate(-0.9, 0.5)
                queue.append(Queued(arrival, next(order), arrival, 0, one))
        heapq.heapify(queue)
        while queue:
            job = heapq.heappop(queue)
            if self._invoke(job):
                continue
            again = self._again(job)
            if again is None:
                self.dead_letters.append(job.sent)
            else:
                self.retries += 1
                heapq.heappush(
                    queue, Queued(again, next(order), job.since, job.attempt + 1, job.sent)
                )

    def _again(self, job: Queued) -> float | None:
        if job.attempt >= self.settings.maximum_retries:
            return None
        at = self.clock() + RETRY_SECONDS[job.attempt]
        return at if at - job.since <= self.settings.maximum_event_age_seconds else None

    def _invoke(self, job: Queued) -> bool:
        environment = self._environment(job.at)
        start = max(job.at, environment.free_at)
        self.clock.set(start)
        fate = self.chance.random() / self.crash if self.crash else 1.0
        output = io.StringIO()
        succeeded = False
        if fate >= 1 / 2:
            with contextlib.redirect_stdout(output), contextlib.suppress(Exception):
                environment.handler.handle(job.sent.event, self.settings.timeout_seconds)
                succeeded = True
            self._read(output.getvalue())
            if self.clock() - start > self.settings.timeout_seconds:
                self.violations.append("an invocation outlived its time-out")
        environment.free_at = self.clock()
        if fate < 1:
            self._environments.remove(environment)
            return False
        return succeeded

    def _environment(self, now: float) -> Environment:
        """Return the free environment that was used last, as Lambda tends to; else a new one."""
        self._environments = [e for e in self._environments if now - e.free_at < IDLE_SECONDS]
        free = [e for e in self._environments if e.free_at <= now]
        if free:
            return max(free, key=lambda e: e.free_at)
        self.cold_starts += 1
        environment = Environment(self.make(), now + COLD_START_SECONDS)
        self._environments.append(environment)
        return environment

    def _read(self, output: str) -> None:
        lines = output.splitlines()
        if len(lines) != 1:
            self.violations.append(f"{len(lines)} log lines for one event")
        if KEY in output:
            self.violations.append("the API key is in the log")
        self.lines += [json.loads(line) for line in lines]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One replay and what was seen."""

    sent: list[Sent]
    services: Services
    cloud: Lambda
    seconds: float

    def latencies(self, *, outages: bool = True) -> list[float]:
        """From event to first report, of own events; those that met an outage only if wanted."""
        first: dict[tuple[str, str], float] = {}
        for at, event_type, provider_id in self.services.reports:
            first.setdefault((event_type, provider_id), at)
        occurred = {
            sent.expected: sent.at
            for sent in self.sent
            if sent.expected
            and (outages or not any(o.near(sent.at) for o in self.services.weather.outages))
        }
        return sorted(first[key] - at for key, at in occurred.items() if key in first)

    def missed(self) -> set[tuple[str, str]]:
        """Own events that CAST AI never heard of."""
        reports = {
            (event_type, provider_id) for _, event_type, provider_id in self.services.reports
        }
        return {sent.expected for sent in self.sent if sent.expected} - reports

    def wrong(self) -> set[tuple[str, str]]:
        """Return the reports that nobody was to make."""
        expected = {sent.expected for sent in self.sent}
        return {
            (event_type, provider_id)
            for _, event_type, provider_id in self.services.reports
            if (event_type, provider_id) not in expected
        }

    def count(self, kind: Kind) -> int:
        """Events of a kind, doubles apart."""
        return sum(sent.kind == kind for sent in self.sent)

    def describes_per_foreign_event(self) -> float:
        """Count requests to EC2, refused ones included, for each event of a foreign instance."""
        return self.services.request_counts["foreign"] / max(1, self.count("foreign"))


def replay(sent: list[Sent], weather: Weather, seed: int) -> Outcome:
    """Run events through the handler, Lambda modelled around it."""
    began = time.perf_counter()
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    clock = Clock()
    hosts = {one.host.instance_id: one.host for one in sent}
    settings = Spot()
    with Services(hosts, weather, clock, chance) as services, _aws(services.url):
        ec2 = instances.ec2_client()

        def make() -> SpotHandler:
            return SpotHandler(
                Settings(
                    cluster_name=CLUSTER,
                    maximum_age=spot_events.oldest_age(settings.maximum_event_age_seconds),
                    drain=False,
                ),
                ec2,
                Castai(services.url, CLUSTER_ID, lambda _fresh: KEY),
                clock=clock,
                sleep=clock.pass_by,
            )

        cloud = Lambda(settings, make, clock, chance, weather.crash)
        cloud.run(sent, weather.doubled)
    return Outcome(sent, services, cloud, time.perf_counter() - began)


@contextlib.contextmanager
def _aws(url: str) -> Iterator[None]:
    """Point boto3 at the double, whatever the shell says."""
    variables = {
        "AWS_ENDPOINT_URL_EC2": url,
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "replay",
        "AWS_SECRET_ACCESS_KEY": "replay",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    before = dict(os.environ)
    os.environ.update(variables)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION"):
        os.environ.pop(name, None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def bad_weather() -> Weather:
    """Throttle all the time, and let both fail for less than the notice, in waves and between."""
    outages = [
        Outage(service, START + moment * SPAN_SECONDS / WAVES, seconds, silent)
        for service, moment, seconds, silent in (
            ("ec2", 2.002, 15.0, False),
            ("ec2", 5.5, 60.0, True),
            ("castai", 3.002, 75.0, False),
            ("castai", 7.002, 45.0, True),
            ("castai", 9.5, 60.0, False),
        )
    ]
    return Weather(tuple(outages))


def long_outage(service: Literal["ec2", "castai"]) -> Weather:
    """Outlast every notice, so that only the dead-letter queue is left."""
    return Weather((Outage(service, START, 2 * SPAN_SECONDS, silent=False),), crash=0.0)


def import_seconds(runs: int = 5) -> list[float]:
    """Time a fresh interpreter takes to import the packed handler and make its clients."""
    program = (
        "import time; begin = time.perf_counter(); "
        "from spot_handler import handler, instances; instances.ec2_client(); "
        "print(time.perf_counter() - begin)"
    )
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / archive.FOLDER
        package.mkdir()
        for name, text in archive.sources().items():
            (package / name).write_text(text, encoding="utf-8")
        environment = {**os.environ, "AWS_DEFAULT_REGION": "eu-central-1"}
        return sorted(
            float(
                subprocess.run(
                    [sys.executable, "-c", program],
                    cwd=folder,
                    env=environment,
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout
            )
            for _ in range(runs)
        )


def deviations(outcome: Outcome) -> list[str]:
    """Everything that must not be, in sentences."""
    latencies = outcome.latencies()
    late = sum(seconds > NOTICE_SECONDS for seconds in latencies)
    per_foreign = outcome.describes_per_foreign_event()
    return [
        *outcome.services.violations,
        *outcome.cloud.violations,
        *(f"never reported: {kind} of {provider}" for kind, provider in outcome.missed()),
        *(f"reported wrongly: {kind} of {provider}" for kind, provider in outcome.wrong()),
        *([f"{late} reports came after the instance was gone"] if late else []),
        *(
            [f"{per_foreign:.2f} describes for a foreign event, wanted at most 1"]
            if per_foreign > 1
            else []
        ),
    ]


def lost(outcome: Outcome) -> list[str]:
    """Own events of a long outage that are neither reported nor in the queue."""
    dead = {sent.expected for sent in outcome.cloud.dead_letters}
    return [
        *outcome.services.violations,
        *outcome.cloud.violations,
        *(f"lost: {kind} of {provider}" for kind, provider in outcome.missed() - dead),
    ]


def _percentile(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(share * len(values)))] if values else math.nan


def _table(outcome: Outcome, imports: list[float]) -> Table:
    latencies, calm = outcome.latencies(), outcome.latencies(outages=False)
    counts, cloud = outcome.services.request_counts, outcome.cloud
    decisions = Counter(line["decision"] for line in cloud.lines)
    own, foreign = outcome.count("own"), outcome.count("foreign")
    table = Table(title="Spot events, replayed", title_justify="left")
    table.add_column("what")
    table.add_column("figure", justify="right")
    rows = [
        ("events sent", f"{len(outcome.sent):,}"),
        ("  own / foreign", f"{own:,} / {foreign:,}"),
        (
            "  malformed / stale / own but not Spot",
            " / ".join(str(outcome.count(kind)) for kind in ("malformed", "stale", "not-spot")),
        ),
        ("invocations, doubles and retries included", f"{len(cloud.lines):,}"),
        (
            "  reported / ignored / failed",
            f"{decisions['reported']:,} / {decisions['ignored']:,} / {decisions['failed']:,}",
        ),
        ("retries by Lambda / dead letters", f"{cloud.retries} / {len(cloud.dead_letters)}"),
        ("own events never reported", f"{len(outcome.missed())}"),
        ("foreign events reported", f"{len(outcome.wrong())}"),
        ("event to report, p50", f"{_percentile(latencies, 0.5):.2f} s"),
        ("event to report, p99", f"{_percentile(latencies, 0.99):.1f} s"),
        ("event to report outside outages, p50", f"{_percentile(calm, 0.5):.2f} s"),
        ("event to report outside outages, p99", f"{_percentile(calm, 0.99):.1f} s"),
        ("event to report, longest (notice: 120 s)", f"{_percentile(latencies, 1.0):.1f} s"),
        (
            "describes for each foreign event, refused ones included",
            f"{outcome.describes_per_foreign_event():.2f}",
        ),
        ("  of these answered", f"{counts['foreign answered'] / max(1, foreign):.2f}"),
        ("describes for each own event", f"{counts['own'] / max(1, own):.2f}"),
        ("CAST AI requests for each own event", f"{counts['castai'] / max(1, own):.2f}"),
        ("execution environments started", f"{cloud.cold_starts:,}"),
        (
            "import and clients, fresh interpreter, least / median",
            f"{imports[0]:.2f} / {statistics.median(imports):.2f} s",
        ),
        ("replay took", f"{outcome.seconds:.0f} s"),
    ]
    for what, figure in rows:
        table.add_row(what, figure)
    return table


def main(arguments: list[str] | None = None) -> int:
    """Replay, print the figures, and fail on any deviation."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.proofs.spot_replay", description=__doc__
    )
    parser.add_argument("--events", type=int, default=10_000, help="how many (default: 10000)")
    parser.add_argument("--seed", type=int, default=1, help="another seed, another day")
    options = parser.parse_args(arguments)
    if options.events < 1:
        parser.error("--events must be at least 1")
    console = Console()
    chance = random.Random(options.seed)  # noqa: S311 - repeatable on purpose

    outcome = replay(stream(options.events, chance), bad_weather(), options.seed)
    console.print(_table(outcome, import_seconds()))
    problems = deviations(outcome)
    for service in ("ec2", "castai"):
        some = stream(max(1, options.events // 50), chance)
        hours = replay(some, long_outage(service), options.seed)
        unmet = lost(hours)
        console.print(
            f"{service} out for hours: {hours.count('own')} own events, "
            f"{len(hours.cloud.dead_letters)} dead letters, {len(unmet)} lost"
        )
        problems += unmet
    console.print(
        "Waits, latencies and Lambda's retries are virtual; code, HTTP and JSON are real."
    )
    for problem in problems[:20]:
        console.print(f"[red]deviation:[/red] {problem}", highlight=False)
    console.print(
        f"spot-replay: {'ok' if not problems else f'{len(problems)} deviations'}, "
        f"{len(outcome.sent):,} events, seed {options.seed}",
        highlight=False,
    )
    return 1 if problems else 0


if __name__ == "__main__":
    command_line.leave(main)
