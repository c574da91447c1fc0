"""Killed runs on the real engine, put in order again."""

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from castai_stack.castai.client import CastaiApi
from castai_stack.commands import killed_engine
from castai_stack.naming import CLUSTER_TAG
from sandbox import aws
from sandbox.castai import API_KEY, serve
from sandbox.engine import program_folder
from sandbox.engine.stack import REPOSITORY, OperationError, Stack
from sandbox.proofs.secret_search import SecretSearch
from tests.support.castai import QUICK, StubCloud

pytestmark = pytest.mark.sandbox

PROGRAM = """
import json

import pulumi
import pulumi_aws as aws

from castai_stack.castai.resources import ClusterRegistration, HandOver
from castai_stack.plugin.custom_resource import CastaiProvider

provider = aws.Provider(
    "aws",
    region="eu-central-1",
    allowed_account_ids=["012345678901"],
    default_tags={"tags": {"castai-eks:cluster": "demo"}},
)
options = pulumi.ResourceOptions(provider=provider)
# Address and key come from the environment.
castai = CastaiProvider(
    "castai", api_url="https://api.cast.ai", api_key=None, kubeconfig="ambient", context=None
)
trust = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "ec2.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}
registration = ClusterRegistration(
    "registration",
    cluster_name="demo",
    region="eu-central-1",
    account_id="012345678901",
    opts=pulumi.ResourceOptions(provider=castai),
)
role = aws.iam.Role(
    "role", name="cast-demo-eks-3f2b8a4c", assume_role_policy=json.dumps(trust), opts=options
)
user = aws.iam.User(
    "user",
    name="cast-eks-demo",
    opts=pulumi.ResourceOptions(provider=provider, depends_on=[role]),
)
key = aws.iam.AccessKey("key", user=user.name, opts=options)
HandOver(
    "hand-over",
    cluster_id=registration.id,
    mode="user",
    access_key_id=key.id,
    secret_access_key=key.secret,
    opts=pulumi.ResourceOptions(provider=castai),
)
"""

NUMBERS = {
    "CreateRole": 1,
    "CreateUser": 2,
    "CreateAccessKey": 3,
    "RegisterCluster": 1,
    "UpdateCluster": 2,
}
"""Which write of an `up` each is, at its server."""


