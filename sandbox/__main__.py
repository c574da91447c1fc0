"""`python -m sandbox`: start and stop the sandbox, and run the stack against it."""

import argparse
import contextlib
import json
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from castai_stack.commands import command_line
from sandbox import castai, session, toolchain
from sandbox.engine import stack as engine_stack
from sandbox.engine.stack import OperationError, Stack
from sandbox.engine.stack_file import StackFileError
from sandbox.processes import ProcessError
from sandbox.serving.http_server import PortInUseError
from sandbox.session import Sandbox, SandboxError
from sandbox.toolchain import ToolchainError

_INTERRUPTED = 130
_EPILOG = """\
Everything listens on loopback; no cloud account is touched. Built programs are kept in
$XDG_CACHE_HOME/castai-eks-sandbox (or ~/.cache), all else in the state folder.

  python -m sandbox start
  python -m sandbox up
  python -m sandbox preview --set credentials.mode=role
  eval "$(python -m sandbox env)"; kubectl get pods --all-namespaces
  python -m sandbox stop
"""
_OPERATIONS = {
    "preview": "show what `up` would change; writes nothing",
    "up": "make what the stack file says",
    "refresh": "read into the state what is really there",
    "destroy": "take away everything that the state knows",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; every failure is a sentence and a status other than 0."""
    options = _parser().parse_args(arguments)
    # A request to end is an interrupt: what was begun is ended in order.
    signal.signal(signal.SIGTERM, lambda *_: _interrupt())
    try:
        return options.run(options)
    except OperationError as error:
        print(f"error: {error}", file=sys.stderr)
    except (
        SandboxError,
        ProcessError,
        ToolchainError,
        StackFileError,
        PortInUseError,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted; the next command works as if this one had not been", file=sys.stderr)
        return _INTERRUPTED
    return 1


def _interrupt() -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="A whole life cycle of the stack on this machine: real Pulumi engine, real "
        "Kubernetes control plane, stand-ins for AWS and CAST AI.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--state",
        type=Path,
        default=Path(".sandbox"),
        metavar="DIR",
        help="state folder of this sandbox (default: .sandbox)",
    )
    common.add_argument(
        "--own-toolchain",
        action="store_true",
        help="build and use our own pulumi and plugins, whatever PATH and Pulumi's plugin folder "
        "hold (read by `start`)",
    )
    stack = argparse.ArgumentParser(add_help=False)
    stack.add_argument(
        "--stack-file",
        type=Path,
        default=engine_stack.REPOSITORY / "Pulumi.dev.yaml",
        metavar="FILE",
        help="Pulumi stack file to work on a copy of (default: Pulumi.dev.yaml)",
    )
    stack.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="KEY=VALUE",
        help="override one setting, KEY relative to the `castai` object (repeatable); VALUE is "
        "YAML, and twelve digits are an account id, hence text",
    )
    stack.add_argument(
        "--as",
        choices=("operator", "reader", "expired"),
        default="operator",
        dest="who",
        help="whose AWS and Kubernetes credentials: the operator's, those of a pull request that "
        "may only read, or the operator's after they expired (default: operator)",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(
        name: str, help_: str, run: object, *parents: argparse.ArgumentParser
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name, help=help_, description=help_, parents=[common, *parents]
        )
        command.set_defaults(run=run, operation=name)
        return command

    start = add("start", "start everything and furnish the existing cluster", _start)
    start.add_argument(
        "--authentication-mode",
        choices=("CONFIG_MAP", "API_AND_CONFIG_MAP", "API"),
        default="CONFIG_MAP",
        help="of the EKS cluster (default: CONFIG_MAP)",
    )
    start.add_argument("--aws-waits", action="store_true", help=session.AWS_WAITS_HELP)
    add("stop", "end every process of the sandbox, also after a crash", _stop)
    add("env", "print shell commands that lead pulumi, kubectl and the AWS CLI to it", _env, stack)
    for name, text in _OPERATIONS.items():
        add(name, text, _operate, stack)
    add("export", "print the stack's state as JSON, secrets encrypted", _export, stack)
    return parser


def _start(options: argparse.Namespace) -> int:
    console = Console()
    session.require_startable(options.state)
    programs = toolchain.programs(own=options.own_toolchain, console=console)
    sandbox = Sandbox.start(
        options.state,
        programs,
        console=console,
        options={
            "aws": {"authentication_mode": options.authentication_mode},
            "awsWaits": options.aws_waits,
        },
    )
    console.print(f"the sandbox runs, its state is in {sandbox.directory}", highlight=False)
    return 0


def _stop(options: argparse.Namespace) -> int:
    ended = session.stop(options.state)
    print(f"ended: {', '.join(ended)}" if ended else f"nothing runs in {options.state}")
    return 0


def _env(options: argparse.Namespace) -> int:
    sandbox = Sandbox.at(options.state)
    # The CLI requires the folder of a file backend to exist.
    sandbox.stack().backend.mkdir(parents=True, exist_ok=True)
    wanted = {
        **engine_stack.pulumi_environment(sandbox.directory),
        "PULUMI_HOME": str(sandbox.directory / "pulumi" / "home"),
        "CASTAI_API_KEY": castai.API_KEY,
        **sandbox.environment(options.who),
    }
    path = f"{shlex.quote(str(sandbox.directory / 'bin'))}:$PATH"
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "PULUMI_ACCESS_TOKEN"):
        if name not in wanted:
            print(f"unset {name};")
    for name, value in wanted.items():
        print(f"export {name}={path if name == 'PATH' else shlex.quote(value)};")
    return 0


def _stack(options: argparse.Namespace) -> Stack:
    return Sandbox.at(options.state).stack(
        options.settings, stack_file=options.stack_file, who=options.who, on_line=_say
    )


def _operate(options: argparse.Namespace) -> int:
    result = _stack(options).begin(options.operation).result()
    counted = ", ".join(f"{count} {kind}" for kind, count in sorted(result.changes.items()))
    print(f"{options.operation}: {counted or 'no change'}, {result.seconds:.1f} s")
    return 0


def _export(options: argparse.Namespace) -> int:
    print(json.dumps(_stack(options).export(), indent=2))
    return 0


def _say(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(line, flush=True)


if __name__ == "__main__":
    command_line.leave(main)
