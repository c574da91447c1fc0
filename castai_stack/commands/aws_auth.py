"""State of kube-system/aws-auth and its restoration: `python -m castai_stack aws-auth`."""

import argparse
import difflib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, get_args

import lightkube

from castai_stack.access import protocol, reader, writer
from castai_stack.access.entries import KEYS, NAMESPACE, WHERE, AwsAuthError, Kind
from castai_stack.access.guards import Caller, Guard
from castai_stack.access.map_copy import copy_state, restored
from castai_stack.access.protocol import COPY, OVERRIDE_VARIABLE, Snapshots, owned_entries
from castai_stack.commands import command_line, target
from castai_stack.commands.cluster import connected
from castai_stack.commands.command_line import CommandError, RefusedError
from castai_stack.kube.kubeconfig import AMBIENT

NAME = "aws-auth"
COMMANDS = {
    "show": "list the entries, this program's and all others",
    "restore": "put back the values from before this program's first entry",
}
_COPY_STATES = {
    "none": "copy: none; one is kept while entries of this program are in the map",
    "kept": f"copy: {NAMESPACE}/{COPY}, the values from before this program's first entry",
    "left over": f"copy: {NAMESPACE}/{COPY}, left over from a run that was interrupted before its "
    "first entry; the next run replaces it",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `show` or `restore`."""
    outer = command_line.parser(
        NAME,
        "Show kube-system/aws-auth, or restore the values from before this program.",
        ["show Pulumi.prod.yaml", "restore Pulumi.prod.yaml --yes"],
    )
    name, rest = command_line.choose(outer, COMMANDS, arguments)
    parser = _show_parser() if name == "show" else _restore_parser()
    act = _show if name == "show" else _restore

    def run(options: argparse.Namespace) -> int:
        paths = target.stack_files(options, parser)
        with connected(_target(options, paths)) as client:
            try:
                return act(client, options)
            except protocol.RefusedError as error:
                raise RefusedError(str(error)) from None
            except AwsAuthError as error:
                raise CommandError(str(error)) from None

    return command_line.execute(f"{NAME} {name}", parser, run, rest)


def _target(options: argparse.Namespace, paths: Sequence[Any]) -> target.Target:
    """Cluster of the stack file, else of a kubeconfig, which needs no region or account."""
    if paths:
        return target.from_arguments(options, paths)
    return target.Target("", "", "", options.kubeconfig or AMBIENT, options.context)


def _show_parser() -> argparse.ArgumentParser:
    parser = command_line.parser(
        f"{NAME} show",
        "List the entries of kube-system/aws-auth with their owner, the copy, and the caller.",
        ["Pulumi.prod.yaml", "--kubeconfig ~/.kube/config --context prod --format json"],
    )
    _add_cluster(parser)
    target.add_format(parser, ("text", "json"), "text")
    return parser


def _restore_parser() -> argparse.ArgumentParser:
    parser = command_line.parser(
        f"{NAME} restore",
        "Put back the values that aws-auth had before this program's first entry. Every change "
        "since then is lost, whoever made it. Without --yes the command only shows the "
        "difference. Run `pulumi refresh` afterwards.",
        ["Pulumi.prod.yaml", "Pulumi.prod.yaml --yes", "--override caller,last-masters --yes"],
    )
    _add_cluster(parser)
    parser.add_argument("--yes", action="store_true", help="write")
    parser.add_argument(
        "--override",
        metavar="GUARDS",
        default=os.environ.get(OVERRIDE_VARIABLE, ""),
        help=f"guards that may be passed, by commas: {', '.join(get_args(Guard))} "
        f"(default: ${OVERRIDE_VARIABLE})",
    )
    return parser


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    target.add_stack_files(parser, "Pulumi stack file, for its kubeconfig and context")
    target.add_kubernetes(parser, AMBIENT)


def _show(client: lightkube.Client, options: argparse.Namespace) -> int:
    snapshots = writer.look(client)
    document = _document(snapshots, writer.ask_caller(client))
    if options.format == "json":
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in _lines(document))
    return command_line.OK


def _document(snapshots: Snapshots, caller: Caller) -> dict[str, Any]:
    live = snapshots.live
    document: dict[str, Any] = {
        "version": live.version if live else None,
        "createdByThisProgram": bool(live and owned_entries(live).created_map),
        "copy": copy_state(snapshots),
        "caller": caller.arn or None,
    }
    if live is None:
        return document
    for kind, key in KEYS.items():
        try:
            document[key] = _entries(live, kind, caller)
        except AwsAuthError as error:
            document[key] = {"error": str(error)}
    return document


def _entries(live: protocol.Snapshot, kind: Kind, caller: Caller) -> list[dict[str, Any]]:
    own = owned_entries(live).entries
    return [
        {
            "arn": item.arn or None,
            "principal": item.arn
            or ("an entry by sso" if "sso" in item.folded else "an entry without an ARN"),
            "username": item.identity[0],
            "groups": item.identity[1],
            "ignored": item.grant is None,
            "own": f"{kind} {item.arn}" in own,
            "caller": bool(item.arn) and item.arn == caller.arn.lower(),
        }
        for item in reader.parse(kind, live.data.get(KEYS[kind])).items
    ]


def _lines(document: dict[str, Any]) -> Iterator[str]:
    if document["version"] is None:
        yield f"{WHERE}: does not exist"
    else:
        created = ", created by this program" if document["createdByThisProgram"] else ""
        yield f"{WHERE}: version {document['version']}{created}"
    for key in KEYS.values():
        entries = document.get(key)
        if entries is None:
            continue
        yield f"  {key}"
        if isinstance(entries, dict):
            yield f"    {entries['error']}"
            continue
        for entry in entries:
            owner = "own    " if entry["own"] else "foreign"
            username, groups = entry["username"] or "nobody", ", ".join(entry["groups"])
            caller = "  (caller)" if entry["caller"] else ""
            identity = (
                "is left out by the authenticator"
                if entry["ignored"]
                else f"is {username} in [{groups}]"
            )
            yield f"    {owner}  {entry['principal']} {identity}{caller}"
    yield _COPY_STATES[document["copy"]]
    yield f"caller: {document['caller'] or 'the API server knows no ARN'}"


def _restore(client: lightkube.Client, options: argparse.Namespace) -> int:
    overrides = frozenset(each.strip() for each in options.override.split(","))
    snapshots = writer.look(client)
    decision = restored(snapshots, writer.ask_caller(client), overrides)
    sys.stdout.writelines(_difference(snapshots))
    if not options.yes:
        sys.stdout.write("nothing was written; repeat with --yes to put the copy back\n")
        return command_line.OK
    if not writer.send(client, decision):
        raise RefusedError(f"{WHERE} was changed at the same moment; look again and repeat")
    sys.stdout.write(
        f"{WHERE} is as it was before this program's first entry, and the copy is deleted; "
        "run `pulumi refresh` to update the state\n"
    )
    return command_line.OK


def _difference(snapshots: Snapshots) -> Iterator[str]:
    old = snapshots.live.data if snapshots.live else {}
    new = snapshots.copy.data if snapshots.copy else {}
    for key in sorted({*old, *new}):
        lines = difflib.unified_diff(
            old.get(key, "").splitlines(),
            new.get(key, "").splitlines(),
            f"{key} now",
            f"{key} restored",
            lineterm="",
        )
        yield from (f"{line}\n" for line in lines)
