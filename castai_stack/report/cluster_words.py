"""Rights inside the cluster, in words."""

from collections.abc import Iterable, Iterator, Sequence

from castai_stack.access.entries import MASTERS
from castai_stack.permissions.cluster_rights import EVERYTHING, Right, is_read
from castai_stack.spot.rbac import GROUP

_WORDS = {
    ("nodes", "delete"): "deletes nodes",
    ("nodes", "patch"): "cordons, labels and taints nodes",
    ("nodes", "update"): "cordons, labels and taints nodes",
    ("nodes/status", "patch"): "changes the status of nodes",
    ("pods", "delete"): "deletes pods",
    ("pods/eviction", "create"): "evicts pods",
    ("events", "create"): "writes events",
    ("events", "patch"): "writes events",
    ("volumeattachments", "delete"): "detaches volumes",
    (EVERYTHING, EVERYTHING): "may do everything, with secrets and roles",
}
_SUBJECTS = {
    MASTERS: f"CAST AI's user, in group `{MASTERS}`,",
    GROUP: f"The Spot function, in group `{GROUP}`,",
}
Place = tuple[str, str]
"""Subject and namespace; an empty namespace means the whole cluster."""


def sentences(rights: Sequence[Right], verb: str = "") -> list[str]:
    """Return a sentence for each subject and namespace.

    `verb` is `gains` or `loses`. Without it the kinds of objects that are read are only counted.
    """
    places: dict[Place, list[Right]] = {}
    for right in rights:
        places.setdefault((right.subject, right.namespace), []).append(right)
    lines = []
    for (subject, namespace), group in sorted(places.items()):
        where = f"in namespace `{namespace}`" if namespace else "in the whole cluster"
        lead = f"{_SUBJECTS.get(subject, f'`{subject}`')} {verb}".rstrip()
        words = phrases(group, count_reads=not verb)
        lines.append(f"{lead} {where}: {'; '.join(words)}")
    return lines


def phrases(rights: Sequence[Right], *, count_reads: bool) -> list[str]:
    """Return writes as words, most of them one phrase each, and all reads as the last phrase."""
    writes = [right for right in rights if not is_read(right)]
    reads = dict.fromkeys(_resource(right) for right in rights if is_read(right))
    words = list(dict.fromkeys(_writes(writes)))
    if reads and count_reads:
        words.append(f"reads {len(reads)} kind{'s' * (len(reads) > 1)} of objects")
    elif reads:
        words.append(f"reads {', '.join(reads)}")
    return words


def _writes(rights: Iterable[Right]) -> Iterator[str]:
    other: dict[str, list[str]] = {}
    for right in rights:
        words = None if right.name else _WORDS.get((right.resource, right.verb))
        if words is not None:
            yield words
        else:
            other.setdefault(_resource(right), []).append(f"`{right.verb}`")
    for resource, verbs in other.items():
        yield f"{', '.join(verbs)} on {resource}"


def _resource(right: Right) -> str:
    named = f"{right.resource}.{right.group}" if right.group else right.resource
    return f"`{named}`" + (f" named `{right.name}`" if right.name else "")
