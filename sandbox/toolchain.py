"""The programs of the sandbox: found on the machine, or built once into the user's cache.

`python -m sandbox.toolchain` does it now, so that a progress bar can be seen.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from sandbox import cache

MODULE = Path(__file__).parent / "toolchain"
MARKER = ".castai-eks-sandbox"
"""A folder on PATH that holds this file is the sandbox's own and no real plugin's."""

_QUIET_REPORT_SECONDS = 15
_LEAST_FREE_BYTES = 1_500_000_000
_TAIL_LINES = 15
_SDK = "github.com/pulumi/pulumi/sdk/v3"
_LANGUAGE_HOST = "pulumi-language-python"
_EXECUTOR = f"{_LANGUAGE_HOST}-exec"
_VERSION = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"
_KUBERNETES = "k8s.io/component-base/version"


class ToolchainError(Exception):
    """A program of the sandbox can neither be found nor built; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Build:
    """One program of a Go module."""

    name: str
    module: str
    """Folder of the module, within `MODULE`."""
    package: str
    definitions: tuple[str, ...]
    expected_seconds: int
    """From nothing, on two cores."""


BUILDS = (
    Build(
        "pulumi",
        "engine",
        "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
        (f"{_VERSION}=v3.274.1",),
        221,
    ),
    Build("pulumi-resource-kubernetes", ".", "./kubernetes-plugin", (), 702),
    Build(
        "control-plane",
        ".",
        "./control-plane",
        (
            f"{_KUBERNETES}.gitVersion=v1.33.13",
            f"{_KUBERNETES}.gitMajor=1",
            f"{_KUBERNETES}.gitMinor=33",
        ),
        224,
    ),
    Build("kwok", ".", "sigs.k8s.io/kwok/cmd/kwok", (), 16),
    Build("authenticator", ".", "./authenticator", (), 120),
)
_YAML_HOST = Build(
    "pulumi-language-yaml",
    "yaml",
    "github.com/pulumi/pulumi-yaml/cmd/pulumi-language-yaml",
    (),
    140,
)
_NODE_SDK = Build("node-sdk", "engine", "./node-sdk", (), 90)
_APART = (MODULE / _YAML_HOST.module, MODULE / _NODE_SDK.module / _NODE_SDK.name)
"""Sources of programs that only tests need; each has a folder of its own in the cache."""


@dataclass(frozen=True, slots=True)
class Programs:
    """Where each program is; without a real AWS plugin the stand-in takes its place."""

    pulumi: Path
    kubernetes_plugin: Path
    control_plane: Path
    kwok: Path
    authenticator: Path
    aws_plugin: Path | None
    language_host: Path | None
    """The machine's own `pulumi-language-python`; without it the stand-in takes its place."""
    executor: Path
    """`pulumi-language-python-exec` of the SDK, which the stand-in runs programs with."""


def programs(*, own: bool = False, console: Console | None = None) -> Programs:
    """Find the programs, build what is missing, and say which was taken.

    A `pulumi`, `pulumi-resource-kubernetes` or `pulumi-resource-aws` of the machine is used
    instead of ours unless `own`.
    """
    console = console or Console(stderr=True)
    paths = {
        name: None if own else find(name)
        for name in ("pulumi", "pulumi-resource-kubernetes", "pulumi-resource-aws")
    }
    wanted = [build for build in BUILDS if paths.get(build.name) is None]
    folder = cache_folder()
    host = _language_host(paths["pulumi"])
    _build_missing(folder, wanted, console, with_executor=host is None)
    for name, path in paths.items():
        if path is not None:
            console.print(f"{name}: taking the one found at {path}", highlight=False)
        elif name == "pulumi-resource-aws":
            console.print(f"{name}: taking the stand-in of the sandbox", highlight=False)
        else:
            console.print(f"{name}: taking our own build", highlight=False)
    if host is None:
        console.print(f"{_LANGUAGE_HOST}: taking the stand-in of the sandbox", highlight=False)
    else:
        console.print(f"{_LANGUAGE_HOST}: taking the one found at {host}", highlight=False)
    return Programs(
        pulumi=paths["pulumi"] or folder / "pulumi",
        kubernetes_plugin=paths["pulumi-resource-kubernetes"]
        or folder / "pulumi-resource-kubernetes",
        control_plane=folder / "control-plane",
        kwok=folder / "kwok",
        authenticator=folder / "authenticator",
        aws_plugin=paths["pulumi-resource-aws"],
        language_host=host,
        executor=(host or folder / _LANGUAGE_HOST).with_name(_EXECUTOR),
    )


def _language_host(pulumi: Path | None) -> Path | None:
    """Return the machine's language host; an installation has it beside its `pulumi`.

    It comes first even when the rest is built here, because it cannot be built.
    """
    home = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
    beside = [pulumi.resolve().parent] if pulumi is not None else []
    candidates = [folder / _LANGUAGE_HOST for folder in (*beside, home / "bin")]
    return next((path for path in candidates if os.access(path, os.X_OK)), find(_LANGUAGE_HOST))


def find(name: str) -> Path | None:
    """Return the machine's own `name`: on PATH, else the newest in Pulumi's plugin folder."""
    for entry in os.environ.get("PATH", "").split(os.pathsep):
        if not entry or (Path(entry) / MARKER).exists():
            continue
        if candidate := shutil.which(name, path=entry):
            return Path(candidate).absolute()
    return _installed_plugin(name)


def _installed_plugin(name: str) -> Path | None:
    kind = name.removeprefix("pulumi-")
    if kind == name:
        return None
    home = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
    installed = [
        (_version(folder.name), folder / name)
        for folder in (home / "plugins").glob(f"{kind}-v*")
        if (folder / name).is_file() and not folder.with_name(f"{folder.name}.partial").exists()
    ]
    return max(installed)[1] if installed else None


