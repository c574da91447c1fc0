"""Ordinary `pulumi` commands on a program, each with the changes that its events report."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sandbox.engine import events as engine_events
from sandbox.engine import stack_file as engine_stack_file
from sandbox.engine.events import Step

if TYPE_CHECKING:
    import resource

REPOSITORY = Path(__file__).parents[2]
PROGRAM = REPOSITORY / "__main__.py"
PASSPHRASE = "castai-eks-sandbox"  # noqa: S105 - public: it guards what the sandbox made up
"""Decrypts `Pulumi.dev.yaml`, in which no secret of the real world is."""

_STACK_NAME = re.compile(r"^[A-Za-z0-9_.-]{1,100}$")
_SILENCE_SECONDS = 15
_PATIENCE = 2
_EVENTS = "events"
_CONFIRMED = ("--yes", "--skip-preview")


class OperationError(Exception):
    """An operation failed; `output` is all it printed, and the text ends with what went wrong."""

    def __init__(self, operation: str, sentence: str, output: str) -> None:
        super().__init__(f"{operation} failed: {sentence}")
        self.operation = operation
        self.output = output


@dataclass(frozen=True, slots=True)
class Result:
    """An operation that succeeded."""

    operation: str
    changes: dict[str, int]
    """The engine's own summary, `same` included."""
    steps: list[Step]
    output: str
    seconds: float
    """From the start of the command to its end."""
    processor_seconds: float
    """Processor time of the command and of the processes that it waited for: the program, the
    plugins."""
    peak_kib: int
    """Largest resident set of one of these processes."""

    @property
    def empty(self) -> bool:
        """Whether nothing changed, or would."""
        return all(count == 0 for kind, count in self.changes.items() if kind != "same")

    def changing(self) -> list[Step]:
        """List the steps that are neither `same` nor a mere look."""
        return [s for s in self.steps if s.operation not in ("same", "refresh", "read")]


