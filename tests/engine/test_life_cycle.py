"""One stack through its life on the real engine: each test begins where the one before ended.

What a test changes outside of the stack, it puts back; rotations only count upwards.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests
from lightkube import codecs
from lightkube.resources.rbac_authorization_v1 import ClusterRole, ClusterRoleBinding

from castai_stack.config import stack_file
from castai_stack.config.validation import validate
from castai_stack.permissions import operator, operator_kubernetes
from sandbox.castai import API_KEY
from sandbox.constants import READ_ONLY_GROUP, REGION
from sandbox.engine.stack import OperationError
from sandbox.kubernetes.furnished import aws_auth
from sandbox.proofs.secret_search import SecretSearch
from sandbox.session import Sandbox
from tests.support.life import SECONDS, Life, operations, require_empty

pytestmark = pytest.mark.sandbox

ACCOUNT = "012345678901"
USER = "cast-eks-demo"
FUNCTION = "cast-ai-ec2-events-handler-demo"
LAMBDA_ROLE = "CastLambdaRoleForSpot-demo"
READER = "pull-request"
READING = "arn:aws:iam::aws:policy/ReadOnlyAccess"
EDIT = f"""\
# Friday: Kim may look, too
- rolearn: "arn:aws:iam::{ACCOUNT}:role/Kim"
  username: kim
