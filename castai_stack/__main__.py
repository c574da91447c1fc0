"""The command line: `python -m castai_stack COMMAND`."""

import importlib
import sys
from collections.abc import Sequence

from castai_stack.commands import command_line

COMMANDS = ("audit", "aws-auth", "operator-permissions", "permissions", "recover")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; only that command's module is imported."""
    name, *rest = [*(sys.argv[1:] if arguments is None else arguments), ""]
    if name not in COMMANDS:
        sys.stderr.write(f"usage: python -m castai_stack {{{','.join(COMMANDS)}}} ...\n")
        return 2
    command = importlib.import_module(f"castai_stack.commands.{name.replace('-', '_')}")
    return command.main(rest[:-1])


if __name__ == "__main__":
    command_line.leave(main)
