"""Types of settings as validated values; knows pydantic and nothing of Pulumi."""

import re
from fractions import Fraction
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from castai_stack import arn


def checked_text(
    pattern: str, allowed: str, *, private: bool = False, alphabet: re.RegexFlag = re.ASCII
) -> AfterValidator:
    r"""Return the validator of a text by a pattern; `allowed` describes the rule in the error.

    A private value is never shown. `\\w` and `\\d` mean ASCII, as they do for AWS and Kubernetes,
    unless `alphabet` is `re.UNICODE`.
    """
    compiled = re.compile(pattern, alphabet)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            kind = "private_text" if private else "text"
            raise PydanticCustomError(kind, "{allowed}", {"allowed": allowed})
        return value

    return AfterValidator(check)


AccountId = Annotated[str, checked_text(r"\d{12}", "12 digits in quotes")]
Region = Annotated[
    str,
    checked_text(
        "|".join(partition.regions for partition in arn.PARTITIONS),
        "an AWS region such as eu-central-1, us-gov-west-1, cn-north-1 or eusc-de-east-1",
    ),
]
ClusterName = Annotated[
    str,
    checked_text(
        r"[0-9A-Za-z][0-9A-Za-z_-]{0,99}",
        "1 to 100 letters, digits, hyphens or underscores, the first a letter or digit",
    ),
]
Uuid = Annotated[
    str,
    checked_text(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "a UUID in lower-case hex digits"),
]
VpcId = Annotated[
    str, checked_text(r"vpc-[0-9a-f]{8,17}", "a VPC id such as vpc-0a1b2c3d4e5f60718")
]
RoleArn = Annotated[
    str,
    checked_text(
        r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+",
        "the ARN of an IAM role, arn:aws:iam::<account>:role/<name>",
    ),
]
UserArn = Annotated[
    str,
    checked_text(
        r"arn:aws[a-z-]*:iam::\d{12}:user/[\w+=,.@/-]+",
        "the ARN of an IAM user, arn:aws:iam::<account>:user/<name>",
    ),
]
PolicyArn = Annotated[
    str,
    checked_text(
        r"arn:aws[a-z-]*:iam::(\d{12}|aws):policy/[\w+=,.@/-]+",
        "the ARN of an IAM policy, arn:aws:iam::<account>:policy/<name>",
    ),
]
TopicArn = Annotated[
    str,
    checked_text(
        r"arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[\w-]{1,256}(\.fifo)?",
        "the ARN of an SNS topic, arn:aws:sns:<region>:<account>:<name>",
    ),
]
KeyArn = Annotated[
    str,
    checked_text(
        r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[\w-]+",
        "the ARN of a KMS key (arn:aws:kms:<region>:<account id>:key/<id>), no alias",
    ),
]
IamPath = Annotated[
    str,
    # It stands in the resources of policies, where `*`, `?` and `$` would mean more.
    checked_text(
        r"/([\w+=,.@:-]{1,510}/)*",
        "an IAM path that begins and ends with a slash, of ASCII letters, digits and _+=,.@:- "
        "between",
    ),
]
ExternalId = Annotated[
    str, checked_text(r"[\w+=,.@:/-]{2,1224}", "2 to 1224 letters, digits and +=,.@:/-")
]
Text = Annotated[str, checked_text(r"(?s).+", "a text that is not empty", private=True)]
Key = Annotated[
    str,
    checked_text(r"[!#-&(-_a-~]+", "a key in one line, without blanks and quotes", private=True),
]
Url = Annotated[
    str,
    checked_text(r"[^@?#]*", "an address without user, password and query", private=True),
    checked_text(r"https?://[^\s/]+(/\S*)?", "an http or https address"),
]
ProxyUrl = Annotated[
    str,
    checked_text(
        r"https?://[^\s/@]+/?",
        "an http or https address of a proxy, without user and password",
        private=True,
    ),
]
_SUFFIXES = {
    "": 1, "m": Fraction(1, 1000),
    "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip
_SMALLEST_MEMORY = 2**20


def quantity(text: str) -> Fraction:
    """Return the value of a Kubernetes quantity: cores for CPU, bytes for memory.

    Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
    """
    number = text.rstrip("mkKMGTi")
    return Fraction(number) * _SUFFIXES[text[len(number) :]]


def _enough_memory(value: str) -> str:
    if quantity(value) < _SMALLEST_MEMORY:
        allowed = "at least 1Mi; a number without a suffix counts bytes"
        raise PydanticCustomError("text", "{allowed}", {"allowed": allowed})
    return value


Cpu = Annotated[
    str,
    checked_text(
        r"(?!0+(\.0+)?m?$)([0-9]+m|[0-9]+(\.[0-9]{1,3})?)", "a quantity of CPU such as 100m or 0.5"
    ),
]
Memory = Annotated[
    str,
    checked_text(
        r"[0-9]+(\.[0-9]+)?(k|M|G|T|Ki|Mi|Gi|Ti)?", "a quantity of memory such as 256Mi or 2Gi"
    ),
    AfterValidator(_enough_memory),
]


def at_least(value: str | None, sibling: str, least: str | None) -> str | None:
    """Return a quantity that is no smaller than that of a sibling key of the same section.

    Raises PydanticCustomError, as the validator of a field does.
    """
    if value is not None and least is not None and quantity(value) < quantity(least):
        context = {"least": least, "sibling": sibling}
        raise PydanticCustomError("below_sibling", "{least} ({sibling}) or more", context)
    return value


Digest = Annotated[str, checked_text(r"sha256:[0-9a-f]{64}", "sha256: and 64 hex digits")]
SubnetId = Annotated[
    str, checked_text(r"subnet-[0-9a-f]{8,17}", "a subnet id such as subnet-0a1b2c3d4e")
]
SecurityGroupId = Annotated[
    str, checked_text(r"sg-[0-9a-f]{8,17}", "a security group id such as sg-0a1b2c3d4e5f60718")
]
CapacityReservationId = Annotated[
    str,
    checked_text(r"cr-[0-9a-f]{8,17}", "a capacity reservation id such as cr-0a1b2c3d4e5f60718"),
]
Zone = Annotated[
    str,
    checked_text(
        r"[a-z]+(-[a-z]+)+-\d+[a-z]",
        "an availability zone such as eu-central-1a",
    ),
]
InstanceFamily = Annotated[
    str, checked_text(r"[a-z0-9-]{1,20}", "an instance family such as m7i, without a size")
]
NodeConfigurationName = Annotated[
    str,
    checked_text(
        r"[A-Za-z0-9]([A-Za-z0-9 ._-]{0,61}[A-Za-z0-9])?",
        "1 to 63 letters, digits, spaces or any of ._- between letters or digits",
    ),
]
# Variables: castai/terraform-provider-castai, castai/resource_node_configuration.go
_OF_A_NODE = "NUM_MAX_NET_INTERFACES|NUM_IP_PER_INTERFACE|NUM_IP_PER_PREFIX|NUM_CPU|NUM_RAM_GB"
PodsFormula = Annotated[
    str,
    checked_text(
        rf"(?=.*[0-9N])({_OF_A_NODE}|math\.[a-z]+|[0-9.]+|[-+*/(), ])+",
        "a formula of numbers, + - * / ( ), functions math.… and the variables "
        + _OF_A_NODE.replace("|", ", "),
    ),
]
AutoScalingGroupName = Annotated[
    str,
    # No `*`, `?` or `$`: the name stands in a policy's resource, where they would mean more.
    checked_text(
        r"[\w+=,.@()/ -]{1,255}",
        "1 to 255 ASCII letters, digits, spaces or any of _+=,.@()/- (no wildcard)",
    ),
]
Image = Annotated[
    str,
    checked_text(
        r"v?\d+\.\d+\.\d+([.+-][\w.-]+)?",
        "a version such as v0.161.1, because a tag that moves pins nothing",
    ),
]
Registry = Annotated[
    str,
    checked_text(
        r"[\w.-]+(:\d+)?(/[\w.-]+)*", "a registry and its path, without scheme, name and tag"
    ),
]
ObjectName = Annotated[
    str,
    checked_text(
        r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?",
        "a Kubernetes name of lower-case letters, digits, hyphens and dots",
    ),
]
PriorityClass = Annotated[
    str,
    checked_text(
        r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?", "the name of a priority class, or empty"
    ),
]
_LABEL_NAME = r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_SUBDOMAIN = r"(?=[^/]{1,253}/)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_LABEL_KEY = rf"({_SUBDOMAIN}/)?{_LABEL_NAME}"
# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
AnyLabelKey = Annotated[
    str,
    checked_text(
        _LABEL_KEY, "a label key: at most 63 letters, digits and _.- after an optional domain and /"
    ),
]
LabelKey = Annotated[
    str,
    checked_text(
        r"(?!app\.kubernetes\.io/(name|instance|version|managed-by|part-of)$"
        rf"|autoscaling\.cast\.ai/disposable$){_LABEL_KEY}",
        "a label key that this program does not set itself",
    ),
]
LabelValue = Annotated[
    str, checked_text(rf"({_LABEL_NAME})?", "a label value of at most 63 characters")
]
# AWS takes letters and digits of every script in tags:
# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html
TagKey = Annotated[
    str,
    checked_text(
        r"[\w .:/=+@-]{1,128}",
        "1 to 128 letters, digits, spaces or any of _.:/=+-@",
        alphabet=re.UNICODE,
    ),
]
TagValue = Annotated[
    str,
    checked_text(
        r"[\w .:/=+@-]{0,256}",
        "at most 256 letters, digits, spaces or any of _.:/=+-@",
        alphabet=re.UNICODE,
    ),
]
Certificates = Annotated[
    str,
    checked_text(
        r"(\s*-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*)+",
        "certificates in PEM form and nothing else",
        private=True,
    ),
]


class Section(BaseModel):
    """A group of settings: unknown keys are errors, keys are camelCase, values are never echoed."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        hide_input_in_errors=True,
    )
