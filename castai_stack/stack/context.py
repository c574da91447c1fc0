"""Settings, facts, names and providers of one run."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from castai_stack import naming
from castai_stack.config.model import StackConfig
from castai_stack.iam.key_slots import Slot, slots
from castai_stack.preflight.lookups import ClusterFacts


@dataclass(frozen=True, slots=True)
class Ground:
    """What exists before the first part: settings, facts, providers."""

    settings: StackConfig
    facts: ClusterFacts
    names: naming.Names
    partition: str
    vpc_account_id: str
    kubeconfig: str
    access_entries: bool
    """Whether principals are mapped by access entries, or else in aws-auth."""
    aws: aws.Provider
    kubernetes: kubernetes.Provider
    existing: frozenset[str] = frozenset()
    """Objects of the agent that are there already and are to be taken over."""

    def on(self, *depends_on: pulumi.Resource) -> pulumi.ResourceOptions:
        """Options of a top-level part: the explicit providers, and what it waits for."""
        return pulumi.ResourceOptions(
            providers=[self.aws, self.kubernetes], depends_on=list(depends_on)
        )


def key_slots(ground: Ground) -> tuple[Slot, ...]:
    """Return the slots of the access keys under this run's rotation settings."""
    credentials = ground.settings.credentials
    return slots(
        credentials.rotation,
        delete_inactive=credentials.delete_inactive_key,
        # Without registration a person hands over, and nobody knows when that is done.
        keep_previous_active=not ground.settings.api.register_cluster,
    )
