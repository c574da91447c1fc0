"""A whole life cycle on one machine: real engine and Kubernetes, two stand-in clouds."""

SANDBOX_VARIABLE = "CASTAI_SANDBOX_STATE"
"""Names the state directory of the sandbox that an environment belongs to.

What stands in for a cloud works only where this is set, and only against loopback addresses.
"""