"""


@pytest.fixture(scope="module")
def life(sandbox: Sandbox) -> Iterator[Life]:
    """The stack in user mode, made from nothing; its destroy leaves the cluster as it was."""
    life = Life(sandbox, "life")
    stack = life.stack()
    with life.writing_nothing():
        preview = stack.preview()
    result = stack.up()
    assert operations(result) == operations(preview), "the preview promised something else"
    yield life
    life.stack().destroy()
    assert audit(life) == (0, "0 leftovers")
    assert life.map_roles() == aws_auth(ACCOUNT)["mapRoles"], "foreign text of aws-auth changed"


def audit(life: Life) -> tuple[int, str]:
    """Run the audit as a person does; return its status and how many leftovers it counts."""
    stack = life.stack()
    done = subprocess.run(
        [sys.executable, "-m", "castai_stack", "audit", f"Pulumi.{stack.name}.yaml"],
        cwd=stack.work,
        env={**stack.process_environment(), "CASTAI_API_KEY": API_KEY},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    counted = re.search(r"^audit: (\d+ leftovers) of", done.stdout, re.MULTILINE)
    assert counted, done.stdout + done.stderr
    return done.returncode, counted[1]


def test_the_audit_lists_what_there_is(life: Life):
    status, count = audit(life)
    assert status == 1
    assert int(count.split()[0]) > 30


def test_a_second_preview_and_a_second_up_change_nothing(life: Life):
    with life.writing_nothing():
        preview = life.stack().preview()
    require_empty([preview, life.stack().up()])


@contextmanager
def the_least(life: Life) -> Iterator[None]:
    """Leave the reader with the documents that this program prints for a preview, no more."""
    settings = validate(
        {"cluster": {"name": "demo", "region": REGION, "accountId": ACCOUNT}},
        stack_file.KEY,
    )
    role = operator_kubernetes.cluster_role(
        operator_kubernetes.kubernetes_requirements(settings, aws_auth=True), apply=False
    )
    policy = operator.policy(operator.requirements(settings, access_entries=False), apply=False)
    iam = life.aws("iam")
    iam.put_role_policy(RoleName=READER, PolicyName="preview", PolicyDocument=json.dumps(policy))
    iam.detach_role_policy(RoleName=READER, PolicyArn=READING)
    with life.kubernetes() as client:
        before = client.get(ClusterRoleBinding, "platform-read-only")
        client.create(codecs.from_dict(role))
        client.delete(ClusterRoleBinding, "platform-read-only")
        client.create(binding(role["metadata"]["name"]))
        try:
            yield
        finally:
            client.delete(ClusterRoleBinding, "platform-read-only")
            client.create(binding(before.roleRef.name))
            client.delete(ClusterRole, role["metadata"]["name"])
            iam.attach_role_policy(RoleName=READER, PolicyArn=READING)
            iam.delete_role_policy(RoleName=READER, PolicyName="preview")


def binding(role: str):
    group = "rbac.authorization.k8s.io"
    return codecs.from_dict(
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "platform-read-only"},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": group, "kind": "Group", "name": READ_ONLY_GROUP}],
        }
    )


def test_a_pull_request_previews_with_nothing_but_the_documents_for_a_preview(life: Life):
    with the_least(life), life.writing_nothing():
        same = life.stack(who="reader").preview()
        other = life.stack(who="reader", agent__cpuRequest="200m").preview()

    require_empty([same])
    assert operations(other) == {"agent-deployment": "update", "agent-rollout": "update"}
    assert "can preview but not apply" in other.output


def test_a_caller_who_may_not_ask_what_it_may_do_is_warned_and_goes_on(life: Life):
    denied = {"action": "iam:SimulatePrincipalPolicy", "status": 403, "code": "AccessDenied"}
    faults = f"{life.sandbox.aws_url}/_sandbox/faults"
    requests.put(faults, json={"rules": [denied]}, timeout=SECONDS).raise_for_status()
    try:
        relying = life.stack().preview()
        asking = life.stack(preflight__permissionAnswerHours=0).preview()
    finally:
        requests.delete(faults, timeout=SECONDS).raise_for_status()

    require_empty([relying, asking])
    assert "AWS permissions were complete 0.0 hours ago" in relying.output
    assert "AWS permissions were not checked for" in asking.output


def test_drift_is_found_and_repaired_and_other_peoples_text_stays(life: Life):
    iam, functions = life.aws("iam"), life.aws("lambda")
    permissions = json.loads(functions.get_policy(FunctionName=FUNCTION)["Policy"])["Statement"]
    functions.remove_permission(FunctionName=FUNCTION, StatementId=permissions[0]["Sid"])
    trust = iam.get_role(RoleName=LAMBDA_ROLE)["Role"]["AssumeRolePolicyDocument"]
    foreign = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": ACCOUNT}}
    wider = {**trust, "Statement": [*trust["Statement"], foreign]}
    iam.update_assume_role_policy(RoleName=LAMBDA_ROLE, PolicyDocument=json.dumps(wider))
    theirs = EDIT + aws_auth(ACCOUNT)["mapRoles"]
    life.write_map_roles(theirs)
    try:
        result = life.stack().refresh()
        repaired = life.stack().up()
        mapped = life.map_roles()
    finally:
        life.write_map_roles(life.map_roles().replace(EDIT, ""))

    drift = {s.name for s in result.steps if s.operation not in {"same", "refresh"}}
    assert drift == set(operations(repaired)), "what drifted is what is repaired"
    assert {"spot-role", "access-node-role"} <= drift
    after = json.loads(functions.get_policy(FunctionName=FUNCTION)["Policy"])["Statement"]
    assert len(after) == len(permissions)
    assert iam.get_role(RoleName=LAMBDA_ROLE)["Role"]["AssumeRolePolicyDocument"] == trust
    assert mapped.startswith(theirs), "the other person's text is not as it was left"
    assert f"role/cast-demo-eks-{life.castai()['id'][:8]}" in mapped


def keys(life: Life) -> dict[str, str]:
    result = life.aws("iam").list_access_keys(UserName=USER)["AccessKeyMetadata"]
    return {key["AccessKeyId"]: key["Status"] for key in result}


def test_a_key_that_somebody_else_made_is_told_and_left_alone(life: Life):
    iam = life.aws("iam")
    assert "outside of the stack" not in life.stack().preview().output
    theirs = iam.create_access_key(UserName=USER)["AccessKey"]["AccessKeyId"]
    try:
        preview = life.stack().preview()
        assert keys(life)[theirs] == "Active"
    finally:
        iam.delete_access_key(UserName=USER, AccessKeyId=theirs)
    require_empty([preview])
    messages = [line for line in preview.output.splitlines() if "outside of the stack" in line]
    assert messages
    assert all(theirs in line for line in messages)


def test_keys_rotate_one_after_the_other_and_castai_uses_the_new_one(life: Life):
    (first,) = keys(life)
    with pytest.raises(OperationError, match="it may stay or rise by one"):
        life.stack(credentials__rotation="2").preview()
    assert keys(life) == {first: "Active"}, "a refused jump deleted the key in use"

    key_ids = [first]
    for generation in ("1", "2"):
        life.base["credentials.rotation"] = generation
        with life.access_without_interruption():
            life.stack().up()
        current = life.stack().outputs(show_secrets=True)["access_key_id"]
        assert current not in key_ids
        assert keys(life) == {current: "Active", key_ids[-1]: "Inactive"}
        assert life.castai()["accessKeyId"] == current, "CAST AI was not handed the new key"
        key_ids.append(current)
    require_empty([life.stack().preview()])


def test_what_castai_holds_changes_in_place_and_it_is_never_without_access(life: Life):
    at_first = life.castai()
    others = {"credentials.mode": "role"}, {}
    base = dict(life.base)
    for more in others:
        life.base = base | more
        preview = life.stack().preview()
        with life.access_without_interruption():
            life.stack().up()
        planned = operations(preview)
        assert planned.get("hand-over", "update") == "update", planned
        replaced = [name for name, operation in planned.items() if "replace" in operation]
        assert not replaced, "an object in use must not be replaced"
        again = life.stack().preview()
        require_empty([again])

    now = life.castai()
    assert now["id"] == at_first["id"], "the cluster was registered anew"
    # To the role; from the role back to a user.
    assert now["handOvers"] == at_first["handOvers"] + 2
    assert not [line for line in now["log"] if "disconnect" in line or "no access" in line]


def test_going_to_none_is_refused_without_a_switch(life: Life):
    with (
        life.writing_nothing(),
        pytest.raises(OperationError, match=r"set api\.allowDisconnect to true"),
    ):
        life.stack(credentials__mode="none").up()

    assert life.castai()["status"] == "ready"


def test_no_secret_is_anywhere_in_plain(life: Life):
    messages = {
        "export": json.dumps(life.stack().export()),
        "outputs": json.dumps(life.stack().outputs()),
    }
    for name in ("access_key_id", "secret_access_key"):
        assert life.stack().outputs()[name] == "[secret]"
    sandbox = life.sandbox
    search = SecretSearch.over(sandbox)

    printed = (sandbox.directory / "logs" / "operations.log").read_text()
    assert "spot-function" in printed, "what operations print is not searched"
    assert len(search.secrets()) >= 5, "the API key, the token and every generation of keys"
    assert search.plain(messages) == []
