"""Identity and access management.

Schemas: `internal/service/iam/*.go` in `hashicorp/terraform-provider-aws`.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from sandbox.aws_provider import documents, rules
from sandbox.aws_provider.account import (
    APPEARS_SECONDS,
    Account,
    RefusedError,
    absent_is_fine,
    code,
    found,
    is_absent,
    message,
)
from sandbox.aws_provider.fields import (
    IAM_CHARACTERS,
    IAM_PATH,
    TAGS,
    change_tags,
    given,
    moment,
    tag_list,
    tag_map,
)
from sandbox.aws_provider.resource import Field, Fields, Properties, Resource

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

_POLICY_VERSIONS = 5  # IAM keeps so many of a policy
_BOUNDARY = Field(rule=rules.arn)
_POLICY_ARN = Field(replaces=True, rule=rules.arn)
_DOCUMENT = Field(kind="document", rule=rules.policy)


def _name(most: int) -> Field:
    return Field(replaces=True, rule=rules.name(most, IAM_CHARACTERS))


def _is_conflict(error: "ClientError") -> bool:
    return code(error) == "DeleteConflict"


def _every(aws: Account, operation: str, key: str, **arguments: Any) -> list[Any]:
    """Give all pages of a list."""
    pages = aws.client("iam").get_paginator(operation).paginate(**arguments)
    return [item for page in pages for item in page[key]]


def _split(identifier: str, separator: str, form: str) -> tuple[str, str]:
    first, _, second = identifier.partition(separator)
    if not first or not second:
        raise RefusedError(f"unexpected id {identifier!r}, expected {form}")
    return first, second


class User(Resource):
    """User; a new name or path is set in place."""

    aws_type = "aws:iam/user:User"
    autoname = ("name", 64)
    fields: ClassVar[Fields] = {
        "name": Field(rule=rules.name(64, IAM_CHARACTERS)),
        "path": Field(default="/", rule=IAM_PATH.rule),
        "permissionsBoundary": _BOUNDARY,
        "forceDestroy": Field(default=False),
        **TAGS,
    }

    def create(self, aws: Account, inputs: Properties) -> tuple[str, Properties]:
        aws.client("iam").create_user(
            UserName=inputs["name"],
            Path=inputs["path"],
            **given(PermissionsBoundary=inputs.get("permissionsBoundary"), Tags=tag_list(inputs)),
        )
        return inputs["name"], {}

    def read(self, aws: Account, identifier: str, state: Properties) -> Properties | None:
        answer = found(aws.client("iam").get_user, UserName=state.get("name", identifier))
        if answer is None:
            return None
        user = answer["User"]
        return {
            "name": user["UserName"],
            "path": user["Path"],
            "arn": user["Arn"],
            "uniqueId": user["UserId"],
            "permissionsBoundary": _boundary(user),
            "tagsAll": tag_map(user.get("Tags")),
        }

    def update(
        self, aws: Account, identifier: str, old: Properties, new: Properties, changed: set[str]
    ) -> None:
        iam = aws.client("iam")
        if changed & {"name", "path"}:
            iam.update_user(
                UserName=old.get("name", identifier), NewUserName=new["name"], NewPath=new["path"]
            )
        if "permissionsBoundary" in changed:
            _set_boundary(
                new,
                iam.put_user_permissions_boundary,
                iam.delete_user_permissions_boundary,
                UserName=new["name"],
            )
        change_tags(old, new, iam.tag_user, iam.untag_user, UserName=new["name"])

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        name = state.get("name", identifier)
        iam = aws.client("iam")
        with absent_is_fine():
            for group in _every(aws, "list_groups_for_user", "Groups", UserName=name):
                iam.remove_user_from_group(GroupName=group["GroupName"], UserName=name)
            if state.get("forceDestroy"):
                _strip_user(aws, name)
            aws.retry(lambda: iam.delete_user(UserName=name), _is_conflict)


def _strip_user(aws: Account, name: str) -> None:
    """Take from a user what would keep it from being deleted."""
    iam = aws.client("iam")
    for policy in _every(aws, "list_attached_user_policies", "AttachedPolicies", UserName=name):
        iam.detach_user_policy(UserName=name, PolicyArn=policy["PolicyArn"])
    for policy_name in _every(aws, "list_user_policies", "PolicyNames", UserName=name):
        iam.delete_user_policy(UserName=name, PolicyName=policy_name)
    for key in _every(aws, "list_access_keys", "AccessKeyMetadata", UserName=name):
        iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    for device in _every(aws, "list_mfa_devices", "MFADevices", UserName=name):
        iam.deactivate_mfa_device(UserName=name, SerialNumber=device["SerialNumber"])
    with absent_is_fine():
        iam.delete_login_profile(UserName=name)


def _boundary(holder: dict[str, Any]) -> str | None:
    return holder.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")


def _set_boundary(
    new: Properties, put: Callable[..., Any], remove: Callable[..., Any], **target: str
) -> None:
    if boundary := new.get("permissionsBoundary"):
        put(**target, PermissionsBoundary=boundary)
    else:
        remove(**target)


class AccessKey(Resource):
    """Access key; its secret is known at its creation only."""

    aws_type = "aws:iam/accessKey:AccessKey"
    secrets = frozenset({"secret", "sesSmtpPasswordV4"})
    fields: ClassVar[Fields] = {
        "user": Field(replaces=True),
        "status": Field(default="Active", rule=rules.one_of("Active", "Inactive", "Expired")),
    }

    def identify(self, aws: Account, identifier: str) -> tuple[str, Properties]:
        used = aws.client("iam").get_access_key_last_used(AccessKeyId=identifier)
        return identifier, {"user": used["UserName"]}

    def create(self, aws: Account, inputs: Properties) -> tuple[str, Properties]:
        iam = aws.client("iam")
        key = aws.retry(
            lambda: iam.create_access_key(UserName=inputs["user"]), is_absent, APPEARS_SECONDS
        )["AccessKey"]
        return key["AccessKeyId"], {
            "secret": key["SecretAccessKey"],
            "sesSmtpPasswordV4": _smtp_password(key["SecretAccessKey"], aws.region),
        }

    def complete(self, aws: Account, identifier: str, inputs: Properties) -> None:
        if inputs["status"] != "Active":
            self._set_status(aws, identifier, inputs)

    def _set_status(self, aws: Account, identifier: str, wanted: Properties) -> None:
        aws.client("iam").update_access_key(
            UserName=wanted["user"], AccessKeyId=identifier, Status=wanted["status"]
        )

    def read(self, aws: Account, identifier: str, state: Properties) -> Properties | None:
        with absent_is_fine():
            for key in _every(aws, "list_access_keys", "AccessKeyMetadata", UserName=state["user"]):
                if key["AccessKeyId"] == identifier:
                    return {
                        "user": key["UserName"],
                        "status": key["Status"],
                        "createDate": moment(key["CreateDate"]),
                    }
        return None

    def update(
        self, aws: Account, identifier: str, old: Properties, new: Properties, changed: set[str]
    ) -> None:
        del old
        if "status" in changed:
            self._set_status(aws, identifier, new)

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        with absent_is_fine():
            aws.client("iam").delete_access_key(UserName=state["user"], AccessKeyId=identifier)


def _smtp_password(secret: str, region: str) -> str:
    """Derive the SMTP password of SES from a secret key.

    Source: https://docs.aws.amazon.com/ses/latest/dg/smtp-credentials.html
    """
    key = f"AWS4{secret}".encode()
    for part in ("11111111", region, "ses", "aws4_request", "SendRawEmail"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return base64.b64encode(b"\x04" + key).decode()


class Role(Resource):
    """Role; its name and path are fixed for its life."""

    aws_type = "aws:iam/role:Role"
    autoname = ("name", 64)
    fields: ClassVar[Fields] = {
        "name": _name(64),
        "path": IAM_PATH,
        "assumeRolePolicy": _DOCUMENT,
        "description": Field(rule=rules.length(1000, 0)),
        "forceDetachPolicies": Field(default=False),
        "maxSessionDuration": Field(default=3600, rule=rules.between(3600, 43200)),
        "permissionsBoundary": _BOUNDARY,
        **TAGS,
    }

    def create(self, aws: Account, inputs: Properties) -> tuple[str, Properties]:
        iam = aws.client("iam")
        aws.retry(
            lambda: iam.create_role(
                RoleName=inputs["name"],
                Path=inputs["path"],
                AssumeRolePolicyDocument=inputs["assumeRolePolicy"],
                MaxSessionDuration=inputs["maxSessionDuration"],
                **given(
                    Description=inputs.get("description"),
                    PermissionsBoundary=inputs.get("permissionsBoundary"),
                    Tags=tag_list(inputs),
                ),
            ),
            _is_unknown_principal,
        )
        return inputs["name"], {}

    def read(self, aws: Account, identifier: str, state: Properties) -> Properties | None:
        del state
        answer = found(aws.client("iam").get_role, RoleName=identifier)
        if answer is None:
            return None
        role = answer["Role"]
        return {
            "name": role["RoleName"],
            "path": role["Path"],
            "arn": role["Arn"],
            "uniqueId": role["RoleId"],
            "createDate": moment(role["CreateDate"]),
            "assumeRolePolicy": documents.text(role["AssumeRolePolicyDocument"]),
            "description": role.get("Description") or None,
            "maxSessionDuration": role.get("MaxSessionDuration", 3600),
            "permissionsBoundary": _boundary(role),
            "tagsAll": tag_map(role.get("Tags")),
        }

    def update(
        self, aws: Account, identifier: str, old: Properties, new: Properties, changed: set[str]
    ) -> None:
        iam = aws.client("iam")
        if "assumeRolePolicy" in changed:
            aws.retry(
                lambda: iam.update_assume_role_policy(
                    RoleName=identifier, PolicyDocument=new["assumeRolePolicy"]
                ),
                _is_unknown_principal,
            )
        if changed & {"description", "maxSessionDuration"}:
            iam.update_role(
                RoleName=identifier,
                Description=new.get("description", ""),
                MaxSessionDuration=new["maxSessionDuration"],
            )
        if "permissionsBoundary" in changed:
            _set_boundary(
                new,
                iam.put_role_permissions_boundary,
                iam.delete_role_permissions_boundary,
                RoleName=identifier,
            )
        change_tags(old, new, iam.tag_role, iam.untag_role, RoleName=identifier)

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        iam = aws.client("iam")
        with absent_is_fine():
            for profile in _every(
                aws, "list_instance_profiles_for_role", "InstanceProfiles", RoleName=identifier
            ):
                iam.remove_role_from_instance_profile(
                    InstanceProfileName=profile["InstanceProfileName"], RoleName=identifier
                )
            if state.get("forceDetachPolicies"):
                for policy in _every(
                    aws, "list_attached_role_policies", "AttachedPolicies", RoleName=identifier
                ):
                    iam.detach_role_policy(RoleName=identifier, PolicyArn=policy["PolicyArn"])
                for name in _every(aws, "list_role_policies", "PolicyNames", RoleName=identifier):
                    iam.delete_role_policy(RoleName=identifier, PolicyName=name)
            aws.retry(lambda: iam.delete_role(RoleName=identifier), _is_conflict)


def _is_unknown_principal(error: "ClientError") -> bool:
    """Whether a trust policy names a principal that IAM does not know yet."""
    return code(error) == "MalformedPolicyDocument" and "Invalid principal" in message(error)


class Policy(Resource):
    """Managed policy; a new document is a new version of it."""

    aws_type = "aws:iam/policy:Policy"
    autoname = ("name", 128)
    fields: ClassVar[Fields] = {
        "name": _name(128),
        "path": IAM_PATH,
        "description": Field(replaces=True, rule=rules.length(1000, 0)),
        "policy": _DOCUMENT,
        **TAGS,
    }

    def create(self, aws: Account, inputs: Properties) -> tuple[str, Properties]:
        policy = aws.client("iam").create_policy(
            PolicyName=inputs["name"],
            Path=inputs["path"],
            PolicyDocument=inputs["policy"],
            **given(Description=inputs.get("description"), Tags=tag_list(inputs)),
        )["Policy"]
        return policy["Arn"], {}

    def read(self, aws: Account, identifier: str, state: Properties) -> Properties | None:
        del state
        iam = aws.client("iam")
        answer = found(iam.get_policy, PolicyArn=identifier)
        if answer is None:
            return None
        policy = answer["Policy"]
        version = found(
            iam.get_policy_version, PolicyArn=identifier, VersionId=policy["DefaultVersionId"]
        )
        if version is None:
            return None
        return {
            "name": policy["PolicyName"],
            "path": policy["Path"],
            "arn": policy["Arn"],
            "policyId": policy["PolicyId"],
            "attachmentCount": policy.get("AttachmentCount", 0),
            "description": policy.get("Description") or None,
            "policy": documents.text(version["PolicyVersion"]["Document"]),
            "tagsAll": tag_map(policy.get("Tags")),
        }

    def update(
        self, aws: Account, identifier: str, old: Properties, new: Properties, changed: set[str]
    ) -> None:
        iam = aws.client("iam")
        if "policy" in changed:
            versions = _every(aws, "list_policy_versions", "Versions", PolicyArn=identifier)
            spare = [version for version in versions if not version["IsDefaultVersion"]]
            if len(versions) >= _POLICY_VERSIONS:
                oldest = min(spare, key=lambda version: version["CreateDate"])
                iam.delete_policy_version(PolicyArn=identifier, VersionId=oldest["VersionId"])
            iam.create_policy_version(
                PolicyArn=identifier, PolicyDocument=new["policy"], SetAsDefault=True
            )
        change_tags(old, new, iam.tag_policy, iam.untag_policy, PolicyArn=identifier)

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        del state
        iam = aws.client("iam")
        with absent_is_fine():
            for version in _every(aws, "list_policy_versions", "Versions", PolicyArn=identifier):
                if not version["IsDefaultVersion"]:
                    iam.delete_policy_version(PolicyArn=identifier, VersionId=version["VersionId"])
            aws.retry(lambda: iam.delete_policy(PolicyArn=identifier), _is_conflict)


class RolePolicy(Resource):
    """Document inside a role."""

    aws_type = "aws:iam/rolePolicy:RolePolicy"
    autoname = ("name", 128)
    fields: ClassVar[Fields] = {
        "name": _name(128),
        "role": Field(replaces=True),
        "policy": _DOCUMENT,
    }

    def create(self, aws: Account, inputs: Properties) -> tuple[str, Properties]:
        self._put(aws, inputs)
        return f"{inputs['role']}:{inputs['name']}", {}

    def _put(self, aws: Account, inputs: Properties) -> None:
        iam = aws.client("iam")
        aws.retry(
            lambda: iam.put_role_policy(
                RoleName=inputs["role"],
                PolicyName=inputs["name"],
                PolicyDocument=inputs["policy"],
            ),
            is_absent,
            APPEARS_SECONDS,
        )

    def read(self, aws: Account, identifier: str, state: Properties) -> Properties | None:
        del state
        role, name = _split(identifier, ":", "role_name:role_policy_name")
        answer = found(aws.client("iam").get_role_policy, RoleName=role, PolicyName=name)
        if answer is None:
            return None
        return {
            "role": role,
            "name": name,
            "policy": documents.text(answer["PolicyDocument"]),
        }

    def update(
        self, aws: Account, identifier: str, old: Properties, new: Properties, changed: set[str]
    ) -> None:
        del identifier, old, changed
        self._put(aws, new)

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        del state
        role, name = _split(identifier, ":", "role_name:role_policy_name")
        with absent_is_fine():
            aws.client("iam").delete_role_policy(RoleName=role, PolicyName=name)


class _Attachment(Resource):
    """Managed policy on a user or a role; to AWS, old and new are the same thing."""

    deletes_first = True
    holder: str  # property that names who holds the policy: user or role

    def _target(self, name: str) -> dict[str, str]:
        return {f"{self.holder.capitalize()}Name": name}

    def _call(self, aws: Account, verb: str) -> Callable[..., Any]:
        return getattr(aws.client("iam"), f"{verb}_{self.holder}_policy")

    def identify(self, aws: Account, identifier: str) -> tuple[str, Properties]:
        del aws
        holder, arn = _split(identifier, "/", f"<{self.holder}-name>/<policy_arn>")
        return identifier, {self.holder: holder, "policyArn": arn}

    def create(self, aws: Account, inputs: Properties) -> tuple[str, Properties]:
        holder, arn = inputs[self.holder], inputs["policyArn"]
        attach = self._call(aws, "attach")
        aws.retry(lambda: attach(**self._target(holder), PolicyArn=arn), is_absent, APPEARS_SECONDS)
        return f"{holder}/{arn}", {}

    def read(self, aws: Account, identifier: str, state: Properties) -> Properties | None:
        del identifier
        holder, arn = state[self.holder], state["policyArn"]
        with absent_is_fine():
            attached: Iterable[dict[str, str]] = _every(
                aws,
                f"list_attached_{self.holder}_policies",
                "AttachedPolicies",
                **self._target(holder),
            )
            if any(policy["PolicyArn"] == arn for policy in attached):
                return {self.holder: holder, "policyArn": arn}
        return None

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        del identifier
        with absent_is_fine():
            self._call(aws, "detach")(
                **self._target(state[self.holder]), PolicyArn=state["policyArn"]
            )


class RolePolicyAttachment(_Attachment):
    """Managed policy on a role."""

    aws_type = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
    holder = "role"
    fields: ClassVar[Fields] = {"role": Field(replaces=True), "policyArn": _POLICY_ARN}


class UserPolicyAttachment(_Attachment):
    """Managed policy on a user."""

    aws_type = "aws:iam/userPolicyAttachment:UserPolicyAttachment"
    holder = "user"
    fields: ClassVar[Fields] = {"user": Field(replaces=True), "policyArn": _POLICY_ARN}


class InstanceProfile(Resource):
    """What hands a role to EC2 instances; one role at most."""

    aws_type = "aws:iam/instanceProfile:InstanceProfile"
    autoname = ("name", 128)
    fields: ClassVar[Fields] = {"name": _name(128), "path": IAM_PATH, "role": Field(), **TAGS}

    def create(self, aws: Account, inputs: Properties) -> tuple[str, Properties]:
        aws.client("iam").create_instance_profile(
            InstanceProfileName=inputs["name"],
            Path=inputs["path"],
            **given(Tags=tag_list(inputs)),
        )
        return inputs["name"], {}

    def complete(self, aws: Account, identifier: str, inputs: Properties) -> None:
        if role := inputs.get("role"):
            self._add(aws, identifier, role)

    def _add(self, aws: Account, identifier: str, role: str) -> None:
        iam = aws.client("iam")
        aws.retry(
            lambda: iam.add_role_to_instance_profile(InstanceProfileName=identifier, RoleName=role),
            is_absent,
            APPEARS_SECONDS,
        )

    def read(self, aws: Account, identifier: str, state: Properties) -> Properties | None:
        del state
        answer = found(aws.client("iam").get_instance_profile, InstanceProfileName=identifier)
        if answer is None:
            return None
        profile = answer["InstanceProfile"]
        return {
            "name": profile["InstanceProfileName"],
            "path": profile["Path"],
            "arn": profile["Arn"],
            "uniqueId": profile["InstanceProfileId"],
            "createDate": moment(profile["CreateDate"]),
            "role": next((role["RoleName"] for role in profile["Roles"]), None),
            "tagsAll": tag_map(profile.get("Tags")),
        }

    def update(
        self, aws: Account, identifier: str, old: Properties, new: Properties, changed: set[str]
    ) -> None:
        iam = aws.client("iam")
        if "role" in changed:
            if previous := old.get("role"):
                with absent_is_fine():
                    iam.remove_role_from_instance_profile(
                        InstanceProfileName=identifier, RoleName=previous
                    )
            if role := new.get("role"):
                self._add(aws, identifier, role)
        change_tags(
            old,
            new,
            iam.tag_instance_profile,
            iam.untag_instance_profile,
            InstanceProfileName=identifier,
        )

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        iam = aws.client("iam")
        with absent_is_fine():
            actual = self.read(aws, identifier, state)
            if actual is None:
                return
            if role := actual["role"]:
                iam.remove_role_from_instance_profile(InstanceProfileName=identifier, RoleName=role)
            iam.delete_instance_profile(InstanceProfileName=identifier)
