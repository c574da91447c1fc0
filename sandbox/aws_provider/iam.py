"""Identity and access management.

Schemas: `internal/service/iam/*.go` in `hashicorp/terraform-provider-aws`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from sandbox.aws_provider import rules
from sandbox.aws_provider.account import Account, absent_is_fine
from sandbox.aws_provider.resource import (
    TAG_PROPERTIES,
    TAGS,
    Field,
    Fields,
    Listing,
    Properties,
    Resource,
    Tagging,
)

_CHARACTERS = r"\w+=,.@-"
_POLICY_VERSIONS = 5  # most versions that IAM keeps of a policy
_PATH = Field(replaces=True, default="/", rule=rules.matching(r"/([!-~]+/)*", "a path: / or /a/"))
_BOUNDARY = Field(rule=rules.arn)
_DOCUMENT = Field(kind="document", rule=rules.policy)
_POLICY_ARN = Field(replaces=True, rule=rules.arn)
_CREATED = {"createDate": "CreateDate"}
_DELETE_CONFLICT = ("DeleteConflict", "")


def _name(most: int, call: str = "", *, replaces: bool = True) -> Field:
    return Field(replaces=replaces, rule=rules.name(most, _CHARACTERS), call=call)


class _Bounded(Resource):
    """User or role: a principal with a permissions boundary."""

    service = "iam"
    autoname = ("name", 64)
    noun: ClassVar[str]

    def find(self, aws: Account, identifier: str, state: Properties) -> dict[str, Any] | None:
        principal = super().find(aws, identifier, {"name": identifier, **state}) or {}
        boundary = principal.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
        return {**principal, "PermissionsBoundary": boundary}

    def update(
        self, aws: Account, identifier: str, old: Properties, new: Properties, changed: set[str]
    ) -> None:
        if "permissionsBoundary" in changed:
            boundary = new.get("permissionsBoundary")
            verb = "put" if boundary else "delete"
            arguments = {"PermissionsBoundary": boundary} if boundary else {}
            operation = f"{verb}_{self.noun}_permissions_boundary"
            self.call(aws, new, operation, **self.target(new), **arguments)
        super().update(aws, identifier, old, new, changed - {"permissionsBoundary"})

    def _strip(self, aws: Account, name: str) -> None:
        """Remove the policies that would keep the principal from being deleted."""
        iam, target = aws.client("iam"), self.target({"name": name})
        attached = f"list_attached_{self.noun}_policies"
        for policy in self.every(aws, {}, attached, "AttachedPolicies", **target):
            detach = getattr(iam, f"detach_{self.noun}_policy")
            detach(**target, PolicyArn=policy["PolicyArn"])
        inline = f"list_{self.noun}_policies"
        for policy_name in self.every(aws, {}, inline, "PolicyNames", **target):
            getattr(iam, f"delete_{self.noun}_policy")(**target, PolicyName=policy_name)


class User(_Bounded):
    """User; a new name or path is set in place."""

    aws_type = "aws:iam/user:User"
    noun = "user"
    key: ClassVar[dict[str, str]] = {"name": "UserName"}
    create_call, read_call, delete_call, within = "create_user", "get_user", "delete_user", "User"
    tagging = Tagging("user", "UserName", "name")
    fields: ClassVar[Fields] = {
        "name": _name(64, replaces=False),
        "path": Field(default="/", rule=_PATH.rule),
        "permissionsBoundary": _BOUNDARY,
        "forceDestroy": Field(default=False, call=None),
        **TAGS,
    }
    outputs: ClassVar[dict[str, str]] = {"arn": "Arn", "uniqueId": "UserId"}

    def update(
        self, aws: Account, identifier: str, old: Properties, new: Properties, changed: set[str]
    ) -> None:
        if changed & {"name", "path"}:
            name = old.get("name", identifier)
            rename = aws.client("iam").update_user
            rename(UserName=name, NewUserName=new["name"], NewPath=new["path"])
        super().update(aws, identifier, old, new, changed - {"name", "path"})

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        name = state.get("name", identifier)
        with absent_is_fine():
            for group in self.every(aws, {}, "list_groups_for_user", "Groups", UserName=name):
                aws.client("iam").remove_user_from_group(
                    GroupName=group["GroupName"], UserName=name
                )
            if state.get("forceDestroy"):
                self._strip(aws, name)
                self._log_out(aws, name)
        super().delete(aws, identifier, {"name": name})

    def _log_out(self, aws: Account, name: str) -> None:
        """Remove the user's keys, devices and password."""
        iam = aws.client("iam")
        for key in self.every(aws, {}, "list_access_keys", "AccessKeyMetadata", UserName=name):
            iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        for device in self.every(aws, {}, "list_mfa_devices", "MFADevices", UserName=name):
            iam.deactivate_mfa_device(UserName=name, SerialNumber=device["SerialNumber"])
        with absent_is_fine():
            iam.delete_login_profile(UserName=name)