class Running:
    """An operation under way in a process group of its own."""

    def __init__(
        self,
        operation: str,
        process: subprocess.Popen[str],
        folder: Path,
        log: Path,
        on_line: Callable[[str], None],
    ) -> None:
        self.operation = operation
        self.group = process.pid
        """Process group of the engine, the program and its plugins."""
        self._process = process
        self._folder = folder
        self._log = log
        self._on_line = on_line
        self._lines: list[str] = []
        self._started = self._last_line = time.monotonic()
        self._seconds = 0.0
        self._usage: resource.struct_rusage | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with self._log.open("a") as log:
            for line in self._process.stdout or ():
                self._last_line = time.monotonic()
                self._lines.append(line)
                log.write(line)
                self._on_line(line.rstrip("\n"))

    def kill(self) -> None:
        """End everything at once, as a crash does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.group, signal.SIGKILL)

    @property
    def killed(self) -> bool:
        """Return True if a signal ended the command."""
        return (self._process.returncode or 0) < 0

    @property
    def output(self) -> str:
        """Return what it has printed so far."""
        return "".join(self._lines)

    def ended(self, seconds: float) -> bool:
        """Wait at most so long for the end; plugins of a killed engine may still be there."""
        deadline = time.monotonic() + seconds
        while self._usage is None:
            # Only this call reports what the command's own children have used.
            pid, status, usage = os.wait4(self._process.pid, os.WNOHANG)
            if pid:
                self._process.returncode = os.waitstatus_to_exitcode(status)
                self._seconds = time.monotonic() - self._started
                self._usage = usage
            elif time.monotonic() > deadline:
                return False
            else:
                time.sleep(0.01)
        return True

    def result(self) -> Result:
        """Wait for the end; raises OperationError if it is not a good one.

        The first interrupt asks the engine to come to a safe end and waits for it, the second to
        end at once, the third ends it by force.
        """
        interrupts = 0
        while True:
            try:
                if self.ended(0.5):
                    break
                self._report_silence()
            except KeyboardInterrupt:
                interrupts += 1
                number = signal.SIGINT if interrupts <= _PATIENCE else signal.SIGKILL
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.group, number)
        # A program that crashed leaves its plugins behind, which nobody else would end.
        self.kill()
        self._close()
        if interrupts:
            raise KeyboardInterrupt
        return self._judge()

    def _report_silence(self) -> None:
        if time.monotonic() - self._last_line > _SILENCE_SECONDS:
            self._last_line = time.monotonic()
            elapsed = int(self._last_line - self._started)
            self._on_line(f"... {self.operation} is still running after {elapsed} s")

    def _close(self) -> None:
        # A plugin that outlived a killed engine would hold the pipe open for ever.
        self._reader.join(5)
        if self._process.stdout and not self._reader.is_alive():
            self._process.stdout.close()

    def _judge(self) -> Result:
        path = self._folder / _EVENTS
        lines = path.read_text().splitlines() if path.exists() else []
        events = engine_events.read(self.operation, lines)
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._process.returncode != 0:
            sentence = events.sentence or _last_error(self.output)
            status = f"ended with status {self._process.returncode}"
            raise OperationError(self.operation, sentence or status, self.output)
        assert self._usage is not None  # noqa: S101 - the process has ended
        return Result(
            operation=self.operation,
            changes=events.changes,
            steps=events.steps,
            output=self.output,
            seconds=self._seconds,
            processor_seconds=self._usage.ru_utime + self._usage.ru_stime,
            peak_kib=self._usage.ru_maxrss,
        )


@dataclass
class Stack:
    """One stack of a sandbox's own backend, under a stack file and overrides.

    `environment` is what reaches the operation: addresses, credentials, kubeconfig. Nothing is
    written outside `directory`.
    """

    directory: Path
    environment: Mapping[str, str]
    stack_file: Path = REPOSITORY / "Pulumi.dev.yaml"
    settings: Sequence[str] = ()
    """Overrides as `KEY=VALUE`, relative to the `castai` object."""
    program: Path = PROGRAM
    name: str = "dev"
    on_line: Callable[[str], None] = field(default=lambda _line: None)

    def __post_init__(self) -> None:
        self.directory = self.directory.absolute()
        if not _STACK_NAME.match(self.name):
            raise ValueError(f"{self.name!r} is no name for a stack")

    @property
    def backend(self) -> Path:
        """Folder of the states, their backups and the history."""
        return self.directory / "pulumi" / "backend"

    @property
    def work(self) -> Path:
        """Generated folder that the engine takes for the project's."""
        return self.directory / "pulumi" / "work" / self.name

    @property
    def _state(self) -> Path:
        return self.backend / ".pulumi" / "stacks" / _project()["name"] / f"{self.name}.json"

    def preview(self, *arguments: str) -> Result:
        """Compute what `up` would change; `arguments` go to the command line as they are."""
        return self.begin("preview", *arguments).result()

    def up(self, *arguments: str) -> Result:
        """Make it so."""
        return self.begin("up", *arguments).result()

    def refresh(self, *arguments: str) -> Result:
        """Read what is there into the state."""
        return self.begin("refresh", *arguments).result()

    def destroy(self, *arguments: str) -> Result:
        """Take away everything that the state knows."""
        return self.begin("destroy", *arguments).result()

    def begin(self, operation: str, *arguments: str) -> Running:
        """Start an operation and return at once."""
        self._write_work()
        if not self._state.exists():
            self.pulumi("stack", "init", self.name)
            self._write_work()  # without a salt of its own, `stack init` adds one
        runs = self.directory / "pulumi" / "runs"
        runs.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{operation}-", dir=runs))
        process = subprocess.Popen(
            [
                *("pulumi", "--non-interactive", "--color", "never"),
                *(operation, "--stack", self.name, "--event-log", str(folder / _EVENTS)),
                *(() if operation == "preview" else _CONFIRMED),
                *arguments,
            ],
            cwd=self.work,
            # Without it the CLI does not know `--event-log`.
            env={**self.process_environment(), "PULUMI_DEBUG_COMMANDS": "true"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        log = self.directory / "logs" / "operations.log"
        log.parent.mkdir(exist_ok=True)
        return Running(operation, process, folder, log, self.on_line)

    def export(self) -> dict[str, Any]:
        """Return the state as JSON, secrets encrypted."""
        return json.loads(self.pulumi("stack", "export", "--stack", self.name))

    def outputs(self, *, show_secrets: bool = False) -> dict[str, Any]:
        """Return the stack's outputs; a secret reads `[secret]` unless asked for."""
        options = ("--show-secrets",) if show_secrets else ()
        return json.loads(self.pulumi("stack", "output", "--json", "--stack", self.name, *options))

    def pulumi(self, *arguments: str) -> str:
        """Run another command of the CLI on this backend and return what it printed."""
        self._write_work()
        done = subprocess.run(
            ["pulumi", "--non-interactive", *arguments],
            cwd=self.work,
            env=self.process_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            sentence = done.stderr.strip() or f"ended with status {done.returncode}"
            raise OperationError(f"pulumi {arguments[0]}", sentence, done.stdout + done.stderr)
        return done.stdout

    def process_environment(self) -> dict[str, str]:
        """Return the whole environment of an operation, with nothing of the user's clouds."""
        home = self.directory / "pulumi" / "home"
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "PULUMI_", "CASTAI_", "KUBE"))
            # With it every process of an operation would compile the SDKs anew.
            and name != "PYTHONDONTWRITEBYTECODE"
        }
        return {
            **inherited,
            **pulumi_environment(self.directory),
            "PULUMI_HOME": str(home),
            **self.environment,
        }

    def _write_work(self) -> None:
        text = engine_stack_file.render(self.stack_file, self.settings)
        self.work.mkdir(parents=True, exist_ok=True)
        self.backend.mkdir(parents=True, exist_ok=True)
        project = _project()
        # `uv` would update the environment of the tests before each command.
        options = {"toolchain": "pip", "virtualenv": sys.prefix}
        project["runtime"] = {"name": "python", "options": options}
        project["main"] = os.path.relpath(self.program, self.work)
        # The plugin is on PATH, where it starts without a language host.
        project.pop("plugins", None)
        (self.work / "Pulumi.yaml").write_text(yaml.safe_dump(project, sort_keys=False))
        (self.work / f"Pulumi.{self.name}.yaml").write_text(text)


def _project() -> dict[str, Any]:
    return yaml.safe_load((REPOSITORY / "Pulumi.yaml").read_text())


def _last_error(output: str) -> str:
    """Return the last error that the command printed, for one that fails before its events."""
    _, marked, sentence = output.rpartition("error: ")
    return sentence.strip() if marked else ""


def pulumi_environment(directory: Path) -> dict[str, str]:
    """Return what makes a `pulumi` use this sandbox's programs and its own backend."""
    return {
        "PATH": f"{directory / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONPATH": str(REPOSITORY),
        # Without it the stand-in for the AWS plugin refuses to run.
        "CASTAI_SANDBOX_STATE": str(directory),
        "PULUMI_BACKEND_URL": f"file://{directory / 'pulumi' / 'backend'}",
        "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
        "PULUMI_PYTHON_CMD": sys.executable,
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        # Offline: a plugin that is missing is an error, not a download.
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }
