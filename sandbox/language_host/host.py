"""The engine's calls to a language runtime, answered for Python."""

import importlib.metadata
import json
import os
import queue
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NoReturn

import grpc
from google.protobuf import empty_pb2

from sandbox.language_host.environment import Command, Environment, HostError
from sandbox.messages import language_pb2, language_pb2_grpc, plugin_pb2

_EXPLAINED = 32
"""Exit status of the executor after an error that the user has already read."""
_NO_PLUGIN = frozenset({"pulumi-policy", "pulumi_policy", "pulumi-esc-sdk", "pulumi_esc_sdk"})
_CHUNK = 65536

Output = Callable[[bytes], Any]


class LanguageHost(language_pb2_grpc.LanguageRuntimeServicer):
    """Runs programs and plugins; one instance per process."""

    def __init__(self, executor: Path, engine: str, tracing: str) -> None:
        self._executor = executor
        self._engine = engine
        self._tracing = tracing
        self._processes: set[subprocess.Popen[bytes]] = set()

    def close(self) -> None:
        """Kill the programs and plugins that still run."""
        for process in list(self._processes):
            process.kill()

    def Handshake(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Take the engine's address."""
        del context
        self._engine = request.engine_address
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Return the version of the installed SDK: the stand-in has none of its own."""
        del request, context
        return plugin_pb2.PluginInfo(version=importlib.metadata.version("pulumi"))

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Let programs and plugins come to their end: the engine refuses further steps itself."""
        del request, context
        return empty_pb2.Empty()

    def About(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Return the interpreter of the project and its version."""
        with refusing(context):
            script = "import platform, sys; print(sys.executable); print(platform.python_version())"
            command = _environment(request.info).command("-c", script)
            executable, version = command.output("cannot run Python").split()
            return language_pb2.AboutResponse(executable=executable, version=version)

    def RuntimeOptionsPrompts(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Ask for nothing: the project file names its toolchain."""
        del request, context
        return language_pb2.RuntimeOptionsResponse()

    def GetRequiredPackages(self, request: Any, context: grpc.ServicerContext) -> Any:
        """List the provider plugins of the installed packages."""
        with refusing(context):
            environment = _environment(request.info)
            environment.ensure(Path(request.info.program_directory))
            required = []
            for package in environment.packages():
                if package.name in _NO_PLUGIN:
                    continue
                if package.plugin is None and not package.name.startswith(("pulumi-", "pulumi_")):
                    continue
                plugin = package.plugin or {"resource": True}
                if plugin.get("resource"):
                    version = (plugin.get("version") or package.version).removeprefix("v")
                    required.append(
                        plugin_pb2.PackageDependency(
                            name=plugin.get("name") or package.name.removeprefix("pulumi-"),
                            version=f"v{version}",
                            kind="resource",
                            server=plugin.get("server") or "",
                        )
                    )
            return language_pb2.GetRequiredPackagesResponse(packages=required)

    def GetProgramDependencies(self, request: Any, context: grpc.ServicerContext) -> Any:
        """List the installed packages, or those that no other one requires."""
        with refusing(context):
            packages = _environment(request.info).packages()
            required = {name for package in packages for name in package.requires}
            return language_pb2.GetProgramDependenciesResponse(
                dependencies=[
                    language_pb2.DependencyInfo(name=package.name, version=package.version)
                    for package in packages
                    if request.transitiveDependencies or package.name not in required
                ]
            )

    def InstallDependencies(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        """Install the packages of the project and pass on what the installer prints."""
        with refusing(context):
            if request.use_language_version_tools:
                raise HostError("the sandbox's language host does not install Python versions")
            response: Any = language_pb2.InstallDependenciesResponse
            folder = Path(request.info.program_directory)
            default = "venv" if request.is_plugin else ""
            yield response(stdout=b"Installing dependencies...\n\n")
            for command in _environment(request.info, default).installation(folder):
                process = self._start(command, context)
                for name, chunk in _chunks(process):
                    yield response(**{name: chunk})
                if self._ended(process) != 0:
                    raise HostError(f"`{' '.join(command.arguments)}` failed")
            yield response(stdout=b"Finished installing dependencies\n\n")

    def Run(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Run the program to its end; its output goes through this process to the engine."""
        with refusing(context):
            if request.attach_debugger:
                raise HostError("the sandbox's language host does not attach debuggers")
            environment = _environment(request.info)
            environment.require()
            command = environment.command(str(self._executor), *self._arguments(request))
            configured = {
                "PULUMI_CONFIG": json.dumps(dict(request.config)),
                "PULUMI_CONFIG_SECRET_KEYS": json.dumps(list(request.configSecretKeys)),
            }
            return self._run(
                Command(command.arguments, {**command.environment, **configured}, command.folder),
                context,
            )

    def _run(self, command: Command, context: grpc.ServicerContext) -> Any:
        status = self._ended(self._start(command, context, piped=False))
        if status == _EXPLAINED:
            return language_pb2.RunResponse(bail=True)
        sentence = f"program exited with non-zero exit code: {status}" if status else ""
        return language_pb2.RunResponse(error=sentence)

    def RunPlugin(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        """Run a plugin and pass on what it prints, then its exit status when it is not 0."""
        with refusing(context):
            if request.attach_debugger:
                raise HostError("the sandbox's language host does not attach debuggers")
            folder = Path(request.info.program_directory)
            environment = _environment(request.info, "venv")
            # The real host runs this for every plugin. Only plugins without `__main__.py` need it.
            environment.command("-c", "import pulumi.run.plugin").output("no plugin support")
            if not (folder / "__main__.py").is_file():
                raise HostError(f"{folder} has no __main__.py; packages are not run as plugins")
            command = environment.command(str(folder), *request.args)
            added = dict(text.split("=", 1) for text in request.env)
            process = self._start(
                Command(command.arguments, {**command.environment, **added}, Path(request.pwd)),
                context,
            )
            response: Any = language_pb2.RunPluginResponse
            for name, chunk in _chunks(process):
                yield response(**{name: chunk})
            if status := self._ended(process):
                yield response(exitcode=status)

    def _arguments(self, request: Any) -> list[str]:
        named = {
            "monitor": request.monitor_address,
            "engine": self._engine,
            "project": request.project,
            "root_directory": request.info.root_directory,
            "stack": request.stack,
            "pwd": request.pwd,
            "dry_run": "true" if request.dryRun else "false",
            "parallel": str(request.parallel),
            "tracing": self._tracing,
            "organization": request.organization,
        }
        flags = [text for name, value in named.items() if value for text in (f"--{name}", value)]
        return [*flags, request.info.entry_point, *request.args]

    def _start(
        self, command: Command, context: grpc.ServicerContext, *, piped: bool = True
    ) -> subprocess.Popen[bytes]:
        output = subprocess.PIPE if piped else None
        process = subprocess.Popen(
            command.arguments,
            env=command.environment,
            cwd=command.folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        self._processes.add(process)
        # The engine ends a program or a plugin by cancelling its call.
        if not context.add_callback(process.kill):
            process.kill()
        return process

    def _ended(self, process: subprocess.Popen[bytes]) -> int:
        """Wait for the end; a process that a signal ended counts as -1."""
        status = process.wait()
        self._processes.discard(process)
        return max(status, -1)


@contextmanager
def refusing(context: grpc.ServicerContext) -> Iterator[None]:
    """Answer a call with the sentence of what its block cannot do."""
    try:
        yield
    except HostError as error:
        _abort(context, str(error))
    except OSError as error:
        _abort(context, f"cannot run {error.filename}: {error.strerror}")


def _abort(context: grpc.ServicerContext, sentence: str) -> NoReturn:
    context.abort(grpc.StatusCode.UNKNOWN, sentence)
    raise AssertionError("abort raises")


def _environment(info: Any, virtualenv: str = "") -> Environment:
    return Environment.of(info.root_directory, dict(info.options), virtualenv)


def _chunks(process: subprocess.Popen[bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield what a process prints, each piece with the name of its stream, until both end."""
    pieces: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()

    def read(name: str, stream: IO[bytes]) -> None:
        while chunk := os.read(stream.fileno(), _CHUNK):
            pieces.put((name, chunk))
        pieces.put((name, b""))

    streams = {"stdout": process.stdout, "stderr": process.stderr}
    for name, stream in streams.items():
        if stream is not None:
            threading.Thread(target=read, args=(name, stream), daemon=True).start()
    reading = len(streams)
    while reading:
        name, chunk = pieces.get()
        if chunk:
            yield name, chunk
        else:
            reading -= 1