class AccessKey(Resource):
    """Access key; its secret is known at its creation only."""

    aws_type = "aws:iam/accessKey:AccessKey"
    service = "iam"
    secrets = frozenset({"secret"})
    key: ClassVar[dict[str, str]] = {"user": "UserName"}
    create_call, delete_call = "create_access_key", "delete_access_key"
    waits_for_parent = True
    fields: ClassVar[Fields] = {
        "user": Field(replaces=True),
        "status": Field(default="Active", rule=rules.one_of("Active", "Inactive", "Expired")),
    }
    outputs: ClassVar[dict[str, str]] = _CREATED

    def identify(self, aws: Account, identifier: str) -> tuple[str, Properties]:
        used = aws.client("iam").get_access_key_last_used(AccessKeyId=identifier)
        return identifier, {"user": used["UserName"]}

    def arguments(self, inputs: Properties) -> dict[str, Any]:
        del inputs  # the status is set by another call
        return {}

    def identifier(self, properties: Properties, answer: Mapping[str, Any]) -> str:
        del properties
        return answer["AccessKey"]["AccessKeyId"]

    def created_outputs(self, answer: Mapping[str, Any]) -> Properties:
        return {"secret": answer["AccessKey"]["SecretAccessKey"]}

    def complete(self, aws: Account, identifier: str, inputs: Properties) -> None:
        if inputs["status"] != "Active":
            self.update(aws, identifier, {}, inputs, {"status"})

    def find(self, aws: Account, identifier: str, state: Properties) -> dict[str, Any] | None:
        keys = self.every(aws, {}, "list_access_keys", "AccessKeyMetadata", UserName=state["user"])
        return next((key for key in keys if key["AccessKeyId"] == identifier), None)

    def update(
        self, aws: Account, identifier: str, old: Properties, new: Properties, changed: set[str]
    ) -> None:
        del old, changed
        aws.client("iam").update_access_key(
            UserName=new["user"], AccessKeyId=identifier, Status=new["status"]
        )

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        with absent_is_fine():
            aws.client("iam").delete_access_key(UserName=state["user"], AccessKeyId=identifier)


