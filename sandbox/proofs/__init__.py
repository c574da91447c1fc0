"""Proofs that run for longer than tests: crashes, costs, Spot events, a node's life."""

from rich.console import Console

EVERYTHING = (
    "automation.autoscaler.enabled=true",
    "automation.autoscaler.emptyNodes.enabled=true",
    "automation.autoscaler.nodeTemplate.spot=true",
    "automation.evictor.enabled=true",
    "spot.handler=both",
)
"""Settings that switch on all that the program can do about nodes."""


def console(width: int) -> Console:
    """Return the terminal, or a log of this width: its tables have no window to fit into."""
    result = Console()
    if not result.is_terminal:
        result.width = width
    return result
