"""The Python environment of a program or plugin: its interpreter, variables and packages.

Follows `sdk/python/toolchain` of `pulumi/pulumi`. `pip` runs the interpreter of the virtual
environment, or the one on PATH without one; `uv` updates the virtual environment before each
command.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LIST_PACKAGES = """
import json, pathlib, re, sys
packages = {}
for folder in map(pathlib.Path, sys.path):
    for metadata in sorted(folder.glob("*.dist-info/METADATA")):
        header = metadata.read_text(encoding="utf-8").partition("\\n\\n")[0]
        fields = [line.partition(": ")[::2] for line in header.splitlines()]
        values = dict(reversed(fields))
        name = values["Name"]
        plugin = folder / name.replace("-", "_") / "pulumi-plugin.json"
        requires = [value for field, value in fields if field == "Requires-Dist"]
        packages.setdefault(name, {
            "name": name,
            "version": values["Version"],
            "plugin": json.loads(plugin.read_text()) if plugin.is_file() else None,
            "requires": [re.match(r"[\\w.-]+", text)[0] for text in requires],
        })
print(json.dumps(list(packages.values())))
"""
"""`importlib.metadata` parses whole descriptions, which takes three times as long."""


class HostError(Exception):
    """The language host cannot do what the engine asks for; the message reaches the user."""


@dataclass(frozen=True, slots=True)
class Command:
    """A process to start; without a folder it starts in the one of this process."""

    arguments: list[str]
    environment: Mapping[str, str]
    folder: Path | None = None

    def output(self, failure: str) -> str:
        """Run it and return its stdout; raises HostError with `failure` and its stderr."""
        process = subprocess.run(
            self.arguments,
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode != 0:
            raise HostError(f"{failure}: exit status {process.returncode}: {process.stderr}")
        return process.stdout


@dataclass(frozen=True, slots=True)
class Package:
    """One installed distribution."""

    name: str
    version: str
    plugin: Mapping[str, Any] | None
    """Content of its `pulumi-plugin.json`."""
    requires: list[str]


@dataclass(frozen=True, slots=True)
class Environment:
    """The environment that the runtime options of a project describe."""

    root: Path
    uv: bool
    virtualenv: Path | None

    @classmethod
    def of(cls, root: str, options: Mapping[str, Any], virtualenv: str = "") -> "Environment":
        """Read the runtime options; `virtualenv` is the default of the pip toolchain."""
        unsupported = options.keys() - {"toolchain", "virtualenv"}
        if unsupported:
            raise HostError(
                f"the sandbox's language host does not know the runtime options "
                f"{', '.join(sorted(unsupported))}; it knows toolchain and virtualenv"
            )
        toolchain = options.get("toolchain", "pip")
        folder = Path(root)
        if toolchain == "uv":
            chosen = folder / options.get("virtualenv", _uv_environment(folder))
        elif toolchain == "pip":
            named = options.get("virtualenv", virtualenv)
            chosen = folder / named if named else None
        else:
            raise HostError(
                f"the sandbox's language host does not know the toolchain {toolchain}; "
                "it knows pip and uv"
            )
        return cls(folder, toolchain == "uv", chosen)

    def command(self, *arguments: str) -> Command:
        """Return the command that runs `python ARGUMENTS`; `uv` synchronizes packages first."""
        if self.uv and _upwards(self.root, "pyproject.toml"):
            self._uv("sync", "--inexact").output("error creating virtual environment")
        return self._python(*arguments)

    def ensure(self, folder: Path) -> None:
        """Create the virtual environment when there is none."""
        if self.virtualenv is None or self._exists():
            return
        if self.uv:
            arguments = ("venv", "--quiet", "--allow-existing", str(self.virtualenv))
            self._uv(*arguments).output("error creating virtual environment")
            return
        for command in self.installation(folder):
            command.output("error installing dependencies")

    def require(self) -> None:
        """Raise HostError when the virtual environment does not exist."""
        if self.virtualenv is not None and not self._exists():
            raise HostError(
                f"{self.virtualenv} is not a virtual environment; run `pulumi install` to create it"
            )

    def installation(self, folder: Path) -> list[Command]:
        """Return the commands that install the packages of the project in `folder`."""
        if self.uv:
            return [self._uv("sync")]
        commands = []
        if self.virtualenv is not None:
            create = [_ambient_python(), "-m", "venv", str(self.virtualenv)]
            commands.append(Command(create, os.environ, folder))
            commands.append(self._pip(folder, "--upgrade", "pip", "setuptools", "wheel"))
        if (folder / "requirements.txt").exists():
            commands.append(self._pip(folder, "-r", "requirements.txt"))
        return commands

    def packages(self) -> list[Package]:
        """List the installed packages."""
        listed = self._python("-c", _LIST_PACKAGES).output("error listing packages")
        return [Package(**package) for package in json.loads(listed)]

    def _exists(self) -> bool:
        return self.virtualenv is not None and (self.virtualenv / "bin" / "python").is_file()

    def _python(self, *arguments: str) -> Command:
        if self.virtualenv is None:
            return Command([_ambient_python(), *arguments], os.environ)
        programs = self.virtualenv / "bin"
        environment = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONHOME"},
            "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "VIRTUAL_ENV": str(self.virtualenv),
        }
        folder = self.root if self.uv else None
        return Command([str(programs / "python"), *arguments], environment, folder)

    def _uv(self, *arguments: str) -> Command:
        if shutil.which("uv") is None:
            raise HostError(
                "Could not find `uv` executable.\nInstall uv and make sure it is in your PATH."
            )
        environment = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(self.virtualenv)}
        return Command(["uv", *arguments], environment, self.root)

    def _pip(self, folder: Path, *arguments: str) -> Command:
        install = self._python("-m", "pip", "install", *arguments)
        return Command(install.arguments, install.environment, folder)


def _uv_environment(root: Path) -> Path:
    project = _upwards(root, "uv.lock") or _upwards(root, "pyproject.toml") or root
    return project / os.environ.get("UV_PROJECT_ENVIRONMENT", ".venv")


def _upwards(folder: Path, name: str) -> Path | None:
    for candidate in (folder, *folder.parents):
        if (candidate / name).exists():
            return candidate
    return None


def _ambient_python() -> str:
    named = os.environ.get("PULUMI_PYTHON_CMD")
    for name in [named] if named else ["python3", "python"]:
        if path := shutil.which(name):
            return path
    raise HostError(f"there is no {named or 'python3'} on PATH; install Python 3.11 or newer")
