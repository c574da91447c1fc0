"""Look at kube-system/aws-auth and put back what it was: `python -m castai_stack aws-auth`."""

import argparse
import difflib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, get_args

from castai_stack.access import text
from castai_stack.access.entries import KEYS, NAMESPACE, WHERE, AwsAuthError, Item, Kind
from castai_stack.access.guards import Caller, Guard
from castai_stack.access.protocol import COPY, OVERRIDE_VARIABLE, Seen, mark_of
from castai_stack.access.steps import copy_state, restored
from castai_stack.kube import connection
from castai_stack.kube.kubeconfig import KubeconfigError

if TYPE_CHECKING:
    import lightkube


_REFUSED = 1
_COPY_SAYS = {
    "none": "copy: none; one is kept while entries of this program are in the map",
    "kept": f"copy: {NAMESPACE}/{COPY}, the values from before our first entry",
    "left over": f"copy: {NAMESPACE}/{COPY}, left over from a run that was interrupted before its "
    "first entry; the next run replaces it",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    chosen = _parser().parse_args(arguments)
    try:
        with connection.connect(chosen.kubeconfig, chosen.context) as client:
            return chosen.run(client, chosen)
    except (AwsAuthError, KubeconfigError) as error:
        sys.stderr.write(f"{error}\n")
        return _REFUSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m castai_stack aws-auth",
        description="Look at kube-system/aws-auth, and put back what it held before this program.",
    )
    reach = argparse.ArgumentParser(add_help=False)
    reach.add_argument(
        "--kubeconfig", default="ambient", help="a path, or `ambient` for your shell's (default)"
    )
    reach.add_argument("--context", help="a context of the kubeconfig; default: its current one")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    show = commands.add_parser(
        "show", parents=[reach], help="list the entries, ours and everybody else's"
    )
    show.set_defaults(run=_show)
    restore = commands.add_parser(
        "restore",
        parents=[reach],
        help="put back the values kept before our first entry; shows the difference, "
        "and writes with --yes only",
        description="Puts back the values that aws-auth had before this program's first entry. "
        "Everything that was written since is lost, by whomever. Without --yes it only shows "
        "what it would do. Run `pulumi refresh` afterwards.",
    )
    restore.add_argument("--yes", action="store_true", help="write")
    restore.add_argument(
        "--override",
        metavar="GUARDS",
        default=os.environ.get(OVERRIDE_VARIABLE, ""),
        help=f"guards that may be passed, by commas: {', '.join(get_args(Guard))} "
        f"(default: ${OVERRIDE_VARIABLE})",
    )
    restore.set_defaults(run=_restore)
    return parser


def _show(client: "lightkube.Client", _chosen: argparse.Namespace) -> int:
    from castai_stack.access import writer  # noqa: PLC0415 - its client is heavy to import

    seen = writer.look(client)
    caller = writer.ask_caller(client)
    sys.stdout.writelines(f"{line}\n" for line in _shown(seen, caller))
    return 0


def _shown(seen: Seen, caller: Caller) -> Iterator[str]:
    if seen.live is None:
        yield f"{WHERE}: there is none"
    else:
        mark = mark_of(seen.live)
        made = ", made by this program" if mark.made else ""
        yield f"{WHERE}: version {seen.live.version}{made}"
        for kind, key in KEYS.items():
            yield f"  {key}"
            try:
                items = text.parse(kind, seen.live.data.get(key), lenient=True).items
            except AwsAuthError as error:
                yield f"    {error}"
                continue
            for item in items:
                yield f"    {_line(kind, item, mark.entries, caller)}"
    yield _COPY_SAYS[copy_state(seen)]
    yield f"you: {caller.arn or 'unknown to the API server by an ARN'}"


def _line(kind: Kind, item: Item, ours: tuple[str, ...], caller: Caller) -> str:
    who = item.arn or ("an entry by sso" if "sso" in item.folded else "an entry without an ARN")
    username, groups = item.effect
    whose = "ours    " if f"{kind} {item.arn}" in ours else "foreign "
    you = "  (you)" if item.arn and item.arn == caller.arn.lower() else ""
    return f"{whose} {who} is {username or 'nobody'} in [{', '.join(groups)}]{you}"


def _restore(client: "lightkube.Client", chosen: argparse.Namespace) -> int:
    from castai_stack.access import writer  # noqa: PLC0415

    overrides = frozenset(each.strip() for each in chosen.override.split(","))
    seen = writer.look(client)
    decision = restored(seen, writer.ask_caller(client), overrides)
    sys.stdout.writelines(_difference(seen))
    if not chosen.yes:
        sys.stdout.write("nothing was written; repeat with --yes to put the copy back\n")
        return 0
    if not writer.send(client, decision):
        sys.stderr.write(f"{WHERE}: somebody wrote in this moment; look again and repeat\n")
        return _REFUSED
    sys.stdout.write(
        f"{WHERE} is as it was before our first entry, and the copy is gone; "
        "run `pulumi refresh`, so that the stack knows\n"
    )
    return 0


def _difference(seen: Seen) -> Iterator[str]:
    old = seen.live.data if seen.live else {}
    new = seen.copy.data if seen.copy else {}
    for key in sorted({*old, *new}):
        lines = difflib.unified_diff(
            old.get(key, "").splitlines(),
            new.get(key, "").splitlines(),
            f"{key} now",
            f"{key} restored",
            lineterm="",
        )
        yield from (f"{line}\n" for line in lines)
