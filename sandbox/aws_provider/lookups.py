"""Questions that a program asks AWS while it runs.

Answers: `internal/service/{meta,sts,eks,iam}/*_data_source.go` in
`hashicorp/terraform-provider-aws`.
"""

import re
from typing import Any

from sandbox.aws_provider.account import Account, RefusedError, found
from sandbox.aws_provider.fields import given, moment
from sandbox.aws_provider.registry import Lookup

_SUFFIXES = {"aws": "amazonaws.com", "aws-us-gov": "amazonaws.com", "aws-cn": "amazonaws.com.cn"}

_SESSION = re.compile(r"arn:aws[\w-]*:sts::\d{12}:assumed-role/([\w+=,.@-]+)/([\w+=,.@-]+)")

Answer = dict[str, Any]


def _caller_identity(aws: Account, arguments: Answer) -> Answer:
    del arguments
    identity = aws.identity()
    account_id = identity["Account"]
    return {
        "accountId": account_id,
        "arn": identity["Arn"],
        "userId": identity["UserId"],
        "id": account_id,
    }


def _partition_name(region: str) -> str:
    from botocore.session import Session  # noqa: PLC0415 - costs start-up

    return Session().get_partition_for_region(region)


def _partition(aws: Account, arguments: Answer) -> Answer:
    del arguments
    name = _partition_name(aws.region)
    suffix = _SUFFIXES.get(name)
    if suffix is None:
        raise RefusedError(f"the stand-in does not know the DNS suffix of the partition {name}")
    return {
        "partition": name,
        "id": name,
        "dnsSuffix": suffix,
        "reverseDnsPrefix": ".".join(reversed(suffix.split("."))),
    }


def _region(aws: Account, arguments: Answer) -> Answer:
    from botocore.session import Session  # noqa: PLC0415 - costs start-up

    name = arguments.get("region") or arguments.get("name") or aws.region
    session = Session()
    partition = session.get_partition_for_region(name)
    data = session.get_component("data_loader").load_data("endpoints")
    regions = next(item for item in data["partitions"] if item["partition"] == partition)["regions"]
    return {
        "region": name,
        "name": name,
        "id": name,
        "description": regions.get(name, {}).get("description", ""),
        "endpoint": f"ec2.{name}.{_SUFFIXES.get(partition, 'amazonaws.com')}",
    }


def _cluster(aws: Account, arguments: Answer) -> Answer:
    eks = aws.client("eks", arguments.get("region"))
    answer = found(eks.describe_cluster, name=arguments["name"])
    if answer is None:
        raise RefusedError(
            f"reading EKS Cluster ({arguments['name']}): couldn't find resource "
            f"in {arguments.get('region') or aws.region}"
        )
    cluster = answer["cluster"]
    network = cluster.get("resourcesVpcConfig", {})
    addresses = cluster.get("kubernetesNetworkConfig", {})
    issuer = cluster.get("identity", {}).get("oidc", {}).get("issuer")
    access = cluster.get("accessConfig", {})
    return {
        "id": cluster["name"],
        "name": cluster["name"],
        "arn": cluster["arn"],
        "region": arguments.get("region") or aws.region,
        "endpoint": cluster.get("endpoint", ""),
        "status": cluster["status"],
        "version": cluster["version"],
        "platformVersion": cluster.get("platformVersion", ""),
        "roleArn": cluster.get("roleArn", ""),
        "createdAt": moment(cluster["createdAt"]),
        "tags": cluster.get("tags", {}),
        "certificateAuthorities": [
            {"data": cluster.get("certificateAuthority", {}).get("data", "")}
        ],
        "accessConfigs": [
            {
                "authenticationMode": access.get("authenticationMode", "CONFIG_MAP"),
                "bootstrapClusterCreatorAdminPermissions": access.get(
                    "bootstrapClusterCreatorAdminPermissions", False
                ),
            }
        ],
        "identities": [{"oidcs": [{"issuer": issuer}] if issuer else []}],
        "vpcConfig": {
            "vpcId": network.get("vpcId", ""),
            "subnetIds": network.get("subnetIds", []),
            "securityGroupIds": network.get("securityGroupIds", []),
            "clusterSecurityGroupId": network.get("clusterSecurityGroupId", ""),
            "endpointPrivateAccess": network.get("endpointPrivateAccess", False),
            "endpointPublicAccess": network.get("endpointPublicAccess", True),
            "publicAccessCidrs": network.get("publicAccessCidrs", []),
        },
        "kubernetesNetworkConfigs": [
            {
                "ipFamily": addresses.get("ipFamily", "ipv4"),
                "serviceIpv4Cidr": addresses.get("serviceIpv4Cidr", ""),
                "serviceIpv6Cidr": addresses.get("serviceIpv6Cidr", ""),
            }
        ],
    }


