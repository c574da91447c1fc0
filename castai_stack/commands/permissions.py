"""Command: who may do what under a stack file, and what another stack file changes in it.

Asks no cloud and reads no secret.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from castai_stack.config import stack_file
from castai_stack.config.validation import SettingsError
from castai_stack.fields import Uuid, VpcId
from castai_stack.permissions import actors, differences, report
from castai_stack.permissions.actors import EffectivePermissions

_ONE = {
    "markdown": report.markdown,
    "json": report.as_json,
}
_TWO = {
    "markdown": report.markdown_difference,
    "json": report.difference_as_json,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the effective permissions of a stack file, or what a second one changes in them."""
    options = _parser().parse_args(arguments)
    try:
        accesses = [
            actors.effective_permissions(stack_file.read(path), options.cluster_id, options.vpc_id)
            for path in (options.stack_file, options.other_stack_file)
            if path is not None
        ]
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command
        return 2
    print(_rendered(accesses, options.format).rstrip())  # noqa: T201 - a command
    return 0


def _rendered(accesses: list[EffectivePermissions], form: str) -> str:
    if len(accesses) == 1:
        return _ONE[form](accesses[0])
    old, new = accesses
    return _TWO[form](old, new, differences.differences(old, new))


def _checked(adapter: TypeAdapter[str], allowed: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        try:
            return adapter.validate_python(text)
        except ValidationError:
            raise argparse.ArgumentTypeError(f"found {text!r}; allowed: {allowed}") from None

    return check


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m castai_stack permissions",
        description=main.__doc__,
        epilog="Needs no cloud and no secret. What only they would tell is shown as <vpc-id> and "
        "<cluster-id>.",
    )
    parser.add_argument("stack_file", type=Path, help="Pulumi stack file, such as Pulumi.prod.yaml")
    parser.add_argument(
        "other_stack_file",
        type=Path,
        nargs="?",
        help="another one: print what it gains and loses against the first",
    )
    parser.add_argument(
        "--format", choices=sorted(_ONE), default="markdown", help="default: %(default)s"
    )
    parser.add_argument(
        "--vpc-id",
        type=_checked(TypeAdapter(VpcId), "a VPC id such as vpc-0a1b2c3d4e5f60718"),
        metavar="VPC",
        help="the cluster's VPC, where the stack file does not say",
    )
    parser.add_argument(
        "--cluster-id",
        type=_checked(TypeAdapter(Uuid), "a UUID in lower-case hex digits"),
        metavar="UUID",
        help="CAST AI's id of the cluster, where the stack file does not say",
    )
    return parser
