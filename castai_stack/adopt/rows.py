"""Rows of the report: what happens to each object."""

from dataclasses import dataclass

TAKEN, LEFT, NEW = "taken over", "left", "created"


@dataclass(frozen=True, slots=True)
class Row:
    """One object of the report."""

    part: str
    name: str
    fate: str
    """`TAKEN`, `LEFT` or `NEW`."""
    remark: str = ""
