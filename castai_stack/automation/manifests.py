"""Every object of the workloads that act in the cluster, as a plain document."""

import hashlib
import json

from castai_stack.agent.names import KEY
from castai_stack.agent.release import DIGEST_LENGTH, Document, forced
from castai_stack.automation import controller, evictor, spot_handler
from castai_stack.automation.names import CONTROLLER, SHARED
from castai_stack.automation.release import Release, object_metadata


def objects(
    release: Release,
    *,
    cluster_id: object = "",
    encoded_token: object = "",
    digest: object | None = None,
) -> dict[str, Document]:
    """Return every object that the settings ask for, each under the name of its part.

    Id, token and digest may be Outputs. An object comes after those that it needs.
    """
    workloads: dict[str, Document] = {}
    if release.settings.controller.enabled:
        workloads |= _named("controller", controller.objects(release, digest))
    if release.settings.evictor.enabled:
        workloads |= _named("evictor", evictor.objects(release, digest))
    if release.spot_daemonset:
        workloads |= _named("spot-handler", spot_handler.objects(release, digest))
    if not workloads:
        return {}
    shared = {"config": config(release, cluster_id)}
    if release.existing_secret is None:
        shared["token"] = token_secret(release, encoded_token)
    return {part: forced(one) for part, one in (shared | workloads).items()}


def _named(prefix: str, parts: dict[str, Document]) -> dict[str, Document]:
    return {f"{prefix}-{part}": document for part, document in parts.items()}


def token_secret(release: Release, encoded_token: object) -> Document:
    """Return the secret of the cluster's token, which is given in base64."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": object_metadata(release, CONTROLLER, SHARED),
        "type": "Opaque",
        "data": {KEY: encoded_token},
    }


def config(release: Release, cluster_id: object) -> Document:
    """Return the config map of the API's address and of CAST AI's id of the cluster."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": object_metadata(release, CONTROLLER, SHARED),
        "data": {"API_URL": release.api_url, "CLUSTER_ID": cluster_id},
    }


def deployments(documents: dict[str, Document]) -> list[str]:
    """Return the parts whose rollout an update waits for."""
    return [part for part, document in documents.items() if document["kind"] == "Deployment"]


def environment_digest(release: Release, *engine_values: str | None) -> str:
    """Return a digest of what pods read at their start only; it reveals none of it.

    Engine values are the cluster's id and token.
    """
    return _digest([release.api_url, release.agent.trusted_ca_certificate, *engine_values])


def rollout_digest(release: Release, digest: str | None) -> str:
    """Return a digest of all deployments and of their environment's digest."""
    documents = objects(release)
    return _digest([[documents[part]["spec"] for part in deployments(documents)], digest])


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]
