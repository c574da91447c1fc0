"""EC2 where moto 5.2.5 is too kind: tags that begin with `aws:` are written by AWS alone.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions
"""

from werkzeug.wrappers import Response

from sandbox.aws.account import Call, Handler
from sandbox.aws.protocol import AwsError


def own_tags(call: Call) -> Response:
    """Refuse tags that only AWS writes; the root, who furnishes the account, plays AWS."""
    tags = list(call.params.get("Tags", []))
    for specification in call.params.get("TagSpecifications", []):
        tags += specification.get("Tags", [])
    for tag in tags:
        if tag.get("Key", "").lower().startswith("aws:") and call.principal.kind != "root":
            raise AwsError(
                "InvalidParameterValue",
                f"Value ( {tag['Key']} ) for parameter key is invalid. Tag keys starting with "
                "'aws:' are reserved for internal use",
            )
    return call.forward()


HANDLERS: dict[str, Handler] = dict.fromkeys(
    ("CreateTags", "DeleteTags", "RunInstances", "CreateSecurityGroup", "CreateVolume"), own_tags
)
