"""Recognition of leftovers: whose an object is by its name or its tags."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from castai_stack import naming
from castai_stack.commands.aws_kinds import BY_NAME, OURS, SHARED
from castai_stack.commands.command_line import CommandError

_ID = "[0-9a-f]{7,8}"
_ID_MARK = "\0"

TAKEN_OVER = "another installer, taken over by this stack"

ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:(?P<kind>user|role)/[\w+=,.@/-]+")


@dataclass(frozen=True, order=True, slots=True)
class Leftover:
    """One object that still exists."""

    place: str
    kind: str
    name: str
    origin: str


@dataclass(slots=True)
class Answer:
    """Leftovers of one place, and what could not be asked there."""

    leftovers: set[Leftover] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def ask(self, question: Callable[[], Iterable[Leftover]]) -> None:
        """Add what a question finds, or the reason why it found nothing."""
        try:
            self.leftovers.update(question())
        except CommandError as error:
            self.problems.append(str(error))


@dataclass(frozen=True, slots=True)
class NamePatterns:
    """Name patterns of one cluster; the first that fits names the origin of an object."""

    cluster: str
    region: str = ""
    """Region of the cluster, for its regional names; without it they are not looked for."""

    def origin(self, kind: str, name: str) -> str | None:
        """Return who creates objects of that kind and name for this cluster; None for no match."""
        for pattern, origin in self._patterns(kind):
            # IAM compares names without case.
            if re.fullmatch(pattern, name, re.IGNORECASE):
                return origin
        return None

    def account_wide(self, kind: str, name: str) -> bool:
        """Return True if other clusters of the account may use an object of that name as well."""
        return self.origin(kind, name) == SHARED

    def of_another_region(self, kind: str, name: str) -> bool:
        """Return True for a regional name of a cluster of this name elsewhere, whose tag is equal.

        Names that were cut to their limit are not recognized.
        """
        own = naming.names(self.cluster, "suffixed")
        shapes = [f"{re.escape(getattr(own, field))}-[0-9a-f]{{8}}" for field in BY_NAME[kind].own]
        is_regional = any(re.fullmatch(shape, name, re.IGNORECASE) for shape in shapes)
        return is_regional and self.origin(kind, name) is None

    def _patterns(self, kind: str) -> list[tuple[str, str]]:
        row = BY_NAME[kind]
        own = naming.names(self.cluster, "suffixed")
        bare = naming.names(self.cluster, "documented")
        named = [(getattr(own, field), OURS) for field in row.own]
        if self.region:
            regional = naming.names(self.cluster, "regional", self.region)
            named += [(getattr(regional, field), OURS) for field in row.own]
        named += [(getattr(bare, field), SHARED) for field in row.shared]
        named += [
            (template.format(cluster=self.cluster, id=_ID_MARK), origin)
            for template, origin in row.others.items()
        ]
        return [
            (re.escape(spelled).replace(_ID_MARK, _ID), origin)
            for name, origin in named
            for spelled in row.spell(name)
        ]


def adopted_origin(leftover: Leftover, adopted: Iterable[str]) -> str:
    """Return the origin of an object by the ids that a stack takes over.

    Until the stack writes its tags, nothing on an object says that it was taken over, and some
    installers give the names that this program gives.
    """
    for identifier in adopted:
        name = _name_of(identifier)
        if leftover.name == name or leftover.name.startswith(f"{name} "):
            return TAKEN_OVER
    return leftover.origin


def _name_of(identifier: str) -> str:
    """Return the name that the audit gives to an object of an id to import."""
    # A policy's id is its ARN; the id of an attachment holds one, too, and is no object's.
    if identifier.startswith("arn:"):
        return identifier.rpartition("/")[2]
    # An access entry's id is the name of the cluster and the ARN of the principal.
    _, separator, principal = identifier.partition(":arn:")
    return f"arn:{principal}" if separator else identifier


def instance_origin(cluster: str, tags: dict[str, str]) -> str | None:
    """Return the origin of an instance that CAST AI launched for this cluster; None for others.

    Tags and the shape of the name: castai/terraform-provider-castai,
    examples/eks/eks_cluster_custom_iam/iam.tf, and castai/docs, remove-from-eks.md.
    """
    if tags.get(f"kubernetes.io/cluster/{cluster}") not in ("owned", "shared"):
        return None
    launched = "cast:cluster-id" in tags or tags.get("Name", "").startswith(f"{cluster}-cast-")
    return "CAST AI, as a node" if launched else None


def principal_origin(patterns: NamePatterns, arn: str) -> str | None:
    """Return the origin of the principal of an ARN, or None when its name fits no pattern."""
    match = ARN.fullmatch(arn)
    if match is None:
        return None
    return patterns.origin(match["kind"], arn.rpartition("/")[2])
