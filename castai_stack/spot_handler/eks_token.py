"""Bearer token for an EKS cluster: a presigned GetCallerIdentity request.

Format: kubernetes-sigs/aws-iam-authenticator, README.md, "API Authorization from Outside a
Cluster".
"""

import base64
from typing import Any

import boto3

PREFIX = "k8s-aws-v1."
URL_SECONDS = 60
_HEADER = "x-k8s-aws-id"


def eks_token(cluster_name: str) -> str:
    """Return a bearer token that identifies the caller's IAM role to the cluster."""
    sts = boto3.client("sts")
    sts.meta.events.register("provide-client-params.sts.GetCallerIdentity", _take_cluster)
    sts.meta.events.register("before-sign.sts.GetCallerIdentity", _name_cluster)
    url = sts.generate_presigned_url(
        "get_caller_identity",
        Params={"ClusterName": cluster_name},
        ExpiresIn=URL_SECONDS,
        HttpMethod="GET",
    )
    return PREFIX + base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")


def _take_cluster(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    context["cluster_name"] = params.pop("ClusterName")


def _name_cluster(request: Any, **_: Any) -> None:
    request.headers[_HEADER] = request.context["cluster_name"]
