import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from werkzeug.test import Client as HttpClient

from sandbox.kubernetes import authenticator
from sandbox.kubernetes.authenticator import Access, AccessEntry, Authenticator, Principal
from sandbox.kubernetes.furnished import aws_auth

ACCOUNT = "012345678901"
OPERATOR = Principal(
    f"arn:aws:sts::{ACCOUNT}:assumed-role/platform-admin/session", "AROAX:session", ACCOUNT
)
JANE = Principal(f"arn:aws:iam::{ACCOUNT}:user/jane", "AIDAJ", ACCOUNT)
PRINCIPALS = {"operator": OPERATOR, "jane": JANE}
ENTRY = AccessEntry("AROAX", "admin:{{SessionName}}", ("team",), ())


def make(
    mode: str = "CONFIG_MAP",
    data: Mapping[str, str] | None = None,
    entries: Iterable[AccessEntry] = (),
    creator: str = "",
) -> Authenticator:
    return Authenticator(
        tokens=PRINCIPALS.get,
        identify=lambda _token: None,
        aws_auth=lambda: aws_auth(ACCOUNT) if data is None else data,
        mode=lambda: mode,
        access_entries=lambda: entries,
        creator=creator,
    )


def roles(*entries: str) -> dict[str, str]:
    return {"mapRoles": "\n".join(entries)}


def role(arn: str, username: str = "somebody", group: str = "g") -> str:
    return f"- rolearn: {arn}\n  username: {username}\n  groups: [{group}]"


def test_a_session_of_a_mapped_role_gets_its_name_and_groups():
    status = make().review("operator")

    assert status["authenticated"] is True
    assert status["user"]["username"] == "platform-admin"
    assert status["user"]["groups"] == ["system:masters"]
    assert status["user"]["uid"] == f"aws-iam-authenticator:{ACCOUNT}:AROAX"
    assert status["user"]["extra"] == {
        "arn": [OPERATOR.arn],
        "canonicalArn": [f"arn:aws:iam::{ACCOUNT}:role/platform-admin"],
        "principalId": ["AROAX"],
        "sessionName": ["session"],
    }


def test_a_mapped_user_gets_in_and_an_unknown_token_does_not():
    assert make().review("jane")["user"]["username"] == "jane"
    assert make().review("nobody") == {"authenticated": False}


def test_who_is_taken_out_of_the_map_is_locked_out():
    assert make(data={}).review("operator") == {"authenticated": False}


def test_arns_compare_without_case_and_so_do_the_keys_of_an_entry():
    text = f"- RoleARN: arn:aws:iam::{ACCOUNT}:role/PLATFORM-Admin\n  UserName: x\n  GROUPS: [g]"

    assert authenticator.from_aws_auth(roles(text), OPERATOR) == Access("x", ("g",))


def test_the_names_of_the_maps_keep_their_case():
    data = {"maproles": role(f"arn:aws:iam::{ACCOUNT}:role/platform-admin")}

    assert authenticator.from_aws_auth(data, OPERATOR) is None


def test_a_role_with_its_path_in_the_map_never_matches():
    data = roles(role(f"arn:aws:iam::{ACCOUNT}:role/teams/platform-admin"))

    assert authenticator.from_aws_auth(data, OPERATOR) is None


def test_the_last_of_two_entries_wins():
    arn = f"arn:aws:iam::{ACCOUNT}:role/platform-admin"
    data = roles(role(arn, "first"), role(arn.upper().replace("ARN:AWS", "arn:aws"), "second"))

    assert authenticator.from_aws_auth(data, OPERATOR) == Access("second", ("g",))


@pytest.mark.parametrize("text", ["", "`", "{", "just text", "- 1\n- [2]"])
def test_what_cannot_be_read_maps_nobody(text: str):
    assert authenticator.from_aws_auth({"mapRoles": text}, OPERATOR) is None


def test_a_mapped_account_lets_its_users_in_without_groups():
    data = {"mapAccounts": f"- {ACCOUNT}\n"}

    assert authenticator.from_aws_auth(data, JANE) == Access(JANE.arn, ())


def test_the_node_s_name_is_left_to_the_node():
    data = roles(role(f"arn:aws:iam::{ACCOUNT}:role/platform-admin", "n:{{EC2PrivateDNSName}}"))

    found = authenticator.from_aws_auth(data, OPERATOR)

    assert found == Access("n:{{EC2PrivateDNSName}}", ("g",))


def test_access_entries_count_in_their_modes_only_and_before_the_map():
    entries = [ENTRY]

    assert make("CONFIG_MAP", entries=entries).review("operator")["user"]["username"] == (
        "platform-admin"
    )
    for mode in ("API_AND_CONFIG_MAP", "API"):
        user = make(mode, entries=entries).review("operator")["user"]
        assert (user["username"], user["groups"]) == ("admin:session", ["team"])


def test_the_map_counts_beside_entries_but_not_in_api_mode():
    assert make("API_AND_CONFIG_MAP").review("operator")["authenticated"] is True
    assert make("API").review("operator") == {"authenticated": False}


def test_a_policy_of_an_entry_is_a_group():
    entry = AccessEntry("AROAX", "u", (), ("AmazonEKSViewPolicy",))

    user = make("API", entries=[entry]).review("operator")["user"]

    assert user["groups"] == ["eks:access-policy:AmazonEKSViewPolicy"]


def test_a_role_that_was_made_again_is_another_one():
    entry = AccessEntry("AROAOLD", "u", (), ())

    assert make("API", entries=[entry]).review("operator") == {"authenticated": False}


def test_the_creator_gets_in_without_being_written_anywhere():
    creator = f"arn:aws:iam::{ACCOUNT}:role/platform-admin"

    user = make(data={}, creator=creator).review("operator")["user"]

    assert user["groups"] == ["system:masters"]


def test_the_webhook_answers_a_token_review():
    review = {"apiVersion": "authentication.k8s.io/v1", "spec": {"token": "jane"}}

    answer = HttpClient(make().app()).post("/", data=json.dumps(review)).get_json()

    assert answer["kind"] == "TokenReview"
    assert answer["apiVersion"] == "authentication.k8s.io/v1"
    assert answer["status"]["user"]["username"] == "jane"


def test_a_presigned_address_of_another_server_is_never_called(monkeypatch: pytest.MonkeyPatch):
    def call(*_: Any, **__: Any) -> None:
        raise AssertionError("asked a server that is not the sandbox's AWS")

    monkeypatch.setattr(authenticator.requests, "get", call)
    address = b"https://sts.amazonaws.com/?Action=GetCallerIdentity"
    token = "k8s-aws-v1." + base64.urlsafe_b64encode(address).decode().rstrip("=")

    assert authenticator.presigned("http://127.0.0.1:5000", "demo")(token) is None
    assert authenticator.presigned("http://127.0.0.1:5000", "demo")("k8s-aws-v1.%%%") is None


def test_a_caller_is_read_from_json_and_from_xml():
    as_json = json.dumps({"UserId": "AIDAJ", "Account": ACCOUNT, "Arn": JANE.arn})
    as_xml = f"<a><Arn>{JANE.arn}</Arn><UserId>AIDAJ</UserId><Account>{ACCOUNT}</Account></a>"

    assert authenticator._caller(as_json) == JANE
    assert authenticator._caller(as_xml) == JANE
    assert authenticator._caller("<Error/>") is None
