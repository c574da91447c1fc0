"""Writes a footprint to a sandbox, in the order of its makers."""

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import requests
import yaml
from lightkube import Client, KubeConfig, codecs
from lightkube.resources.apiextensions_v1 import CustomResourceDefinition
from lightkube.resources.core_v1 import ConfigMap

from castai_stack.kube import kinds
from sandbox.castai import API_KEY
from sandbox.constants import ACCOUNT, CLUSTER, REGION
from sandbox.session import Sandbox
from sandbox.sources import charts
from sandbox.sources.footprint import AccessEntry, Document, Footprint, Function, Place, Principal

_SECONDS = 10
_AGENT_SECONDS = 60
_ALL: Document = {"IpProtocol": "-1"}
Installer = Callable[[Place], Footprint]


def connect(
    sandbox: Sandbox,
    installer: Installer,
    *,
    cluster: str = CLUSTER,
    install: charts.Install = charts.agent,
    manager: str = "helm",
) -> Place:
    """Connect a cluster of the sandbox as an installer does; return what it took.

    `install` gives the objects in the cluster, of which the agent must come online; `manager` is
    the field manager that applies them. The script of 2021 and 2022 has the agent only.
    """
    castai = _Castai(sandbox.castai_url)
    place = _place(sandbox, castai, cluster)
    token = castai.post(f"{place.cluster_id}/token")["token"]
    with Client(config=KubeConfig.from_file(sandbox.control_plane.kubeconfig)) as client:
        for document in [charts.namespace(), *install(place, token)]:
            create(client, document, manager)
    castai.wait_for_agent(place.cluster_id)
    footprint = installer(place)
    if footprint.handed.trust is not None:
        place = replace(place, castai_user_arn=castai.principal(place.cluster_id))
        footprint = installer(place)
    write_aws(sandbox, place, footprint)
    write_map(sandbox, footprint)
    castai.hand_over(place, sandbox, footprint)
    if footprint.node_configuration:
        castai.configure_nodes(place, sandbox, footprint.node_configuration)
    return place


def create(client: Client, document: Document, manager: str) -> None:
    """Create an object; of the definition of a kind, wait until the API server serves it."""
    kinds.load(document["apiVersion"], document["kind"])
    client.create(codecs.from_dict(document), field_manager=manager)
    if document["kind"] == CustomResourceDefinition.__name__:
        name = document["metadata"]["name"]
        client.wait(CustomResourceDefinition, name, for_conditions=["Established"])


def write_aws(sandbox: Sandbox, place: Place, footprint: Footprint) -> None:
    """Write what a footprint has in AWS."""
    iam = sandbox.client("iam", "root")
    for name, document in footprint.policies.items():
        _unless_taken(iam, iam.create_policy, PolicyName=name, PolicyDocument=json.dumps(document))
    for principal in footprint.principals:
        _principal(iam, principal)
    for profile, role in footprint.profiles.items():
        iam.create_instance_profile(InstanceProfileName=profile)
        iam.add_role_to_instance_profile(InstanceProfileName=profile, RoleName=role)
    if footprint.security_group is not None:
        _security_group(sandbox.client("ec2", "root"), place, *footprint.security_group)
    for function in footprint.functions:
        _function(sandbox, place, function)
    if footprint.access_entries:
        _access_entries(sandbox.client("eks", "root"), place, footprint.access_entries)


def _access_entries(eks: Any, place: Place, entries: Iterable[AccessEntry]) -> None:
    """Write access entries; a cluster that reads aws-auth alone reads both from then on."""
    described = eks.describe_cluster(name=place.cluster)["cluster"]
    if described["accessConfig"]["authenticationMode"] == "CONFIG_MAP":
        both = {"authenticationMode": "API_AND_CONFIG_MAP"}
        eks.update_cluster_config(name=place.cluster, accessConfig=both)
    for entry in entries:
        which = {"clusterName": place.cluster, "principalArn": entry.principal_arn}
        eks.create_access_entry(**which, type=entry.type)
        if entry.policy:
            eks.associate_access_policy(
                **which, policyArn=entry.policy, accessScope={"type": "cluster"}
            )


def write_map(sandbox: Sandbox, footprint: Footprint) -> None:
    """Append the entries to aws-auth, as the script does."""
    entries = {"mapRoles": footprint.map_roles, "mapUsers": footprint.map_users}
    with Client(config=KubeConfig.from_file(sandbox.control_plane.kubeconfig)) as client:
        data = client.get(ConfigMap, "aws-auth", namespace="kube-system").data or {}
        changed = {
            key: data.get(key, "") + yaml.safe_dump(list(more), sort_keys=False)
            for key, more in entries.items()
            if more
        }
        client.patch(ConfigMap, "aws-auth", {"data": changed}, namespace="kube-system")


