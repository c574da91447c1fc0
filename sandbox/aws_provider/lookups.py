"""Questions that a program asks AWS while it runs.

Answers: `internal/service/{sts,eks,iam}/*_data_source.go` in `hashicorp/terraform-provider-aws`.
"""

import re

from sandbox.aws_provider.account import Account, RefusedError, absent_is_fine
from sandbox.aws_provider.documents import text
from sandbox.aws_provider.resource import Lookup, Properties, moment

_SESSION = re.compile(r"arn:aws[\w-]*:sts::\d{12}:assumed-role/([\w+=,.@-]+)/([\w+=,.@-]+)")
_ARN = re.compile(r"^arn:[\w-]+:[\w.-]+:[\w-]*:(\d{12}|aws|aws-managed|)?:.+$")


def _caller_identity(aws: Account, arguments: Properties) -> Properties:
    del arguments
    identity = aws.identity()
    account = identity["Account"]
    return {
        "id": account,
        "accountId": account,
        "arn": identity["Arn"],
        "userId": identity["UserId"],
    }


def _cluster(aws: Account, arguments: Properties) -> Properties:
    name, cluster = arguments["name"], None
    with absent_is_fine():
        cluster = aws.client("eks").describe_cluster(name=name)["cluster"]
    if cluster is None:
        raise RefusedError(f"reading EKS Cluster ({name}): couldn't find resource in {aws.region}")
    access = cluster.get("accessConfig", {})
    return {
        "id": name,
        **{key: cluster[key] for key in ("name", "arn", "status", "version")},
        "region": aws.region,
        "endpoint": cluster.get("endpoint", ""),
        "createdAt": moment(cluster["createdAt"]),
        "tags": cluster.get("tags", {}),
        "certificateAuthorities": [cluster.get("certificateAuthority", {"data": ""})],
        "accessConfigs": [{"authenticationMode": access.get("authenticationMode", "CONFIG_MAP")}],
        "vpcConfig": cluster.get("resourcesVpcConfig", {}),
        "kubernetesNetworkConfigs": [cluster.get("kubernetesNetworkConfig", {})],
    }


def _simulation(aws: Account, arguments: Properties) -> Properties:
    resources = arguments.get("resourceArns", [])
    for index, arn in enumerate(resources):
        if not _ARN.match(arn):  # `ValidARN` of the provider, which knows no wildcard
            raise RefusedError(
                f'"resource_arns.{index}" ({arn}) is an invalid ARN: arn: invalid prefix'
            )
    simulator = aws.client("iam").get_paginator("simulate_principal_policy")
    pages = simulator.paginate(
        PolicySourceArn=arguments["policySourceArn"],
        ActionNames=arguments["actionNames"],
        PolicyInputList=arguments.get("additionalPoliciesJsons", []),
        PermissionsBoundaryPolicyInputList=arguments.get("permissionsBoundaryPoliciesJsons", []),
        ContextEntries=[
            {
                "ContextKeyName": context["key"],
                "ContextKeyType": context["type"],
                "ContextKeyValues": context["values"],
            }
            for context in arguments.get("contexts", [])
        ],
        **({"ResourceArns": resources} if resources else {}),
    )
    results = [_verdict(item) for page in pages for item in page["EvaluationResults"]]
    return {
        "id": "-",
        "allAllowed": all(result["allowed"] for result in results),
        "results": results,
    }


def _verdict(result: Properties) -> Properties:
    return {
        "actionName": result["EvalActionName"],
        "resourceArn": result.get("EvalResourceName", ""),
        "decision": result["EvalDecision"],
        "decisionDetails": dict(result.get("EvalDecisionDetails", {})),
        "allowed": result["EvalDecision"] == "allowed",
        "matchedStatements": [
            {
                "sourcePolicyId": statement.get("SourcePolicyId", ""),
                "sourcePolicyType": statement.get("SourcePolicyType", ""),
            }
            for statement in result.get("MatchedStatements", [])
        ],
        "missingContextKeys": result.get("MissingContextValues", []),
    }


def _session_context(aws: Account, arguments: Properties) -> Properties:
    """Role behind a session; any other principal is its own issuer."""
    arn = arguments["arn"]
    match = _SESSION.fullmatch(arn)
    if match is None:
        absent = {"issuerId": "", "issuerName": "", "sessionName": ""}
        return {"id": arn, "issuerArn": arn, **absent}
    role = aws.client("iam").get_role(RoleName=match[1])["Role"]
    return {
        "id": arn,
        "issuerArn": role["Arn"],
        "issuerId": role["RoleId"],
        "issuerName": role["RoleName"],
        "sessionName": match[2],
    }


def _access_keys(aws: Account, arguments: Properties) -> Properties:
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


def _user(aws: Account, arguments: Properties) -> Properties:
    name, user = arguments["userName"], None
    with absent_is_fine():
        user = aws.client("iam").get_user(UserName=name)["User"]
    if user is None:
        raise RefusedError(f"reading IAM User ({name}): couldn't find resource")
    return {
        "id": user["UserId"],
        "arn": user["Arn"],
        "path": user["Path"],
        "permissionsBoundary": _boundary(user),
        "tags": _tags(user),
        "userId": user["UserId"],
    }


def _role(aws: Account, arguments: Properties) -> Properties:
    name, role = arguments["name"], None
    with absent_is_fine():
        role = aws.client("iam").get_role(RoleName=name)["Role"]
    if role is None:
        raise RefusedError(f"reading IAM Role ({name}): couldn't find resource")
    return {
        "id": name,
        "arn": role["Arn"],
        "assumeRolePolicy": text(role["AssumeRolePolicyDocument"]),
        "createDate": moment(role["CreateDate"]),
        "description": role.get("Description", ""),
        "maxSessionDuration": role["MaxSessionDuration"],
        "path": role["Path"],
        "permissionsBoundary": _boundary(role),
        "roleLastUseds": [],
        "tags": _tags(role),
        "uniqueId": role["RoleId"],
    }


def _boundary(principal: Properties) -> str:
    return principal.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn", "")


def _tags(principal: Properties) -> Properties:
    return {tag["Key"]: tag["Value"] for tag in principal.get("Tags", [])}


def _function(aws: Account, arguments: Properties) -> Properties:
    name, function = arguments["functionName"], None
    with absent_is_fine():
        function = aws.client("lambda").get_function(FunctionName=name)
    if function is None:
        raise RefusedError(f"reading Lambda Function ({name}): couldn't find resource")
    return {
        "id": name,
        "arn": function["Configuration"]["FunctionArn"],
        "tags": function.get("Tags", {}),
    }


LOOKUPS = {
    "aws:index/getCallerIdentity:getCallerIdentity": Lookup(_caller_identity),
    "aws:eks/getCluster:getCluster": Lookup(_cluster, ("name",)),
    "aws:iam/getPrincipalPolicySimulation:getPrincipalPolicySimulation": Lookup(
        _simulation,
        ("actionNames", "policySourceArn"),
        (
            "resourceArns",
            "contexts",
            "additionalPoliciesJsons",
            "permissionsBoundaryPoliciesJsons",
        ),
    ),
    "aws:iam/getSessionContext:getSessionContext": Lookup(_session_context, ("arn",)),
    "aws:iam/getAccessKeys:getAccessKeys": Lookup(_access_keys, ("user",)),
    "aws:iam/getUser:getUser": Lookup(_user, ("userName",)),
    "aws:iam/getRole:getRole": Lookup(_role, ("name",)),
    "aws:lambda/getFunction:getFunction": Lookup(_function, ("functionName",)),
}
