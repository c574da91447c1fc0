"""Logins by the real aws-iam-authenticator, over the sandbox's AWS and a live aws-auth."""

import base64
import datetime as dt
import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import botocore.auth
import pytest
import requests
from lightkube import Client
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap

from castai_stack.spot_handler.eks_token import PREFIX, eks_token
from sandbox import aws, constants
from sandbox.aws.account import AccessEntry, ClusterExtras
from sandbox.kubernetes import authenticator
from sandbox.kubernetes.control_plane import ControlPlane
from sandbox.processes import Processes, free_port
from sandbox.toolchain import Programs

pytestmark = pytest.mark.sandbox

ACCOUNT = "012345678901"
PLATFORM = f"arn:aws:iam::{ACCOUNT}:role/platform-admin"
DEPLOY = f"arn:aws:iam::{ACCOUNT}:role/DeployBot"
JANE = f"arn:aws:iam::{ACCOUNT}:user/jane"
NOBODY = (None, [])
SECONDS = 20


class Logins:
    """An authenticator, what it reads, and the answers that it gives to an API server."""

    def __init__(self, directory: Path, url: str, plane: ControlPlane, program: Path) -> None:
        self._directory = directory
        self._aws = url
        self._plane = plane
        self._program = program
        self._access = authenticator.Access(directory)
        self._count = 0
        self.seed = aws.seed(url)
        self.port = free_port()
        self._marker = self.token(self._session("pull-request", "marker"))

    def services(self) -> dict[str, Any]:
        keys = {"operator": self.seed.operator, "reader": self.seed.pull_request}
        keys["root"] = aws.root(self._aws)
        names = {"access_key_id": "accessKeyId", "secret_access_key": "secretAccessKey"}
        names["session_token"] = "sessionToken"
        principals = {
            name: {theirs: getattr(one, mine) for mine, theirs in names.items()}
            for name, one in keys.items()
        }
        return {"aws": self._aws, "account": ACCOUNT, "principals": principals}

    def mode(self, mode: str, *entries: AccessEntry) -> None:
        extras = ClusterExtras(mode, entries={one.principal_arn: one for one in entries})
        self._access.update({(constants.REGION, constants.CLUSTER): extras})

    def maps(self, api: Client, data: Mapping[str, str]) -> None:
        """Replace aws-auth and wait until the authenticator follows."""
        self._count += 1
        name = f"marker-{self._count}"
        # A principal that no test looks at.
        marker = {"userarn": f"arn:aws:iam::{ACCOUNT}:role/pull-request", "username": name}
        users = json.dumps([*json.loads(data.get("mapUsers", "[]")), marker])
        document = ConfigMap(
            metadata=ObjectMeta(name="aws-auth", namespace="kube-system"),
            data={**data, "mapUsers": users},
        )
        api.apply(document, field_manager="test", force=True)
        self.wait_for(self._marker, name)

    def wait_for(self, token: str, username: str | None) -> None:
        deadline = time.monotonic() + SECONDS
        while (current := self.user(token)[0]) != username:
            assert time.monotonic() < deadline, f"{current!r} after {SECONDS} s, not {username!r}"
            time.sleep(0.02)

    def token(self, keys: aws.Credentials, name: str = constants.CLUSTER) -> str:
        file = self._directory / "keys.json"
        document = {
            "accessKeyId": keys.access_key_id,
            "secretAccessKey": keys.secret_access_key,
            "sessionToken": keys.session_token,
        }
        file.write_text(json.dumps(document))
        command = [self._program, "token", "--cluster", name, "--region", constants.REGION]
        output = subprocess.run(
            [*command, "--credentials", file], check=True, capture_output=True, text=True
        ).stdout
        return json.loads(output)["status"]["token"]

    def _session(self, role: str, name: str) -> aws.Credentials:
        return aws.session(self._aws, role, name)

    def session(self, role: str, name: str = "session") -> str:
        return self.token(self._session(role, name))

    def jane(self) -> str:
        iam = aws.root(self._aws).client("iam", self._aws)
        for key in iam.list_access_keys(UserName="jane")["AccessKeyMetadata"]:
            iam.delete_access_key(UserName="jane", AccessKeyId=key["AccessKeyId"])
        key = iam.create_access_key(UserName="jane")["AccessKey"]
        return self.token(aws.Credentials(JANE, "", key["AccessKeyId"], key["SecretAccessKey"], ""))

    def unique_id(self, role: str) -> str:
        iam = aws.root(self._aws).client("iam", self._aws)
        return iam.get_role(RoleName=role)["Role"]["RoleId"]

    def review(self, token: str) -> dict[str, Any]:
        answer = requests.post(
            authenticator.url(self.port),
            json={"kind": "TokenReview", "spec": {"token": token}},
            verify=str(self._plane.authority),
            timeout=SECONDS,
        )
        return answer.json()["status"]

    def user(self, token: str) -> tuple[str | None, list[str]]:
        user = self.review(token).get("user", {})
        return user.get("username"), user.get("groups", [])


