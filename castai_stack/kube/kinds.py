"""Classes of the client library for the kinds of objects that the program writes."""

from typing import Any

from castai_stack.kube import rbac

_NOT_FOUND = 404


def load(api_version: str, kind: str) -> Any:
    """Return the class of a built-in kind, or of a custom one that is cluster-wide."""
    from lightkube import generic_resource  # noqa: PLC0415 - costs 0.4 s
    from lightkube.core.exceptions import LoadResourceError  # noqa: PLC0415
    from lightkube.core.resource_registry import resource_registry  # noqa: PLC0415

    try:
        return resource_registry.load(api_version, kind)
    except LoadResourceError:
        group, _, version = api_version.partition("/")
        _, plural = rbac.resource_of({"apiVersion": api_version, "kind": kind})
        return generic_resource.create_global_resource(group, version, kind, plural)


def is_missing(error: Exception) -> bool:
    """Return True if the server does not have the kind of object that a request was about.

    It then answers with a plain text instead of a Status, as for any unknown path.
    """
    import httpx2  # noqa: PLC0415
    from lightkube import ApiError  # noqa: PLC0415

    if isinstance(error, ApiError) or not isinstance(error, httpx2.HTTPStatusError):
        return False
    answer = error.response
    return answer.status_code == _NOT_FOUND and answer.text.strip() == "404 page not found"
