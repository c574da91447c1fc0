"""The folder of a sandbox that comes first on PATH: its engine, plugins, and way to the AWS CLI."""

import shlex
import sys
from pathlib import Path

from sandbox import constants, toolchain
from sandbox.toolchain import MARKER, Programs

_PLUGIN = Path(__file__).parents[2] / "plugin"
_AWS_STAND_IN = "sandbox.aws_provider"
_LANGUAGE_STAND_IN = "sandbox.language_host"
_CLI = """\
#!/bin/sh
# The authenticator takes tokens that name STS itself. `get-token` signs and sends nothing.
case " $* " in *" eks get-token "*) export AWS_ENDPOINT_URL_STS={url} ;; esac
exec {cli} "$@"
"""


def write(directory: Path, programs: Programs) -> Path:
    """Fill `directory` with one entry per program and return it."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MARKER).touch()
    links = {
        "pulumi": programs.pulumi,
        "pulumi-resource-kubernetes": programs.kubernetes_plugin,
        "pulumi-resource-aws": programs.aws_plugin,
        "pulumi-language-python": programs.language_host,
        "pulumi-language-python-exec": programs.executor,
    }
    for name, target in links.items():
        if target is not None:
            _replace(directory / name).symlink_to(target)
    # The generated project of an operation names no plugin by path.
    _script(directory / "pulumi-resource-castai-stack", str(_PLUGIN))
    if programs.aws_plugin is None:
        _script(directory / "pulumi-resource-aws", "-m", _AWS_STAND_IN)
    if programs.language_host is None:
        arguments = ("--use-executor", str(programs.executor))
        _script(directory / "pulumi-language-python", "-m", _LANGUAGE_STAND_IN, *arguments)
    if (cli := toolchain.find("aws")) is not None:
        _executable(
            directory / "aws", _CLI.format(url=constants.STS_URL, cli=shlex.quote(str(cli)))
        )
    return directory


def _replace(path: Path) -> Path:
    path.unlink(missing_ok=True)
    return path


def _script(path: Path, *arguments: str) -> None:
    command = shlex.join([sys.executable, *arguments])
    _executable(path, f'#!/bin/sh\nexec {command} "$@"\n')


def _executable(path: Path, text: str) -> None:
    _replace(path).write_text(text)
    path.chmod(0o755)