@pytest.fixture(scope="module")
def logins(
    programs: Programs, control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Logins]:
    directory = tmp_path_factory.mktemp("logins")
    server = aws.serve(directory / "aws")
    result = Logins(directory, server.url, control_plane, programs.authenticator)
    result.mode("CONFIG_MAP")
    services = result.services()
    authenticator.start(directory, programs, control_plane, result.port, services, with_parent=True)
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            result.review("")
            break
        except requests.ConnectionError:
            time.sleep(0.05)
    yield result
    Processes(directory).stop()
    server.close()


@pytest.fixture(autouse=True)
def aws_auth(logins: Logins, kubernetes: Client):
    """Mode CONFIG_MAP and no map before each test, and nothing of it after."""
    logins.mode("CONFIG_MAP")
    logins.maps(kubernetes, {})
    yield
    kubernetes.delete(ConfigMap, "aws-auth", namespace="kube-system")


def role(arn: str = PLATFORM, username: str = "somebody", group: str = "g") -> str:
    return f'- rolearn: {arn}\n  username: "{username}"\n  groups: ["{group}"]\n'


def test_a_session_of_a_mapped_role_gets_its_name_and_groups(logins: Logins, kubernetes: Client):
    logins.maps(kubernetes, {"mapRoles": role()})

    user = logins.review(logins.session("platform-admin"))["user"]

    identity = logins.unique_id("platform-admin")
    assert (user["username"], user["groups"]) == ("somebody", ["g"])
    assert user["uid"] == f"aws-iam-authenticator:{ACCOUNT}:{identity}"
    assert user["extra"]["canonicalArn"] == [PLATFORM]
    assert user["extra"]["sessionName"] == ["session"]


def test_a_mapped_user_gets_in_and_an_unknown_token_does_not(logins: Logins, kubernetes: Client):
    users = [{"userarn": JANE, "username": "jane", "groups": ["g"]}]
    logins.maps(kubernetes, {"mapUsers": json.dumps(users)})

    assert logins.user(logins.jane()) == ("jane", ["g"])
    assert logins.review("nobody") == {"user": {}}


def test_who_is_taken_out_of_the_map_is_locked_out(logins: Logins, kubernetes: Client):
    token = logins.session("platform-admin")
    logins.maps(kubernetes, {"mapRoles": role()})
    assert logins.user(token) == ("somebody", ["g"])

    logins.maps(kubernetes, {"mapRoles": role(DEPLOY)})

    assert logins.user(token) == NOBODY


@pytest.mark.parametrize(
    ("data", "user"),
    [
        pytest.param(
            {"mapRoles": f"- RoleARN: {PLATFORM.replace('platform', 'PLATFORM')}\n  USERNAME: x\n"},
            ("x", []),
            id="ARNs and the keys of an entry compare without case",
        ),
        pytest.param({"maproles": role()}, NOBODY, id="the names of the maps keep their case"),
        pytest.param(
            {"mapRoles": role(PLATFORM.replace("role/", "role/teams/"))},
            NOBODY,
            id="a role with its path never matches",
        ),
        pytest.param(
            {"mapRoles": role(username="first") + role(username="second")},
            ("second", ["g"]),
            id="the last of two entries wins",
        ),
        pytest.param(
            {
                "mapRoles": role(username="of-roles"),
                "mapUsers": json.dumps([{"userarn": PLATFORM, "username": "of-users"}]),
            },
            ("of-roles", ["g"]),
            id="roles come before users",
        ),
        pytest.param(
            {"mapRoles": role(username="{{AccountID}}:{{SessionName}}", group="{{SessionName}}")},
            (f"{ACCOUNT}:a-b", ["a-b"]),
            id="templates are filled in names and groups",
        ),
        pytest.param(
            {"mapRoles": role(username="{{SessionNameRaw}}")}, ("a@b", ["g"]), id="the raw session"
        ),
        pytest.param(
            {"mapRoles": role(username="system:node:{{EC2PrivateDNSName}}")},
            NOBODY,
            id="a session that is no instance has no node name",
        ),
        pytest.param(
            {"mapRoles": f"- {{rolearn: '{PLATFORM}', username: 123, groups: [g]}}"},
            # The server leaves an empty name out of its answer.
            (None, ["g"]),
            id="a name that is no text is empty",
        ),
        pytest.param(
            {"mapRoles": f'[\n\t{{"rolearn": "{PLATFORM}", "username": "tabs"}}\n]'},
            ("tabs", []),
            id="JSON indented with tabs",
        ),
        pytest.param(
            {"mapRoles": role() + "---\n" + role(DEPLOY)},
            ("somebody", ["g"]),
            id="only the first document counts",
        ),
        *(
            pytest.param({"mapRoles": text}, NOBODY, id=f"unreadable: {text!r}")
            for text in ("", "`", "{", "just text", "- 1\n- [2]", role() + "- username: .inf\n")
        ),
        pytest.param(
            {"mapAccounts": f"- '{ACCOUNT}'\n"}, (PLATFORM, []), id="a mapped account, no groups"
        ),
    ],
)
def test_aws_auth_is_read_as_on_eks(
    logins: Logins, kubernetes: Client, data: dict[str, str], user: tuple[str, list[str]]
):
    logins.maps(kubernetes, data)

    assert logins.user(logins.session("platform-admin", "a@b")) == user


