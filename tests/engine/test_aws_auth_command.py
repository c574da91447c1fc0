"""`python -m castai_stack aws-auth` on a real API server."""

import contextlib
import json

import pytest
from lightkube import ApiError
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap

from castai_stack.access import entries, writer
from castai_stack.access.entries import MASTERS, NODE_GROUPS, NODE_USERNAME
from castai_stack.access.protocol import COPY, EnsureEntry
from castai_stack.commands import aws_auth

pytestmark = pytest.mark.sandbox

ACCOUNT = "012345678901"
NODES = entries.role(
    f"arn:aws:iam::{ACCOUNT}:role/cast-demo-eks-0f1e2d3c", NODE_USERNAME, NODE_GROUPS
)
FOREIGN = {
    "mapRoles": f"- rolearn: arn:aws:iam::{ACCOUNT}:role/admin\n  username: admin\n"
    f"  groups: [{MASTERS}]\n- sso: {{permissionSetName: Ops}}\n",
    "mapUsers": "a: b",
}


@pytest.fixture
def client(kubernetes):
    yield kubernetes
    for name in (entries.NAME, COPY):
        with contextlib.suppress(ApiError):
            kubernetes.delete(ConfigMap, name, namespace="kube-system")


def make(client, data, name=entries.NAME):
    metadata = ObjectMeta(name=name, namespace="kube-system")
    client.create(ConfigMap(metadata=metadata, data=data))


def data(client):
    return client.get(ConfigMap, entries.NAME, namespace="kube-system").data


@pytest.fixture
def run(control_plane, capsys):
    def command(*arguments):
        name, *rest = arguments
        status = aws_auth.main([name, "--kubeconfig", str(control_plane.kubeconfig), *rest])
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return command


def test_show_tells_ours_from_everybody_elses(client, run):
    make(client, FOREIGN)
    writer.write(client, EnsureEntry(NODES), ())

    status, message = run("show")

    version = client.get(ConfigMap, entries.NAME, namespace="kube-system").metadata.resourceVersion
    assert status == 0
    assert message.splitlines() == [
        f"kube-system/aws-auth: version {version}",
        "  mapRoles",
        f"    foreign  arn:aws:iam::{ACCOUNT}:role/admin is admin in [system:masters]",
        "    foreign  an entry by sso is left out by the authenticator",
        f"    own      {NODES.arn} is system:node:{{{{EC2PrivateDNSName}}}} "
        "in [system:bootstrappers, system:nodes]",
        "  mapUsers",
        "    kube-system/aws-auth: mapUsers must be a list of mappings, found a mapping",
        "copy: kube-system/castai-aws-auth-backup, the values from before this program's first entry",
        "caller: the API server knows no ARN",
    ]


def test_show_has_a_document_for_scripts(client, run):
    make(client, FOREIGN)
    writer.write(client, EnsureEntry(NODES), ())

    status, printed = run("show", "--format", "json")

    document = json.loads(printed)
    assert status == 0
    assert document["copy"] == "kept"
    assert [(one["arn"], one["own"]) for one in document["mapRoles"]] == [
        (f"arn:aws:iam::{ACCOUNT}:role/admin", False),
        (None, False),
        (NODES.arn, True),
    ]
    assert "must be a list" in document["mapUsers"]["error"]


@pytest.mark.usefixtures("client")
def test_show_says_when_there_is_nothing(run):
    assert run("show") == (
        0,
        "kube-system/aws-auth: does not exist\n"
        "copy: none; one is kept while entries of this program are in the map\n"
        "caller: the API server knows no ARN\n",
    )


def test_a_copy_without_entries_is_a_left_over(client, run):
    make(client, FOREIGN)
    make(client, FOREIGN, COPY)

    assert "left over from a run that was interrupted before its first entry" in run("show")[1]


def test_restore_shows_the_difference_and_writes_with_yes_only(client, run):
    make(client, FOREIGN)
    writer.write(client, EnsureEntry(NODES), ())
    before = data(client)

    status, message = run("restore")
    assert status == 0
    assert f"-- rolearn: {NODES.arn}" in message.splitlines()
    assert message.endswith("nothing was written; repeat with --yes to put the copy back\n")
    assert data(client) == before

    status, message = run("restore", "--yes")
    assert (status, message.splitlines()[-1]) == (
        0,
        "kube-system/aws-auth is as it was before this program's first entry, and the copy is "
        "deleted; run `pulumi refresh` to update the state",
    )
    assert data(client) == FOREIGN


def test_restore_without_a_copy_says_so(client, run):
    make(client, FOREIGN)

    assert run("restore", "--yes") == (
        1,
        "aws-auth restore: there is no copy to restore (kube-system/castai-aws-auth-backup): it exists while entries "
        "of this program are in the map, and goes with the last of them\n",
    )
    assert data(client) == FOREIGN


def test_restore_keeps_to_the_guards_too(client, run):
    make(client, {"mapRoles": ""})
    writer.write(client, EnsureEntry(NODES), ())
    admin = FOREIGN["mapRoles"]
    client.patch(ConfigMap, entries.NAME, {"data": {"mapRoles": admin}}, namespace="kube-system")

    status, message = run("restore", "--yes")
    assert status == 1
    assert "the last mapping to system:masters would vanish" in message
    assert data(client) == {"mapRoles": admin}

    assert run("restore", "--yes", "--override", "last-masters")[0] == 0
    assert data(client) == {"mapRoles": ""}


def test_a_cluster_that_cannot_be_reached_is_one_sentence(capsys):
    assert aws_auth.main(["show", "--kubeconfig", "/nowhere"]) == 2
    assert capsys.readouterr().err == (
        "aws-auth show: Kubernetes: cluster.kubeconfig: there is no file /nowhere; "
        "give the path of a kubeconfig, or `ambient` for the one of your shell\n"
    )


@pytest.mark.parametrize("arguments", [[], ["shout"], ["restore", "--forse"]])
def test_a_wrong_command_line_is_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        aws_auth.main(arguments)

    assert caught.value.code == 2
    assert "usage: python -m castai_stack aws-auth" in capsys.readouterr().err
