"""The security group of new nodes, as data.

Name, tags and rules are those of CAST AI's onboarding script (function `create_security_group`):
everything out, and everything between its members.
"""

from collections.abc import Mapping
from typing import Any

from castai_stack.iam.scope import ID_TAG

_ALL: dict[str, Any] = {"protocol": "-1", "from_port": 0, "to_port": 0}


def inputs(
    cluster: str, name: str, cluster_id: Any, vpc_id: str, tags: Mapping[str, str]
) -> dict[str, Any]:
    """Return the inputs of the resource.

    The tag with CAST AI's id of the cluster puts the group within the `scoped` permissions, which
    accept it for launches also where `iam.securityGroupIds` narrows them.
    """
    return {
        "name": name,
        "description": f"Nodes that CAST AI starts for EKS cluster {cluster}",
        "vpc_id": vpc_id,
        "ingress": [{**_ALL, "self": True}],
        "egress": [{**_ALL, "cidr_blocks": ["0.0.0.0/0"], "ipv6_cidr_blocks": ["::/0"]}],
        "tags": {**tags, "Name": name, ID_TAG: cluster_id},
    }
