"""Component of CAST AI's read-only agent."""

from collections.abc import Collection
from typing import NotRequired, TypedDict

import pulumi

from castai_stack.agent import manifests, names
from castai_stack.agent import release as agent_release
from castai_stack.agent import settings as agent_settings
from castai_stack.agent.resources import AgentLeftovers, AgentRollout, NamespaceGuard
from castai_stack.component import after
from castai_stack.kube.object import KubernetesObject, import_id, object_key


class AgentArgs(TypedDict):
    """Inputs of AgentComponent."""

    cluster_name: str
    region: str
    account_id: str
    api_url: str
    """Address of CAST AI's API."""
    settings: agent_settings.Agent
    namespace: str
    cluster_id: pulumi.Input[str]
    """CAST AI's id of the cluster; it keeps the agent from registering the cluster itself."""
    api_key: pulumi.Input[str]
    """The cluster's token, or the operator's own key; unused with an existing secret."""
    existing: NotRequired[Collection[str]]
    """Objects to take over instead of creating them, by `object.object_key`."""
    namespace_uid: NotRequired[str | None]
    """Uid of the namespace before this run; empty if it is absent, None if that is unknown."""


class AgentComponent(pulumi.ComponentResource):
    """The agent, one resource per object. The component is complete when the pods run."""

    namespace: pulumi.Output[str]
    ready: pulumi.Output[bool]

    def __init__(
        self, name: str, args: AgentArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("castai-stack:index:AgentComponent", name, {}, opts)
        settings = args["settings"]
        release = agent_release.Release(
            cluster_name=args["cluster_name"],
            region=args["region"],
            account_id=args["account_id"],
            api_url=args["api_url"],
            settings=settings,
            namespace=args["namespace"],
        )
        key = None if settings.existing_secret else pulumi.Output.secret(args["api_key"])
        key_digest = _digest(key, settings)
        documents = manifests.objects(
            release,
            cluster_id=args["cluster_id"],
            encoded_key=key.apply(manifests.encoded) if key is not None else "",
            key_digest=key_digest,
        )
        child = pulumi.ResourceOptions(parent=self, depends_on=opts.depends_on if opts else None)
        parts: dict[str, pulumi.CustomResource] = {}
        existing = frozenset(args.get("existing", ()))

        def create(part: str) -> None:
            document = documents[part]
            parts[part] = KubernetesObject(
                f"{name}-{part}",
                document,
                pulumi.ResourceOptions.merge(
                    after(child, *_needs(part, document, parts)),
                    pulumi.ResourceOptions(
                        import_=import_id(document) if object_key(document) in existing else None
                    ),
                ),
            )

        if "namespace" in documents:
            create("namespace")
        parts["namespace-guard"] = NamespaceGuard(
            f"{name}-namespace-guard",
            namespace=release.namespace,
            uid_before=args.get("namespace_uid"),
            opts=after(child, *parts.values()),
        )
        if not settings.create_namespace:
            # Deleted after the deployments, because a running agent creates these objects again.
            parts["leftovers"] = AgentLeftovers(
                f"{name}-leftovers",
                namespace=release.namespace,
                opts=child,
            )
        for part in documents:
            if part not in parts:
                create(part)
        deployments = [part for part in names.DEPLOYMENTS if part in parts]
        rollout = AgentRollout(
            f"{name}-rollout",
            namespace=release.namespace,
            deployments=[documents[part]["metadata"]["name"] for part in deployments],
            wanted=pulumi.Output.all(args["cluster_id"], key_digest).apply(
                lambda values: manifests.rollout_digest(release, *values)
            ),
            timeout_seconds=settings.rollout_timeout_seconds,
            opts=after(child, *(parts[part] for part in deployments)),
        )
        self.namespace = pulumi.Output.from_input(release.namespace)
        self.ready = rollout.id.apply(lambda _: True)
        self.register_outputs({"namespace": self.namespace, "ready": self.ready})


def _needs(
    part: str, document: agent_release.Document, parts: dict[str, pulumi.CustomResource]
) -> list[pulumi.CustomResource]:
    """Return the resources that a part depends on.

    A deployment depends on all other parts, so that its pods start. A binding depends on its role,
    which the API server reads unless the operator is a cluster administrator.
    """
    if part in names.DEPLOYMENTS:
        return list(parts.values())
    inside = "namespace" in document["metadata"]
    bound = part.removesuffix("-binding")
    needed = [parts["namespace-guard"]] if inside else []
    return [*needed, parts[bound]] if bound != part else needed


def _digest(
    key: pulumi.Output[str] | None, settings: agent_settings.Agent
) -> pulumi.Output[str] | None:
    """Return the annotation that restarts the pods for a new key; None for adopted pods."""
    if key is None or settings.adopt:
        return None
    return key.apply(lambda text: manifests.key_digest(text, settings))
