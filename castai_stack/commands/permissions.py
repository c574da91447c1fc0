"""Effective permissions under a stack file: `python -m castai_stack permissions`."""

import argparse
from collections.abc import Callable, Sequence

from pydantic import TypeAdapter, ValidationError

from castai_stack.commands import command_line, target
from castai_stack.fields import Uuid, VpcId
from castai_stack.permissions import actors, differences, report
from castai_stack.permissions.actors import EffectivePermissions

NAME = "permissions"
_ONE = {
    "markdown": report.markdown,
    "json": report.as_json,
}
_TWO = {
    "markdown": report.markdown_difference,
    "json": report.difference_as_json,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = _parser()

    def run(options: argparse.Namespace) -> int:
        accesses = [
            actors.effective_permissions(
                target.read_stack_file(path, unused={"agent"}), options.cluster_id, options.vpc_id
            )
            for path in target.stack_files(options, parser, least=1, most=2)
        ]
        print(_rendered(accesses, options.format).rstrip())  # noqa: T201 - a command
        return command_line.OK

    return command_line.execute(NAME, parser, run, arguments)


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
    parser = command_line.parser(
        NAME,
        "Print who may do what under a stack file, or what a second stack file gains and loses "
        "against it. Asks no cloud and reads no secret; a value that only they know is shown as "
        "<vpc-id> or <cluster-id>.",
        ["Pulumi.prod.yaml", "Pulumi.prod.yaml Pulumi.new.yaml --format json"],
    )
    target.add_stack_files(parser, "Pulumi stack file; a second one is compared with it", most=2)
    target.add_format(parser, sorted(_ONE), "markdown")
    parser.add_argument(
        "--vpc-id",
        type=_checked(TypeAdapter(VpcId), "a VPC id such as vpc-0a1b2c3d4e5f60718"),
        metavar="VPC",
        help="VPC of the cluster, when the stack file names none",
    )
    parser.add_argument(
        "--cluster-id",
        type=_checked(TypeAdapter(Uuid), "a UUID in lower-case hex digits"),
        metavar="UUID",
        help="CAST AI's id of the cluster, when the stack file names none",
    )
    return parser
