"""The account and the cluster that the sandbox plays."""

ACCOUNT = "012345678901"
"""Begins with a zero on purpose: an account id is text, never a number."""
CASTAI_ACCOUNT = "809060229965"
"""Account of the users with which CAST AI assumes roles.

Source: castai/terraform-provider-castai, examples/eks
"""
REGION = "eu-central-1"
STS_URL = f"https://sts.{REGION}.amazonaws.com"
"""What tokens of the cluster name. Whoever signs one sends nothing there."""
PARTITION = "aws"
ROOT_ARN = f"arn:{PARTITION}:iam::{ACCOUNT}:root"
CLUSTER = "demo"
FOREIGN_CLUSTER = "other"
SERVICE_CIDR = "10.100.0.0/16"
NODE_GROUP = "general"
NODE_GROUP_ROLE = "demo-general-nodes"
OPERATOR_ROLE = "platform-admin"
READER_ROLE = "pull-request"
CREATOR_ROLE = "cluster-creator"
READ_ONLY_GROUP = "platform:read-only"
"""The group that may get and list in Kubernetes."""
POLICY_GROUP = "eks:access-policy:"
"""Prefix of the group that stands for an access policy; `kubernetes/furnished.py` binds them."""
HEARTBEATS = ("SendDelta", "ListActions", "AckAction", "SendActionLog")
"""Requests that agent and controller make by themselves, every few seconds."""