class Role(_Bounded):
    """Role; its name and path are fixed for its life."""

    aws_type = "aws:iam/role:Role"
    noun = "role"
    key: ClassVar[dict[str, str]] = {"name": "RoleName"}
    create_call, read_call, delete_call, within = "create_role", "get_role", "delete_role", "Role"
    tagging = Tagging("role", "RoleName", "name")
    passing = (("MalformedPolicyDocument", "Invalid principal"), _DELETE_CONFLICT)
    fields: ClassVar[Fields] = {
        "name": _name(64),
        "path": _PATH,
        "assumeRolePolicy": Field(
            kind="document", rule=rules.policy, call="AssumeRolePolicyDocument"
        ),
        "description": Field(rule=rules.length(1000, 0)),
        "permissionsBoundary": _BOUNDARY,
        **TAGS,
    }
    outputs: ClassVar[dict[str, str]] = {"arn": "Arn", "uniqueId": "RoleId", **_CREATED}
    updates: ClassVar[dict[str, frozenset[str]]] = {"update_role": frozenset({"description"})}

    def update(
        self, aws: Account, identifier: str, old: Properties, new: Properties, changed: set[str]
    ) -> None:
        if "assumeRolePolicy" in changed:
            document = new["assumeRolePolicy"]
            self.call(
                aws,
                new,
                "update_assume_role_policy",
                RoleName=identifier,
                PolicyDocument=document,
            )
        super().update(aws, identifier, old, new, changed)

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        with absent_is_fine():
            for profile in self.every(
                aws,
                {},
                "list_instance_profiles_for_role",
                "InstanceProfiles",
                RoleName=identifier,
            ):
                aws.client("iam").remove_role_from_instance_profile(
                    InstanceProfileName=profile["InstanceProfileName"], RoleName=identifier
                )
        super().delete(aws, identifier, {"name": identifier, **state})


class Policy(Resource):
    """Managed policy; a new document is a new version of it."""

    aws_type = "aws:iam/policy:Policy"
    service = "iam"
    autoname = ("name", 128)
    key: ClassVar[dict[str, str]] = {"arn": "PolicyArn"}
    create_call, read_call, delete_call = "create_policy", "get_policy", "delete_policy"
    tagging = Tagging("policy", "PolicyArn")
    fields: ClassVar[Fields] = {
        "name": _name(128, "PolicyName"),
        "path": _PATH,
        "description": Field(replaces=True, rule=rules.length(1000, 0)),
        "policy": Field(kind="document", rule=rules.policy, call="PolicyDocument"),
        **TAGS,
    }
    outputs: ClassVar[dict[str, str]] = {
        "arn": "Arn",
        "policyId": "PolicyId",
        "attachmentCount": "AttachmentCount",
    }

    def created_outputs(self, answer: Mapping[str, Any]) -> Properties:
        return {"arn": answer["Policy"]["Arn"]}

    def find(self, aws: Account, identifier: str, state: Properties) -> dict[str, Any] | None:
        del state
        iam = aws.client("iam")
        policy = iam.get_policy(PolicyArn=identifier)["Policy"]
        version = iam.get_policy_version(
            PolicyArn=identifier, VersionId=policy["DefaultVersionId"]
        )["PolicyVersion"]
        return {**policy, "PolicyDocument": version["Document"]}

    def update(
        self, aws: Account, identifier: str, old: Properties, new: Properties, changed: set[str]
    ) -> None:
        if "policy" in changed:
            iam = aws.client("iam")
            others = self._other_versions(aws, identifier)
            if len(others) + 1 >= _POLICY_VERSIONS:
                oldest = min(others, key=lambda version: version["CreateDate"])
                iam.delete_policy_version(PolicyArn=identifier, VersionId=oldest["VersionId"])
            iam.create_policy_version(
                PolicyArn=identifier, PolicyDocument=new["policy"], SetAsDefault=True
            )
        super().update(aws, identifier, old, new, changed & TAG_PROPERTIES)

    def _other_versions(self, aws: Account, identifier: str) -> list[dict[str, Any]]:
        versions = self.every(aws, {}, "list_policy_versions", "Versions", PolicyArn=identifier)
        return [version for version in versions if not version["IsDefaultVersion"]]

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        with absent_is_fine():
            for version in self._other_versions(aws, identifier):
                aws.client("iam").delete_policy_version(
                    PolicyArn=identifier, VersionId=version["VersionId"]
                )
        super().delete(aws, identifier, {"arn": identifier, **state})


class RolePolicy(Resource):
    """Document inside a role."""

    aws_type = "aws:iam/rolePolicy:RolePolicy"
    service = "iam"
    autoname = ("name", 128)
    key: ClassVar[dict[str, str]] = {"role": "RoleName", "name": "PolicyName"}
    separator = ":"
    create_call, read_call, delete_call = "put_role_policy", "get_role_policy", "delete_role_policy"
    waits_for_parent = True
    fields: ClassVar[Fields] = {
        "name": _name(128),
        "role": Field(replaces=True),
        "policy": Field(kind="document", rule=rules.policy, call="PolicyDocument"),
    }


