"""One running sandbox: its processes, its addresses, and the environment that leads to it."""

import contextlib
import fcntl
import functools
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from lightkube import Client, KubeConfig
from rich.console import Console

from sandbox import SANDBOX_VARIABLE, addresses, constants
from sandbox.aws_provider.account import WAITS as AWS_WAITS
from sandbox.engine import program_folder
from sandbox.engine import stack as engine_stack
from sandbox.engine.stack import Stack
from sandbox.kubernetes import authenticator, furnished
from sandbox.kubernetes.control_plane import ControlPlane
from sandbox.processes import ProcessError, Processes, free_port
from sandbox.toolchain import Programs

Who = Literal["operator", "reader", "expired"]

AWS_WAITS_HELP = (
    "wait after creations as long as the real AWS plugin does: 25 s for a queue, 5 s for a "
    "function and an instance profile"
)
_RECORD = "sandbox.json"
_SERVICES_SECONDS = 60
_LOCK = "lock"
_OURS = frozenset(
    {
        authenticator.NAME,
        "aws-provider",
        "bin",
        "kubernetes",
        _LOCK,
        "logs",
        "pids",
        "pulumi",
        "services",
        _RECORD,
    }
)
"""Names that a state folder may hold: a folder with any other name in it is never emptied."""
_LOOPBACK = "127.0.0.1,localhost"


class SandboxError(Exception):
    """The sandbox cannot be started or found; the message is the whole story."""


@dataclass(frozen=True)
class Sandbox:
    """A running sandbox; `start` makes one, `at` finds one."""

    directory: Path
    record: Mapping[str, Any]
    control_plane: ControlPlane

    @property
    def aws_url(self) -> str:
        """Address of the AWS server, `/_sandbox/` for its controls."""
        return str(self.record["aws"])

    @property
    def castai_url(self) -> str:
        """Address of the CAST AI service, `/_sandbox/` for its controls."""
        return str(self.record["castai"])

    @classmethod
    def start(
        cls,
        directory: Path,
        programs: Programs,
        *,
        console: Console | None = None,
        options: Mapping[str, Any] | None = None,
        with_parent: bool = False,
    ) -> Self:
        """Start everything anew, furnish the cluster, and wait until all of it answers.

        `options` go to the AWS and CAST AI servers, see `sandbox.services`; `awsWaits` makes the
        stand-in for the AWS plugin wait as long as the real one does.
        """
        console = console or Console(quiet=True)
        directory = directory.absolute()
        with _starting(directory):
            _clear(directory, console)
            try:
                return cls._start(directory, programs, console, options or {}, with_parent)
            except BaseException:
                _end_processes(directory)
                raise

    @classmethod
    def _start(
        cls,
        directory: Path,
        programs: Programs,
        console: Console,
        options: Mapping[str, Any],
        with_parent: bool,
    ) -> Self:
        port, webhook_port = free_port(), free_port()
        program_folder.write(directory / "bin", programs)
        plan = {"directory": str(directory), "options": dict(options)}
        processes = Processes(directory)
        processes.start(
            "services",
            [sys.executable, "-m", "sandbox.services", addresses.plan(directory, plan)],
            {"PYTHONPATH": str(engine_stack.REPOSITORY)},
            with_parent=with_parent,
        )
        # Both take seconds, so they start side by side.
        with _step(console, "Kubernetes control plane"):
            plane = ControlPlane.start(
                directory / "kubernetes",
                programs,
                port=port,
                webhook=authenticator.url(webhook_port),
                logins=authenticator.logins(directory, programs),
                with_parent=with_parent,
                waiting=processes.require_alive,
            )
        with _step(console, "AWS, CAST AI and authenticator"):
            published = _wait_for_services(directory, processes)
            authenticator.start(
                directory, programs, plane, webhook_port, published, with_parent=with_parent
            )
        with (
            _step(console, f"the existing cluster {constants.CLUSTER}"),
            Client(config=KubeConfig.from_file(plane.kubeconfig)) as client,
        ):
            nodes = [furnished.Node(**node) for node in published["nodes"]]
            furnished.furnish(client, published["account"], nodes)
            addresses.announce_cluster(directory, plane)
            plane.wait_for_login("operator", processes.require_alive)
        waits = bool(options.get("awsWaits"))
        record = {**published, "started": time.time(), "awsWaits": waits}
        path = directory / _RECORD
        path.touch(mode=0o600)
        path.write_text(json.dumps(record, indent=2))
        return cls(directory, record, plane)

    @classmethod
    def at(cls, directory: Path) -> Self:
        """Find the sandbox that runs in `directory`."""
        directory = directory.absolute()
        path = directory / _RECORD
        if not path.exists():
            raise SandboxError(
                f"no sandbox runs in {directory}; start one with `python -m sandbox start`"
            )
        if ended := _missing(directory):
            raise SandboxError(
                f"the sandbox in {directory} is not whole, {', '.join(ended)} ended; "
                "start it again with `python -m sandbox start`"
            )
        plane = ControlPlane.at(directory / "kubernetes")
        return cls(directory, json.loads(path.read_text()), plane)

    def stop(self) -> None:
        """End every process of this sandbox; its state folder stays for inspection."""
        stop(self.directory)

    def environment(self, who: Who = "operator") -> dict[str, str]:
        """Return what leads ordinary tools to this sandbox in the name of `who`."""
        keys = self.record["principals"][who]
        proxies = ",".join(filter(None, (os.environ.get("NO_PROXY"), _LOOPBACK)))
        session = {"AWS_SESSION_TOKEN": keys["sessionToken"]} if keys["sessionToken"] else {}
        return {
            SANDBOX_VARIABLE: str(self.directory),
            **({AWS_WAITS: "1"} if self.record.get("awsWaits") else {}),
            "AWS_ENDPOINT_URL": self.aws_url,
            "AWS_ACCESS_KEY_ID": keys["accessKeyId"],
            "AWS_SECRET_ACCESS_KEY": keys["secretAccessKey"],
            **session,
            "AWS_REGION": constants.REGION,
            "AWS_DEFAULT_REGION": constants.REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            # Nothing of the user's own profiles.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "KUBECONFIG": str(
                self.control_plane.kubeconfig_of("operator" if who == "expired" else who)
            ),
            "CASTAI_API_URL": self.castai_url,
            "NO_PROXY": proxies,
            "no_proxy": proxies,
        }

    def client(self, service: str, who: Who | Literal["root"] = "operator") -> Any:
        """Return a boto3 client in the name of `who`; the root's calls count as the sandbox's."""
        keys = self.record["principals"][who]
        identity = (keys["accessKeyId"], keys["secretAccessKey"], keys["sessionToken"])
        return _client(service, self.aws_url, *identity)

    def stack(
        self,
        settings: Sequence[str] = (),
        *,
        stack_file: Path | None = None,
        who: Who = "operator",
        **more: Any,
    ) -> Stack:
        """Return the stack of this sandbox under `settings`, run in the name of `who`."""
        return Stack(
            directory=self.directory,
            environment=self.environment(who),
            stack_file=stack_file or engine_stack.REPOSITORY / "Pulumi.dev.yaml",
            settings=settings,
            **more,
        )


