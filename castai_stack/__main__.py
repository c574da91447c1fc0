"""The command line: `python -m castai_stack COMMAND`, or `castai-eks COMMAND` once installed."""

import importlib
from collections.abc import Sequence
from typing import NoReturn

from castai_stack.commands import command_line

COMMANDS = {
    "adopt": "take over a cluster that CAST AI's script, Terraform modules or charts connected",
    "audit": "list what connecting a cluster has left behind",
    "status": "show in one table what is connected, what CAST AI does and what is missing",
    "recover": "put a stack in order after its run was killed",
    "permissions": "report who may do what under a stack file, or compare two",
    "operator-permissions": "print the IAM policy or cluster role that the operator needs",
    "report": "write what a change of a stack file does, as the comment of a pull request",
    "aws-auth": "show kube-system/aws-auth, or restore the values from before this program",
}

_ELSEWHERE = {"adopt": "castai_stack.adopt.command", "report": "castai_stack.report.command"}
"""Modules of the commands that are no single module of `castai_stack.commands`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; only that command's modules are imported."""
    parser = command_line.parser(
        "",
        "Commands around the Pulumi program that connects an EKS cluster to CAST AI.",
        ["audit Pulumi.prod.yaml", "recover --stack prod --dry-run", "permissions --help"],
    )
    name, rest = command_line.choose(parser, COMMANDS, arguments)
    module = _ELSEWHERE.get(name, f"castai_stack.commands.{name.replace('-', '_')}")
    command = importlib.import_module(module)
    return command.main(rest)


def console_script() -> NoReturn:
    """Entry point of `castai-eks`."""
    command_line.leave(main)


if __name__ == "__main__":
    command_line.leave(main)