class RolePolicyAttachment(Resource):
    """Managed policy on a role; old and new are the same object to AWS."""

    aws_type = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
    service = "iam"
    deletes_first = True
    key: ClassVar[dict[str, str]] = {"role": "RoleName", "policyArn": "PolicyArn"}
    separator = "/"
    create_call, delete_call = "attach_role_policy", "detach_role_policy"
    listing = Listing(
        "list_attached_role_policies",
        "AttachedPolicies",
        "PolicyArn",
        "policyArn",
        {"RoleName": "role"},
    )
    waits_for_parent = True
    fields: ClassVar[Fields] = {"role": Field(replaces=True), "policyArn": _POLICY_ARN}


class UserPolicyAttachment(RolePolicyAttachment):
    """Managed policy on a user."""

    aws_type = "aws:iam/userPolicyAttachment:UserPolicyAttachment"
    key: ClassVar[dict[str, str]] = {"user": "UserName", "policyArn": "PolicyArn"}
    create_call, delete_call = "attach_user_policy", "detach_user_policy"
    listing = Listing(
        "list_attached_user_policies",
        "AttachedPolicies",
        "PolicyArn",
        "policyArn",
        {"UserName": "user"},
    )
    fields: ClassVar[Fields] = {"user": Field(replaces=True), "policyArn": _POLICY_ARN}


class InstanceProfile(Resource):
    """Hands a role to EC2 instances; holds one role at most."""

    aws_type = "aws:iam/instanceProfile:InstanceProfile"
    service = "iam"
    autoname = ("name", 128)
    key: ClassVar[dict[str, str]] = {"name": "InstanceProfileName"}
    create_call, read_call = "create_instance_profile", "get_instance_profile"
    delete_call, within = "delete_instance_profile", "InstanceProfile"
    tagging = Tagging("instance_profile", "InstanceProfileName", "name")
    waits_for_parent = True
    settles: ClassVar[dict[str, float]] = {"create": 5}
    fields: ClassVar[Fields] = {
        "name": _name(128),
        "path": _PATH,
        "role": Field(call=None),
        **TAGS,
    }
    outputs: ClassVar[dict[str, str]] = {
        "arn": "Arn",
        "uniqueId": "InstanceProfileId",
        "role": "RoleName",
        **_CREATED,
    }

    def complete(self, aws: Account, identifier: str, inputs: Properties) -> None:
        if role := inputs.get("role"):
            self._role(aws, "add_role_to", identifier, role)

    def _role(self, aws: Account, verb: str, identifier: str, role: str) -> None:
        operation = f"{verb}_instance_profile"
        self.call(aws, {}, operation, InstanceProfileName=identifier, RoleName=role)

    def find(self, aws: Account, identifier: str, state: Properties) -> dict[str, Any] | None:
        profile = super().find(aws, identifier, {"name": identifier, **state}) or {}
        role = next((role["RoleName"] for role in profile["Roles"]), None)
        return {**profile, "RoleName": role}

    def update(
        self, aws: Account, identifier: str, old: Properties, new: Properties, changed: set[str]
    ) -> None:
        if "role" in changed:
            if previous := old.get("role"):
                with absent_is_fine():
                    aws.client("iam").remove_role_from_instance_profile(
                        InstanceProfileName=identifier, RoleName=previous
                    )
            self.complete(aws, identifier, new)
        super().update(aws, identifier, old, new, changed)

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        with absent_is_fine():
            if role := (self.find(aws, identifier, state) or {}).get("RoleName"):
                aws.client("iam").remove_role_from_instance_profile(
                    InstanceProfileName=identifier, RoleName=role
                )
        super().delete(aws, identifier, {"name": identifier, **state})