@functools.cache
def _client(service: str, url: str, key_id: str, secret: str, token: str) -> Any:
    """Return one boto3 client per identity, which threads may share: each takes 50 ms to build."""
    import boto3  # noqa: PLC0415 - most commands of the sandbox need none

    # The stubs know every service by its literal name only.
    session: Any = boto3.session.Session()
    return session.client(
        service,
        region_name=constants.REGION,
        endpoint_url=url,
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        aws_session_token=token or None,
    )


def stop(directory: Path) -> list[str]:
    """End whatever runs for `directory`, also after a crash; return what was ended."""
    directory = directory.absolute()
    if not directory.exists():
        return []
    names = _alive(directory)
    _end_processes(directory)
    (directory / _RECORD).unlink(missing_ok=True)
    return names


def require_startable(directory: Path) -> None:
    """Raise if a sandbox runs in `directory`, before anything long begins."""
    directory = directory.absolute()
    if (directory / _RECORD).exists() and not _missing(directory):
        raise SandboxError(
            f"a sandbox already runs in {directory}; use it, or end it with "
            "`python -m sandbox stop`"
        )


@contextmanager
def _starting(directory: Path) -> Iterator[None]:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / _LOCK).open("w")
    except OSError as error:
        raise SandboxError(
            f"cannot use {directory} as the state folder: {error.strerror}; "
            "choose another one with --state"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SandboxError(
                f"another start is under way in {directory}; wait for it, or choose another "
                "folder with --state"
            ) from None
        yield


def _clear(directory: Path, console: Console) -> None:
    strange = [path.name for path in directory.iterdir() if path.name not in _OURS]
    if strange:
        raise SandboxError(
            f"{directory} holds {', '.join(sorted(strange)[:3])}, which no sandbox made; "
            "choose an empty folder with --state"
        )
    require_startable(directory)
    if alive := _alive(directory):
        console.print(f"an earlier start left {', '.join(alive)} behind; ending them")
        _end_processes(directory)
    for path in directory.iterdir():
        if path.name == _LOCK:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _alive(directory: Path) -> list[str]:
    plane = directory / "kubernetes"
    return [
        *Processes(directory).alive(),
        *(Processes(plane).alive() if plane.exists() else []),
        *(f"operation {pid}" for pid in _operations(directory)),
    ]


def _missing(directory: Path) -> list[str]:
    expected = {
        "services",
        authenticator.NAME,
        "etcd",
        "apiserver",
        "controller-manager",
        "scheduler",
        "kwok",
    }
    return sorted(expected - set(_alive(directory)))


def _end_processes(directory: Path) -> None:
    for pid in _operations(directory):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    plane = directory / "kubernetes"
    if plane.exists():
        Processes(plane).stop()
    Processes(directory).stop()


def _operations(directory: Path) -> list[int]:
    """Engines and plugins at work, also those that lost their parent: their folder is ours."""
    if sys.platform != "linux":
        return []
    pids = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if (entry / "cwd").readlink().is_relative_to(directory / "pulumi"):
                    pids.append(int(entry.name))
    return pids


def _wait_for_services(directory: Path, processes: Processes) -> dict[str, Any]:
    deadline = time.monotonic() + _SERVICES_SECONDS
    while time.monotonic() < deadline:
        processes.require_alive()
        if (published := addresses.read(directory)) is not None:
            return published
        time.sleep(0.05)
    raise ProcessError(
        f"the services did not answer within {_SERVICES_SECONDS} s; "
        f"their log is {directory / 'logs' / 'services.log'}"
    )


@contextmanager
def _step(console: Console, what: str) -> Iterator[None]:
    started = time.monotonic()
    if console.is_terminal:
        with console.status(f"starting {what}"):
            yield
    else:
        console.print(f"starting {what}", highlight=False)
        yield
    console.print(f"{what}: ready after {time.monotonic() - started:.1f} s", highlight=False)