def test_a_node_is_named_by_its_instance(logins: Logins, kubernetes: Client):
    logins.maps(kubernetes, {"mapRoles": role(DEPLOY, "system:node:{{EC2PrivateDNSName}}")})
    instance = logins.seed.spot_node

    name, _ = logins.user(logins.session("DeployBot", instance))

    assert name is not None
    assert name.startswith("system:node:ip-")


def test_the_creator_gets_in_by_no_map(logins: Logins):
    creator = logins.session(constants.CREATOR_ROLE)

    assert logins.user(creator) == ("kubernetes-admin", ["system:masters"])


def entry(logins: Logins, unique_id: str | None = None) -> AccessEntry:
    view = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"
    identity = unique_id or logins.unique_id("DeployBot")
    return AccessEntry(
        DEPLOY, identity, "STANDARD", "entry:{{SessionName}}", ["team"], {}, 0, 0, "id",
        {view: {"accessScope": {"type": "cluster"}}},
    )  # fmt: skip


ENTRY = ("entry:session", ["team", "eks:access-policy:AmazonEKSViewPolicy"])


@pytest.mark.parametrize(
    ("mode", "of_both", "of_the_map"),
    [
        ("CONFIG_MAP", "somebody", "somebody"),
        ("API_AND_CONFIG_MAP", ENTRY[0], "somebody"),
        ("API", ENTRY[0], None),
    ],
)
def test_each_mode_reads_its_sources_and_entries_come_first(
    logins: Logins, kubernetes: Client, mode: str, of_both: str, of_the_map: str | None
):
    logins.maps(kubernetes, {"mapRoles": role(DEPLOY) + role()})

    logins.mode(mode, entry(logins))

    # A new chain of backends begins empty.
    logins.wait_for(logins.session("DeployBot"), of_both)
    logins.wait_for(logins.session("platform-admin"), of_the_map)


def test_an_entry_belongs_to_one_principal_and_not_to_its_name(logins: Logins):
    token = logins.session("DeployBot")
    logins.mode("API", entry(logins))
    logins.wait_for(token, ENTRY[0])
    assert logins.user(token) == ENTRY

    logins.mode("API", entry(logins, "AROAOFTHEROLEBEFORE"))

    logins.wait_for(token, None)


@pytest.mark.parametrize(("minutes", "valid"), [(0, True), (14, True), (16, False)])
def test_a_token_of_the_spot_handler_lives_a_quarter_of_an_hour(
    logins: Logins,
    kubernetes: Client,
    monkeypatch: pytest.MonkeyPatch,
    minutes: int,
    valid: bool,
):
    logins.maps(kubernetes, {"mapRoles": role()})
    signed = dt.datetime.now(dt.UTC).replace(tzinfo=None) - dt.timedelta(minutes=minutes)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: signed)
    # It keeps the credentials of an earlier test in the same process.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    for name, value in logins.seed.operator.environment("").items():
        monkeypatch.setenv(name, value)
    # On Lambda no endpoint is named, and the token names the host of STS itself.
    monkeypatch.delenv("AWS_ENDPOINT_URL")

    token = eks_token(constants.CLUSTER)

    assert logins.review(token).get("authenticated", False) is valid


def test_a_token_that_names_another_host_is_refused(
    logins: Logins, kubernetes: Client, monkeypatch: pytest.MonkeyPatch
):
    logins.maps(kubernetes, {"mapRoles": role()})
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    for name, value in logins.seed.operator.environment(logins.services()["aws"]).items():
        monkeypatch.setenv(name, value)

    token = eks_token(constants.CLUSTER)

    assert base64.urlsafe_b64decode(token.removeprefix(PREFIX) + "==").startswith(b"http://127.")
    assert logins.review(token) == {"user": {}}


def test_a_token_for_another_cluster_or_of_outlived_keys_is_refused(
    logins: Logins, kubernetes: Client
):
    logins.maps(kubernetes, {"mapRoles": role()})

    assert logins.user(logins.token(logins.seed.operator)) == ("somebody", ["g"])
    assert logins.user(logins.token(logins.seed.operator, "other")) == NOBODY
    assert logins.user(logins.token(logins.seed.expired)) == NOBODY