class Life:
    """One stack over an account and a service, and the commands that work on it."""

    def __init__(self, directory, programs, castai):
        self.aws = aws.serve(directory / "aws")
        self.castai = castai
        operator = aws.seed(self.aws.url).operator
        self.iam = operator.client("iam", self.aws.url)
        program = directory / "program"
        program.mkdir()
        (program / "__main__.py").write_text(PROGRAM)
        program_folder.write(directory / "bin", programs)
        self.output = ""
        self.stack = Stack(
            directory,
            {
                "AWS_ENDPOINT_URL": self.aws.url,
                "AWS_ACCESS_KEY_ID": operator.access_key_id,
                "AWS_SECRET_ACCESS_KEY": operator.secret_access_key,
                "AWS_SESSION_TOKEN": operator.session_token,
                "CASTAI_API_URL": castai.url,
                "CASTAI_API_KEY": API_KEY,
            },
            program=program / "__main__.py",
        )

    def killed(self, operation, server, action, number=None):
        """Run an operation whose engine dies the moment that `action` was carried out."""
        running = self.stack.begin(operation)
        after = number or NUMBERS[action]
        rule = {"after": after, "pid": running.group, "writes_only": True}
        answer = requests.put(f"{server}/_sandbox/faults", json={"kill": rule}, timeout=10)
        assert answer.status_code == 200, answer.text
        with pytest.raises(OperationError):
            running.result()
        requests.delete(f"{server}/_sandbox/faults", timeout=10)
        log = requests.get(f"{server}/_sandbox/requests", timeout=10).json()["log"]
        writes = [entry["action"] for entry in log if entry["write"]]
        assert writes[-1] == action, f"killed after {writes[-1]}"

    def recover(self, *more):
        done = subprocess.run(
            [sys.executable, "-m", "castai_stack", "recover", "--stack", "dev", *more],
            cwd=self.stack.work,
            env=self.stack.process_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        self.output += done.stdout + done.stderr
        return done

    def plugin_without_engine(self):
        """Start a plugin that stays; the real ones may notice by themselves that they are alone."""
        words = [sys.executable, "-c", "import time; time.sleep(600)", "pulumi-resource-double"]
        environment = {**self.stack.process_environment(), "PULUMI_PROJECT": killed_engine.PROJECT}
        plugin = subprocess.Popen(
            words, cwd=self.stack.work, env=environment, start_new_session=True
        )
        threading.Thread(target=plugin.wait, daemon=True).start()
        return plugin.pid

    def orphans(self):
        backend = self.stack.process_environment()[killed_engine.BACKEND]
        return killed_engine.orphans(self.stack.work, backend)

    def key_ids(self):
        return [
            key["AccessKeyId"]
            for key in self.iam.list_access_keys(UserName="cast-eks-demo")["AccessKeyMetadata"]
        ]

    def left(self):
        names = [user["UserName"] for user in self.iam.list_users()["Users"]]
        names += [role["RoleName"] for role in self.iam.list_roles()["Roles"]]
        return [name for name in names if name.startswith("cast-")]


@pytest.fixture
def life(tmp_path, programs):
    castai = serve(tmp_path / "castai", "http://127.0.0.1:1", options=QUICK)
    castai.service.cloud = StubCloud()
    result = Life(tmp_path, programs, castai)
    yield result
    for pid, _ in result.orphans():
        killed_engine.end(pid)
    search = SecretSearch(tmp_path, aws_url=result.aws.url, castai_url=castai.url)
    plain = search.plain({"what recovery said": result.output})
    castai.close()
    result.aws.close()
    assert plain == []


@pytest.mark.parametrize(
    ("action", "messages"),
    [
        ("CreateUser", "user (aws:iam/user:User): taken into the state as cast-eks-demo"),
        ("CreateAccessKey", "of cast-eks-demo: its secret is lost; deleted"),
    ],
)
def test_what_aws_made_before_the_state_knew_is_taken_in_or_taken_away(life, action, messages):
    life.killed("up", life.aws.url, action)
    plugin = life.plugin_without_engine()
    assert (plugin, "pulumi-resource-double") in life.orphans()
    done = life.recover()
    assert done.returncode == 0, done.stderr
    assert messages in done.stdout
    assert life.orphans() == [], "a plugin without an engine runs on"
    life.stack.up()
    assert len(life.key_ids()) == 1
    assert life.stack.preview().empty
    life.stack.destroy()
    assert life.left() == []


@pytest.mark.parametrize(
    ("action", "then"),
    [
        pytest.param("RegisterCluster", "destroy", marks=pytest.mark.exhaustive),
        pytest.param("UpdateCluster", "destroy", marks=pytest.mark.exhaustive),
        ("UpdateCluster", "up"),
    ],
)
def test_what_castai_heard_before_the_state_knew_is_no_obstacle(life, action, then):
    life.killed("up", life.castai.url, action)
    done = life.recover()
    assert done.returncode == 0, done.stderr
    if then == "up":
        life.stack.up()
        assert life.stack.preview().empty
    life.stack.destroy()
    assert life.left() == []
    assert CastaiApi(life.castai.url, API_KEY).list_clusters() == []


def test_an_interrupted_update_of_the_hand_over_can_be_destroyed(life):
    life.stack.up()
    program = life.stack.program
    program.write_text(program.read_text().replace('AccessKey("key"', 'AccessKey("another-key"'))
    life.killed("up", life.castai.url, "UpdateCluster", 1)
    done = life.recover()
    assert "the interrupted hand-over counts as this stack's own" in done.stdout
    life.stack.destroy()
    assert life.left() == []
    assert CastaiApi(life.castai.url, API_KEY).list_clusters() == []


@pytest.mark.parametrize(
    "query", ["", pytest.param("?metadata=skip", marks=pytest.mark.exhaustive)]
)
def test_a_state_whose_attributes_are_half_written_is_readable_again(life, query):
    life.stack.up()
    backend = {"PULUMI_BACKEND_URL": f"file://{life.stack.backend}{query}"}
    life.stack = replace(life.stack, environment={**life.stack.environment, **backend})
    [attributes] = (life.stack.backend / ".pulumi" / "stacks").rglob("dev.json.attrs")
    attributes.write_text("")
    with pytest.raises(OperationError, match="EOF"):
        life.stack.export()
    assert "half written" in life.recover("--dry-run").stderr
    done = life.recover()
    assert done.returncode == 0, done.stderr
    assert life.stack.preview().empty


@pytest.mark.exhaustive
def test_a_dry_run_changes_nothing_and_foreign_keys_are_left_alone(life):
    life.killed("up", life.aws.url, "CreateAccessKey")
    life.iam.create_user(UserName="cast-eks-other", Tags=[{"Key": CLUSTER_TAG, "Value": "other"}])
    life.iam.create_access_key(UserName="cast-eks-other")
    before = life.stack.export()
    done = life.recover("--dry-run")
    assert done.returncode == 0, done.stderr
    assert life.stack.export() == before
    assert len(life.key_ids()) == 1
    assert life.recover().returncode == 0
    assert life.key_ids() == []
    assert life.iam.list_access_keys(UserName="cast-eks-other")["AccessKeyMetadata"]


@pytest.mark.exhaustive
def test_a_key_made_outside_is_reported_and_left_alone_unless_named(life):
    life.stack.up()
    outside = life.iam.create_access_key(UserName="cast-eks-demo")["AccessKey"]["AccessKeyId"]
    done = life.recover()
    assert f"access key {outside} of cast-eks-demo is not this stack's" in done.stdout
    assert outside in life.key_ids()
    assert life.recover("--delete-key", outside).returncode == 0
    assert outside not in life.key_ids()
    assert life.stack.preview().empty


def test_credentials_of_another_account_recover_nothing(life):
    life.stack.up()
    file = life.stack.stack_file
    changed = Path(life.stack.directory / "other.yaml")
    changed.write_text(file.read_text().replace("012345678901", "999999999999"))
    life.stack.stack_file = changed
    life.stack.pulumi("stack", "ls")
    done = life.recover()
    assert done.returncode == 2
    assert done.stderr == (
        "recover: the AWS credentials are for account 012345678901, the cluster is in "
        "999999999999; use credentials of that account\n"
    )


def test_a_live_engine_is_named_and_left_alone(life):
    running = life.stack.begin("up")
    locks = life.stack.backend / ".pulumi" / "locks"
    while not list(locks.rglob("*.json")):
        assert not running.ended(0.05), running.output
    # Otherwise the engine could end before the command looks for it.
    os.killpg(running.group, signal.SIGSTOP)
    refused = life.recover()
    os.killpg(running.group, signal.SIGCONT)
    running.result()

    assert refused.returncode == 1
    assert "an engine of this project is alive: `pulumi up`, process " in refused.stderr
    assert life.stack.preview().empty


@pytest.mark.exhaustive
def test_an_encrypted_value_among_the_settings_is_no_obstacle(life):
    life.killed("up", life.aws.url, "CreateUser")
    certificate = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"
    path = "castai-eks:castai.agent.trustedCaCertificate"
    life.stack.pulumi(
        "config", "set", "--stack", "dev", "--secret", "--path", path, "--", certificate
    )
    # The stack writes its file anew before a command, which would take the value out again.
    done = life.recover()
    assert done.returncode == 0, done.stderr
    assert "taken into the state as cast-eks-demo" in done.stdout


def test_help_names_every_option_and_needs_no_cloud():
    done = subprocess.run(
        [sys.executable, "-m", "castai_stack", "recover", "--help"],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    for option in ("--stack", "--cwd", "--delete-key", "--dry-run"):
        assert option in done.stdout
