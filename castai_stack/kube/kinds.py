"""Classes of the client library for the kinds of objects that the program writes."""

from typing import Any

from castai_stack.kube import rbac


def load(api_version: str, kind: str) -> Any:
    """Return the class of a built-in kind, or of a custom one that is cluster-wide.

    A server without a custom kind answers requests with 404, as for a missing object.
    """
    from lightkube import generic_resource  # noqa: PLC0415 - costs 0.4 s
    from lightkube.core.exceptions import LoadResourceError  # noqa: PLC0415
    from lightkube.core.resource_registry import resource_registry  # noqa: PLC0415

    try:
        return resource_registry.load(api_version, kind)
    except LoadResourceError:
        group, _, version = api_version.partition("/")
        _, plural = rbac.resource_of({"apiVersion": api_version, "kind": kind})
        return generic_resource.create_global_resource(group, version, kind, plural)
