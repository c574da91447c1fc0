"""Proofs that run for longer than tests: crashes, costs, Spot events, a node's life."""

EVERYTHING = (
    "automation.autoscaler.enabled=true",
    "automation.autoscaler.emptyNodes.enabled=true",
    "automation.autoscaler.nodeTemplate.spot=true",
    "automation.evictor.enabled=true",
    "spot.handler=both",
)
"""Settings that switch on all that the program can do about nodes."""