def _access_entry(aws: Account, arguments: Answer) -> Answer:
    cluster, principal = arguments["clusterName"], arguments["principalArn"]
    eks = aws.client("eks", arguments.get("region"))
    answer = found(eks.describe_access_entry, clusterName=cluster, principalArn=principal)
    if answer is None:
        raise RefusedError(
            f"reading EKS Access Entry ({cluster}:{principal}): couldn't find resource"
        )
    entry = answer["accessEntry"]
    return {
        "id": f"{cluster}:{principal}",
        "accessEntryArn": entry["accessEntryArn"],
        "createdAt": moment(entry["createdAt"]),
        "modifiedAt": moment(entry["modifiedAt"]),
        "kubernetesGroups": entry.get("kubernetesGroups", []),
        "userName": entry.get("username", ""),
        "type": entry.get("type", "STANDARD"),
        "tagsAll": entry.get("tags", {}),
        "tags": entry.get("tags", {}),
    }


def _simulation(aws: Account, arguments: Answer) -> Answer:
    contexts = [
        {
            "ContextKeyName": context["key"],
            "ContextKeyType": context["type"],
            "ContextKeyValues": context["values"],
        }
        for context in arguments.get("contexts", [])
    ]
    pages = (
        aws.client("iam")
        .get_paginator("simulate_principal_policy")
        .paginate(
            PolicySourceArn=arguments["policySourceArn"],
            ActionNames=arguments["actionNames"],
            **given(
                ResourceArns=arguments.get("resourceArns"),
                CallerArn=arguments.get("callerArn"),
                PolicyInputList=arguments.get("additionalPoliciesJsons"),
                PermissionsBoundaryPolicyInputList=arguments.get(
                    "permissionsBoundaryPoliciesJsons"
                ),
                ResourceHandlingOption=arguments.get("resourceHandlingOption"),
                ResourceOwner=arguments.get("resourceOwnerAccountId"),
                ResourcePolicy=arguments.get("resourcePolicyJson"),
                ContextEntries=contexts,
            ),
        )
    )
    results = [_verdict(item) for page in pages for item in page["EvaluationResults"]]
    return {
        "id": "-",
        "allAllowed": all(result["allowed"] for result in results),
        "results": results,
    }


def _verdict(item: Answer) -> Answer:
    return {
        "actionName": item["EvalActionName"],
        "resourceArn": item.get("EvalResourceName", ""),
        "decision": item["EvalDecision"],
        "decisionDetails": dict(item.get("EvalDecisionDetails", {})),
        "allowed": item["EvalDecision"] == "allowed",
        "matchedStatements": [
            {
                "sourcePolicyId": statement.get("SourcePolicyId", ""),
                "sourcePolicyType": statement.get("SourcePolicyType", ""),
            }
            for statement in item.get("MatchedStatements", [])
        ],
        "missingContextKeys": item.get("MissingContextValues", []),
    }


def _session_context(aws: Account, arguments: Answer) -> Answer:
    """Name the role behind a session; anybody else is their own issuer."""
    arn = arguments["arn"]
    match = _SESSION.fullmatch(arn)
    if match is None:
        nobody = {"issuerId": "", "issuerName": "", "sessionName": ""}
        return {"id": arn, "arn": arn, "issuerArn": arn, **nobody}
    role = aws.client("iam").get_role(RoleName=match[1])["Role"]
    return {
        "id": arn,
        "arn": arn,
        "issuerArn": role["Arn"],
        "issuerId": role["RoleId"],
        "issuerName": role["RoleName"],
        "sessionName": match[2],
    }


def _access_keys(aws: Account, arguments: Answer) -> Answer:
    pages = aws.client("iam").get_paginator("list_access_keys").paginate(UserName=arguments["user"])
    return {
        "id": arguments["user"],
        "accessKeys": [
            {
                "accessKeyId": key["AccessKeyId"],
                "createDate": moment(key["CreateDate"]),
                "status": key["Status"],
            }
            for page in pages
            for key in page["AccessKeyMetadata"]
        ],
    }


LOOKUPS = {
    "aws:index/getCallerIdentity:getCallerIdentity": Lookup(_caller_identity),
    "aws:index/getPartition:getPartition": Lookup(_partition),
    "aws:index/getRegion:getRegion": Lookup(_region, frozenset({"region", "name"})),
    "aws:eks/getCluster:getCluster": Lookup(_cluster, frozenset({"name", "region"}), ("name",)),
    "aws:eks/getAccessEntry:getAccessEntry": Lookup(
        _access_entry,
        frozenset({"clusterName", "principalArn", "region"}),
        ("clusterName", "principalArn"),
    ),
    "aws:iam/getPrincipalPolicySimulation:getPrincipalPolicySimulation": Lookup(
        _simulation,
        frozenset(
            {
                "actionNames",
                "additionalPoliciesJsons",
                "callerArn",
                "contexts",
                "permissionsBoundaryPoliciesJsons",
                "policySourceArn",
                "resourceArns",
                "resourceHandlingOption",
                "resourceOwnerAccountId",
                "resourcePolicyJson",
            }
        ),
        ("actionNames", "policySourceArn"),
    ),
    "aws:iam/getSessionContext:getSessionContext": Lookup(
        _session_context, frozenset({"arn"}), ("arn",)
    ),
    "aws:iam/getAccessKeys:getAccessKeys": Lookup(_access_keys, frozenset({"user"}), ("user",)),
}
