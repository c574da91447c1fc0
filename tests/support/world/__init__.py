"""An account with a cluster under test and its neighbours, and the requests possible in it.

`clusters` has the neighbours, `targets` their resources, `requests` the calls on each of them,
`reach` the expected verdicts. A resource belongs to the cluster if CAST AI's id or EKS identifies
it by value. docs/permissions.md explains the proof that is built on this.
"""

from tests.support.world.clusters import neighbours, scope
from tests.support.world.reach import node_reaches_outside, reaches_outside
from tests.support.world.requests import EC2_EVENTS, OF_NODES, Case, cases, corpus
from tests.support.world.targets import key_id, listed_id, targets

__all__ = [
    "EC2_EVENTS",
    "OF_NODES",
    "Case",
    "cases",
    "corpus",
    "key_id",
    "listed_id",
    "neighbours",
    "node_reaches_outside",
    "reaches_outside",
    "scope",
    "targets",
]
