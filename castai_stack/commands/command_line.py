"""Shared parts of every command: parsers, exit statuses and the way a command ends."""

import argparse
import os
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

OK, NEGATIVE, FAILED, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 130, 141
EXIT_STATUSES = {
    OK: "success; audit: nothing is left over; recover: the stack is in order; status: nothing is "
    "missing",
    NEGATIVE: "audit: something is left over; status: there is something to do; adopt, recover and "
    "aws-auth restore: refused, nothing was written; report: settings or preview are refused",
    FAILED: "wrong arguments or settings; or AWS, Kubernetes, CAST AI or Pulumi gave no answer",
    INTERRUPTED: "interrupted by Ctrl-C",
    PIPE_CLOSED: "the reader of the output closed the pipe, such as `head`",
}
"""Exit statuses of every command. 130 and 141 are 128 plus the number of the signal."""
_WIDTH = 79


class CommandError(Exception):
    """A command cannot go on; the message names the cause and the way out."""

    status = FAILED


class RefusedError(CommandError):
    """A command refuses a write that would do harm; the message names the reason."""

    status = NEGATIVE


def program() -> str:
    """Name of the program as the user started it."""
    name = Path(sys.argv[0]).name
    return name if name == "castai-eks" else "python -m castai_stack"


def parser(name: str, description: str, examples: Sequence[str]) -> argparse.ArgumentParser:
    """Parser of one command; its help ends with examples and the exit statuses."""
    prog = f"{program()} {name}".rstrip()
    lines = ["examples:", *(f"  {prog} {example}" for example in examples)]
    return argparse.ArgumentParser(
        prog=prog,
        description=textwrap.fill(description, _WIDTH),
        epilog="\n".join([*lines, "", _statuses()]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _statuses() -> str:
    return "\n".join(
        ["exit status:", *(f"  {status:<4} {text}" for status, text in EXIT_STATUSES.items())]
    )


def choose(
    outer: argparse.ArgumentParser, commands: Mapping[str, str], arguments: Sequence[str] | None
) -> tuple[str, list[str]]:
    """Return the chosen one of `commands` and the arguments that follow it.

    The commands' own parsers are not needed for that, so no module of another command is imported.
    """
    subparsers = outer.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in commands.items():
        subparsers.add_parser(name, help=text, add_help=False)
    options, rest = outer.parse_known_args(arguments)
    return options.command, rest


def execute(
    name: str,
    command_parser: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace], int],
    arguments: Sequence[str] | None,
) -> int:
    """Run a command; an error that it expects is one message and an exit status."""
    # Intermixed: stack files may stand between the options.
    options = command_parser.parse_intermixed_args(arguments)
    try:
        return run(options)
    except CommandError as error:
        sys.stderr.write(f"{name}: {error}\n")
        return error.status


def leave(main: Callable[[], int]) -> NoReturn:
    """Run a command and exit with its status.

    Exits quietly with status 141 when the reader closes the pipe.
    Source: https://docs.python.org/3/library/signal.html#note-on-sigpipe
    """
    try:
        status: int | str | None
        try:
            status = main()
        except SystemExit as ended:  # argparse, after its help
            status = ended.code
        except KeyboardInterrupt:
            status = INTERRUPTED
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes at exit once more, and would report the closed pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = PIPE_CLOSED
    sys.exit(status)