def _version(folder: str) -> tuple[int, ...]:
    match = re.search(r"-v(\d+)\.(\d+)\.(\d+)", folder)
    return tuple(int(part) for part in match.groups()) if match else ()


def yaml_host(console: Console | None = None) -> Path:
    """Return the language host of YAML programs, built if it is missing."""
    return _apart(_YAML_HOST, console)


def node_sdk(console: Console | None = None) -> Path:
    """Return the generator of Node.js SDKs, built if it is missing."""
    return _apart(_NODE_SDK, console)


def _apart(build: Build, console: Console | None) -> Path:
    folder = cache_folder(build.module)
    _build_missing(folder, [build], console or Console(stderr=True), with_executor=False)
    return folder / build.name


def cache_folder(module: str = ".") -> Path:
    """Return the folder of the built programs, named by a hash of the modules' files."""
    root = MODULE / module
    left_out = _APART if root == MODULE else ()
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        skipped = path.suffix == ".md" or any(one in path.parents for one in left_out)
        if path.is_file() and not skipped:
            content = path.read_bytes()
            digest.update(f"{path.relative_to(root)}\0{len(content)}\0".encode() + content)
    return cache.folder() / f"toolchain-{digest.hexdigest()[:16]}"


def _build_missing(
    folder: Path, wanted: list[Build], console: Console, *, with_executor: bool
) -> None:
    names = [build.name for build in wanted] + [_EXECUTOR] * with_executor
    if all((folder / name).exists() for name in names):
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARKER).touch()
    except OSError as error:
        raise ToolchainError(
            f"cannot use {folder} for the built programs: {error.strerror}; "
            "set XDG_CACHE_HOME to a folder that can be written"
        ) from None
    with _locked(folder / "lock", console):
        # A name without the suffix `.part` is a finished program: renames are atomic.
        for build in wanted:
            if not (folder / build.name).exists():
                _build(build, folder, console)
        if with_executor and not (folder / _EXECUTOR).exists():
            _copy_executor(folder)


def _copy_executor(folder: Path) -> None:
    """Copy the program that runs programs from the Go module that `pulumi` is built from."""
    command = [_go(_EXECUTOR), "mod", "download", "-json", _SDK]
    download = subprocess.run(
        command, cwd=MODULE / "engine", capture_output=True, text=True, check=False
    )
    if download.returncode != 0:
        raise ToolchainError(
            f"{_EXECUTOR} is part of the Go module {_SDK}, which cannot be downloaded: "
            f"{download.stderr.strip() or download.stdout.strip()}"
        )
    source = Path(json.loads(download.stdout)["Dir"]) / "python" / "cmd" / _EXECUTOR
    part = folder / f"{_EXECUTOR}.part"
    shutil.copyfile(source, part)
    part.replace(folder / _EXECUTOR)


def _go(program: str) -> str:
    go = shutil.which("go")
    if go is None:
        raise ToolchainError(
            f"{program} has to be built, and there is no `go` on PATH; "
            "install Go 1.26.6 or newer (https://go.dev/dl/) and run the same command again"
        )
    return go


@contextmanager
def _locked(path: Path, console: Console) -> Iterator[None]:
    # The kernel drops the lock when its holder dies, so none is ever left behind.
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.print("another start is building the programs; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(build: Build, folder: Path, console: Console) -> None:
    go = _go(build.name)
    free = shutil.disk_usage(folder).free
    if free < _LEAST_FREE_BYTES:
        raise ToolchainError(
            f"{build.name} has to be built and {folder} has {free // 1_000_000} MB left; "
            f"free {_LEAST_FREE_BYTES // 1_000_000} MB, or set XDG_CACHE_HOME to another disk"
        )
    part = folder / f"{build.name}.part"
    log = folder / f"{build.name}.log"
    flags = " ".join(["-s", "-w", *(f"-X {definition}" for definition in build.definitions)])
    command = [go, "build", "-mod=readonly", "-buildvcs=false", "-ldflags", flags]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "-o", str(part), build.package],
            cwd=MODULE / build.module,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _watch(process, build, console)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    if process.returncode != 0:
        raise ToolchainError(_failure(build, log))
    part.replace(folder / build.name)
    log.unlink()


def _watch(process: subprocess.Popen[bytes], build: Build, console: Console) -> None:
    expected = _minutes(build.expected_seconds)
    started = time.monotonic()
    if console.is_terminal:
        columns = (
            TextColumn("building {task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn(f"about {expected} the first time"),
        )
        with Progress(*columns, console=console) as progress:
            task = progress.add_task(build.name, total=build.expected_seconds)
            while not _ended(process, 0.5):
                elapsed = time.monotonic() - started
                # Only the end of the build fills the bar.
                progress.update(task, completed=min(elapsed, 0.99 * build.expected_seconds))
            progress.update(task, completed=build.expected_seconds)
        return
    console.print(f"building {build.name}: about {expected} the first time", highlight=False)
    while not _ended(process, _QUIET_REPORT_SECONDS):
        elapsed = _minutes(time.monotonic() - started)
        console.print(f"building {build.name}: {elapsed} of about {expected}", highlight=False)


def _ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def _failure(build: Build, log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    if any("no space left on device" in line.lower() for line in lines):
        return (
            f"building {build.name}: the disk is full; free some space "
            "(`go clean -cache` gives back Go's own) and run the same command again"
        )
    tail = "\n".join(f"  {line}" for line in lines[-_TAIL_LINES:])
    return f"building {build.name} failed; the end of {log}:\n{tail}"


if __name__ == "__main__":
    programs()
    yaml_host()