class _Castai:
    """CAST AI's API as an installer calls it, with a key that may do everything."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/v1/kubernetes/external-clusters"
        self._nodes = f"{url}/v1/kubernetes/clusters"

    def post(self, path: str, body: Document | None = None) -> Any:
        return self._ask("POST", path, body or {})

    def configure_nodes(self, place: Place, sandbox: Sandbox, profile: str) -> None:
        """Make a default node configuration with this profile, then have CAST AI look again."""
        described = sandbox.client("eks", "root").describe_cluster(name=place.cluster)
        network = described["cluster"]["resourcesVpcConfig"]
        eks = {
            "instanceProfileArn": place.iam(f"instance-profile/{profile}"),
            "securityGroups": network["securityGroupIds"],
        }
        body = {"name": "default", "subnets": network["subnetIds"], "eks": eks}
        path = f"{place.cluster_id}/node-configurations"
        created = self._ask("POST", path, body, self._nodes)
        self._ask("POST", f"{path}/{created['id']}/default", {}, self._nodes)
        self.post(f"{place.cluster_id}/reconcile")

    def _ask(
        self, method: str, path: str, body: Document | None = None, url: str | None = None
    ) -> Any:
        answer = requests.request(
            method,
            f"{url or self._url}/{path}".rstrip("/"),
            json=body,
            headers={"X-API-Key": API_KEY},
            timeout=_SECONDS,
        )
        answer.raise_for_status()
        return answer.json()

    def wait_for_agent(self, cluster_id: str) -> None:
        deadline = time.monotonic() + _AGENT_SECONDS
        while self._ask("GET", cluster_id)["agentStatus"] != "online":
            if time.monotonic() > deadline:
                raise TimeoutError(f"the agent is not online after {_AGENT_SECONDS} s")
            time.sleep(0.2)

    def principal(self, cluster_id: str) -> str:
        path = f"{cluster_id}/assume-role-principal"
        return self._ask("GET", path)["arn"] or self.post(path)["arn"]

    def hand_over(self, place: Place, sandbox: Sandbox, footprint: Footprint) -> None:
        principal = footprint.handed
        if principal.trust is not None:
            body = {"eks": {"assumeRoleArn": place.iam(f"role/{principal.name}")}}
        else:
            key = sandbox.client("iam", "root").create_access_key(UserName=principal.name)
            secret = {
                "accessKeyId": key["AccessKey"]["AccessKeyId"],
                "secretAccessKey": key["AccessKey"]["SecretAccessKey"],
            }
            body = {"credentials": json.dumps(secret)}
        self.post(place.cluster_id, body)


def _place(sandbox: Sandbox, castai: _Castai, cluster: str) -> Place:
    eks = {"accountId": ACCOUNT, "region": REGION, "clusterName": cluster}
    registered = castai.post("", {"name": cluster, "eks": eks})
    described = sandbox.client("eks", "root").describe_cluster(name=cluster)["cluster"]
    return Place(
        cluster=cluster,
        cluster_id=registered["id"],
        region=REGION,
        account_id=ACCOUNT,
        vpc_id=described["resourcesVpcConfig"]["vpcId"],
        api_url=sandbox.castai_url,
    )


def _unless_taken(client: Any, call: Callable[..., Any], **arguments: Any) -> None:
    try:
        call(**arguments)
    except client.exceptions.EntityAlreadyExistsException:
        return


def _principal(iam: Any, principal: Principal) -> None:
    kind = "user" if principal.trust is None else "role"
    name = {f"{kind.capitalize()}Name": principal.name}
    more: Document = {}
    if principal.trust is not None:
        more["AssumeRolePolicyDocument"] = json.dumps(principal.trust)
        if principal.description:
            more["Description"] = principal.description
    if principal.tags:
        more["Tags"] = [{"Key": key, "Value": value} for key, value in principal.tags.items()]
    _unless_taken(iam, getattr(iam, f"create_{kind}"), **name, **more)
    for policy in principal.attached:
        getattr(iam, f"attach_{kind}_policy")(**name, PolicyArn=policy)
    for policy, document in principal.inline.items():
        put = getattr(iam, f"put_{kind}_policy")
        put(**name, PolicyName=policy, PolicyDocument=json.dumps(document))


def _security_group(ec2: Any, place: Place, name: str, description: str) -> None:
    group = ec2.create_security_group(GroupName=name, Description=description, VpcId=place.vpc_id)[
        "GroupId"
    ]
    ec2.create_tags(
        Resources=[group],
        Tags=[
            {"Key": "Name", "Value": name},
            {"Key": "cast:cluster-id", "Value": place.cluster_id},
        ],
    )
    ec2.authorize_security_group_ingress(
        GroupId=group, IpPermissions=[{**_ALL, "UserIdGroupPairs": [{"GroupId": group}]}]
    )


def _function(sandbox: Sandbox, place: Place, function: Function) -> None:
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        # Without a fixed time the digest of the code differs each time.
        archive.writestr(zipfile.ZipInfo("main.py"), "def handler(event, context): pass\n")
    lambda_ = sandbox.client("lambda", "root")
    created = lambda_.create_function(
        FunctionName=function.name,
        Role=place.iam(f"role/{function.role}"),
        Runtime="python3.12",  # inferred
        Handler="main.handler",  # inferred
        Code={"ZipFile": code.getvalue()},
    )
    events = sandbox.client("events", "root")
    rule = events.put_rule(Name=function.rule, EventPattern=json.dumps(function.pattern))
    lambda_.add_permission(
        FunctionName=function.name,
        StatementId="events",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=rule["RuleArn"],
    )
    target = {"Id": "handler", "Arn": created["FunctionArn"]}
    events.put_targets(Rule=function.rule, Targets=[target])
