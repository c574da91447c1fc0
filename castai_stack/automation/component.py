"""Component of the workloads that act in the cluster for CAST AI."""

from collections.abc import Collection
from typing import NotRequired, TypedDict

import pulumi

from castai_stack.agent import settings as agent_settings
from castai_stack.agent.manifests import encoded
from castai_stack.agent.release import Document
from castai_stack.automation import manifests, settings
from castai_stack.automation.names import WRITTEN_BY_CASTAI
from castai_stack.automation.release import Release
from castai_stack.automation.resources import AutomationRollout
from castai_stack.component import after, child_options
from castai_stack.kube.object import KubernetesObject, import_id, object_key


class AutomationArgs(TypedDict):
    """Inputs of AutomationComponent."""

    api_url: str
    """Address of CAST AI's API."""
    settings: settings.Automation
    agent: agent_settings.Agent
    """Settings of the agent, whose proxy, certificates, labels and priority class are shared."""
    namespace: str
    """Namespace of the agent; it exists before the component."""
    spot_daemonset: bool
    """CAST AI's DaemonSet reports Spot interruptions."""
    cluster_id: pulumi.Input[str]
    """CAST AI's id of the cluster."""
    token: pulumi.Input[str]
    """The cluster's token, or the operator's own key; unused with an existing secret."""
    existing: NotRequired[Collection[str]]
    """Objects to take over instead of creating them, by `object.object_key`."""


class AutomationComponent(pulumi.ComponentResource):
    """Cluster-controller and what works with it, one resource per object.

    The component is complete when the pods of its deployments run.
    """

    def __init__(
        self, name: str, args: AutomationArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("castai-stack:index:AutomationComponent", name, {}, opts)
        options = child_options(self, opts)
        release = Release(
            api_url=args["api_url"],
            settings=args["settings"],
            agent=args["agent"],
            namespace=args["namespace"],
            spot_daemonset=args["spot_daemonset"],
        )
        token = None if release.existing_secret else pulumi.Output.secret(args["token"])
        digest = pulumi.Output.all(args["cluster_id"], token).apply(
            lambda values: manifests.environment_digest(release, *values)
        )
        documents = manifests.objects(
            release,
            cluster_id=args["cluster_id"],
            encoded_token=token.apply(encoded) if token is not None else "",
            digest=digest,
        )
        existing = frozenset(args.get("existing", ()))
        parts: dict[str, pulumi.CustomResource] = {}
        for part, document in documents.items():
            existing_id = import_id(document) if object_key(document) in existing else None
            parts[part] = KubernetesObject(
                f"{name}-{part}",
                document,
                pulumi.ResourceOptions.merge(
                    after(options, *_needs(part, document, parts)),
                    pulumi.ResourceOptions(
                        import_=existing_id,
                        ignore_changes=["spec"] if part == WRITTEN_BY_CASTAI else None,
                    ),
                ),
            )
        if deployments := manifests.deployments(documents):
            AutomationRollout(
                f"{name}-rollout",
                namespace=release.namespace,
                deployments=[documents[part]["metadata"]["name"] for part in deployments],
                wanted=digest.apply(lambda text: manifests.rollout_digest(release, text)),
                timeout_seconds=release.settings.rollout_timeout_seconds,
                opts=after(options, *(parts[part] for part in deployments)),
            )
        self.register_outputs({})


def _needs(
    part: str, document: Document, parts: dict[str, pulumi.CustomResource]
) -> list[pulumi.CustomResource]:
    """Return the resources that a part depends on.

    A workload depends on all earlier parts, so that its pods start, and a configuration on the
    definition of its kind. A binding depends on its role,
    which the API server reads unless the operator is a cluster administrator.
    """
    if "template" in document.get("spec", {}):
        return list(parts.values())
    if part == WRITTEN_BY_CASTAI:
        return [parts["evictor-definition"]]
    bound = part.removesuffix("-binding")
    return [parts[bound]] if bound != part else []
