"""CAST AI's read-only agent in one cluster."""

from collections.abc import Collection
from typing import NotRequired, TypedDict

import pulumi

from castai_stack.agent import manifests, names
from castai_stack.agent import release as agent_release
from castai_stack.agent import settings as agent_settings
from castai_stack.agent.resources import AgentLeftovers, AgentRollout
from castai_stack.kube.object import KubernetesObject, import_id, object_key


class AgentArgs(TypedDict):
    """Inputs of AgentComponent."""

    cluster_name: str
    region: str
    account_id: str
    api_url: str
    """Where the agent reports to."""
    settings: agent_settings.Agent
    namespace: str
    cluster_id: pulumi.Input[str]
    """The cluster's id at CAST AI; with it the agent does not register itself."""
    api_key: pulumi.Input[str]
    """The cluster's token, or a key brought along; unused with an existing secret."""
    kubeconfig: pulumi.Input[str]
    """As `kubernetes_access.connect` takes it: to watch the rollout, and to clear up at the end."""
    context: str | None
    existing: NotRequired[Collection[str]]
    """Objects to take over instead of creating them, by `kubernetes_object.object_key`."""


class AgentComponent(pulumi.ComponentResource):
    """The agent, every object of it a resource of its own; done when its pods run."""

    namespace: pulumi.Output[str]
    """Namespace of the agent."""
    ready: pulumi.Output[bool]
    """True once both deployments are rolled out."""

    def __init__(
        self, name: str, args: AgentArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("castai-stack:index:AgentComponent", name, {}, opts)
        chosen = args["settings"]
        release = agent_release.Release(
            cluster_name=args["cluster_name"],
            region=args["region"],
            account_id=args["account_id"],
            api_url=args["api_url"],
            settings=chosen,
            namespace=args["namespace"],
        )
        key = None if chosen.existing_secret else pulumi.Output.secret(args["api_key"])
        key_digest = _digest(key, chosen)
        documents = manifests.objects(
            release,
            cluster_id=args["cluster_id"],
            encoded_key=key.apply(manifests.encoded) if key is not None else "",
            key_digest=key_digest,
        )
        made: dict[str, pulumi.CustomResource] = {}
        if not chosen.create_namespace:
            # Goes after the deployments: until then the agent makes these objects again.
            made["leftovers"] = AgentLeftovers(
                f"{name}-leftovers",
                namespace=release.namespace,
                kubeconfig=args["kubeconfig"],
                context=args["context"],
                opts=pulumi.ResourceOptions(parent=self),
            )
        existing = frozenset(args.get("existing", ()))
        for part, document in documents.items():
            made[part] = KubernetesObject(
                f"{name}-{part}",
                document,
                pulumi.ResourceOptions(
                    parent=self,
                    depends_on=_needs(part, document, made),
                    import_=import_id(document) if object_key(document) in existing else None,
                ),
            )
        deployments = [part for part in names.DEPLOYMENTS if part in made]
        rollout = AgentRollout(
            f"{name}-rollout",
            namespace=release.namespace,
            deployments=[documents[part]["metadata"]["name"] for part in deployments],
            wanted=pulumi.Output.all(args["cluster_id"], key_digest).apply(
                lambda known: manifests.rollout_digest(release, *known)
            ),
            timeout_seconds=chosen.rollout_timeout_seconds,
            kubeconfig=args["kubeconfig"],
            context=args["context"],
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[made[part] for part in deployments]
            ),
        )
        self.namespace = pulumi.Output.from_input(release.namespace)
        self.ready = rollout.id.apply(lambda _: True)
        self.register_outputs({"namespace": self.namespace, "ready": self.ready})


def _needs(
    part: str, document: agent_release.Document, made: dict[str, pulumi.CustomResource]
) -> list[pulumi.CustomResource]:
    """Return what must stand before a part.

    For a deployment that is all else, so that its pods start; for a binding its role, which the
    API server looks into unless the operator may do everything.
    """
    if part in names.DEPLOYMENTS:
        return list(made.values())
    inside = "namespace" in document["metadata"]
    bound = part.removesuffix("-binding")
    needed = [made["namespace"]] if inside and "namespace" in made else []
    return [*needed, made[bound]] if bound != part else needed


def _digest(
    key: pulumi.Output[str] | None, chosen: agent_settings.Agent
) -> pulumi.Output[str] | None:
    """Return what restarts the pods for a new key; adopted pods are not to restart."""
    if key is None or chosen.adopt:
        return None
    return key.apply(lambda known: manifests.key_digest(known, chosen))
