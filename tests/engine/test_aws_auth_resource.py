"""The entry as a resource: the real engine and a real API server."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightkube import ApiError
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap

from castai_stack.access import entries as access_entries
from castai_stack.access.entries import MASTERS, NODE_GROUPS, NODE_USERNAME
from castai_stack.access.handlers import AwsAuthEntryHandler
from castai_stack.access.protocol import COPY
from castai_stack.kube.endpoint import KubeconfigError
from castai_stack.plugin.values import UNKNOWN
from tests.support.entry_stack import EntryStack
from tests.support.plugin import handler

pytestmark = pytest.mark.sandbox

ACCOUNT = "012345678901"
NODES: dict[str, Any] = {
    "kind": "role",
    "arn": f"arn:aws:iam::{ACCOUNT}:role/path/cast-demo-eks-0f1e2d3c",
    "username": NODE_USERNAME,
    "groups": NODE_GROUPS,
}
USER: dict[str, Any] = {
    "kind": "user",
    "arn": f"arn:aws:iam::{ACCOUNT}:user/cast-eks-demo",
    "username": "cast-eks-demo",
    "groups": [MASTERS],
}
MAPPED_ARN = f"arn:aws:iam::{ACCOUNT}:role/cast-demo-eks-0f1e2d3c"
FOREIGN = {
    "mapRoles": f"""\
# kept by the platform team
- rolearn: arn:aws:iam::{ACCOUNT}:role/platform-admin   # people
  username: admin
  groups: ["{MASTERS}"]
""",
    "mapUsers": f"- userarn: arn:aws:iam::{ACCOUNT}:user/ana\n  username: ana\n  groups: []",
}


class Map:
    """The live map, as somebody else sees and edits it."""

    def __init__(self, client):
        self.client = client

    def make(self, data):
        metadata = ObjectMeta(name=access_entries.NAME, namespace="kube-system")
        self.client.create(ConfigMap(metadata=metadata, data=data))

    def edit(self, **data):
        self.client.patch(ConfigMap, access_entries.NAME, {"data": data}, namespace="kube-system")

    def read(self, name=access_entries.NAME):
        try:
            return self.client.get(ConfigMap, name, namespace="kube-system")
        except ApiError as error:
            if error.status.code == 404:
                return None
            raise

    def roles(self):
        return yaml.safe_load(self.read().data["mapRoles"])


@pytest.fixture
def live(kubernetes):
    yield Map(kubernetes)
    for name in (access_entries.NAME, COPY):
        with contextlib.suppress(ApiError):
            kubernetes.delete(ConfigMap, name, namespace="kube-system")


@pytest.fixture
def entries(tmp_path, programs, control_plane):
    return EntryStack(tmp_path / "stack", programs, control_plane.kubeconfig)


@pytest.fixture
def provider(control_plane):
    """The resource without an engine: what it does is between it and the API server."""

    def configured(**inputs):
        kubeconfig = str(control_plane.kubeconfig)
        return handler(AwsAuthEntryHandler, **{"kubeconfig": kubeconfig, **inputs})

    return configured


def test_a_whole_life_under_the_engine_leaves_the_map_as_it_was(entries, live, control_plane):
    live.make(FOREIGN)
    both = {"nodes": NODES, "user": USER}

    assert entries.up(**both) == {"create": 4}
    result = live.read()
    assert result.data["mapRoles"].startswith(FOREIGN["mapRoles"])
    assert live.roles()[-1]["rolearn"] == MAPPED_ARN, "a role is mapped without its path"
    assert live.read(COPY).data == FOREIGN
    assert control_plane.token_of("admin") not in entries.state()
    assert entries.preview(**both) == {}, "a second preview is empty"

    entries.forget("AwsAuthEntry")
    assert entries.up(**both) == {"create": 2}, "after a crash it knows its own entries"
    version = result.metadata.resourceVersion
    assert live.read().metadata.resourceVersion == version, "there was nothing left to write"

    live.edit(mapRoles=result.data["mapRoles"].replace("# people", "# others"))
    entries.refresh()
    assert entries.preview(**both) == {}, "an edit of others is no drift"

    doubled = f"- {{rolearn: {MAPPED_ARN}, username: other}}\n"
    live.edit(mapRoles=live.read().data["mapRoles"] + doubled, mapUsers=FOREIGN["mapUsers"])
    entries.refresh()
    assert entries.up(**both) == {"update": 1, "create": 1}, "one was doubled, one taken out"
    assert [r["rolearn"] for r in live.roles()].count(MAPPED_ARN) == 1
    assert USER["arn"] in live.read().data["mapUsers"]

    both["nodes"] = {**NODES, "arn": f"arn:aws:iam::{ACCOUNT}:role/cast-demo-eks-renamed"}
    assert entries.up(**both) == {"update": 1}, "a renamed role moves its entry"
    assert [r["rolearn"].rpartition("/")[2] for r in live.roles()] == [
        "platform-admin",
        "cast-demo-eks-renamed",
    ]

    entries.destroy()
    after = live.read()
    assert after.data == {**FOREIGN, "mapRoles": FOREIGN["mapRoles"].replace("people", "others")}
    assert after.metadata.annotations is None
    assert live.read(COPY) is None


def test_a_deletion_under_the_engine_is_refused_in_words_and_allowed_by_the_provider(entries, live):
    live.make({"mapRoles": ""})
    entries.up(user=USER, nodes=NODES)

    message = entries.refusal("up", nodes=NODES)
    assert (
        "kube-system/aws-auth is left as it is: the last mapping to system:masters would" in message
    )
    assert "CASTAI_ACCESS_OVERRIDE=last-masters in the environment for `pulumi destroy`" in message
    assert USER["arn"] in live.read().data["mapUsers"]

    # What is deleted knows only its old inputs; the provider of this run reaches it all the same.
    entries.provider = {"override_guards": "last-masters"}
    entries.up(nodes=NODES)
    assert set(live.read().data) == {"mapRoles"}


def test_a_kubeconfig_with_a_secret_is_refused_without_printing_it(entries, live):
    secret = json.dumps({"users": [{"user": {"token": "hush-hush"}}]})

    entries.provider = {"kubeconfig": secret}
    message = entries.refusal("preview", nodes=NODES)

    assert "the text of this kubeconfig holds a secret, which the state would keep" in message
    assert "hush-hush" not in message
    assert live.read() is None


def test_only_what_the_entry_says_is_a_difference(provider):
    props = {**NODES}
    expected = {"rolearn": MAPPED_ARN, "username": NODE_USERNAME, "groups": list(NODE_GROUPS)}
    olds = {**props, "live": [expected]}
    diff = provider().diff

    for same in ({}, {"adopt": True}):
        assert diff("", olds, {**props, **same}).changes is False, same
    for other in ({"groups": ["x"]}, {"username": "x"}, {"arn": MAPPED_ARN + "x"}):
        assert diff("", olds, {**props, **other}).changes is True, other
    for unknown in ({"arn": UNKNOWN}, {"groups": [UNKNOWN]}, {"username": UNKNOWN}):
        result = diff("", olds, {**props, **unknown})
        assert (result.changes, result.replaces) == (True, []), "never replaced for an unknown"
    assert diff("", {**olds, "live": [expected, expected]}, props).changes is True
    assert diff("", olds, {**USER}).replaces == ["kind"]


def test_what_is_read_is_ours_alone(provider, live):
    props = {**NODES}
    live.make(FOREIGN)
    result = provider().create(props)
    read = provider().read

    assert read(result.id, result.outs).outs["live"] == result.outs["live"]
    live.edit(mapUsers=None)
    assert read(result.id, result.outs).outs["live"] == result.outs["live"]
    live.edit(mapRoles=live.read().data["mapRoles"].replace("system:nodes", "viewers"))
    assert read(result.id, result.outs).outs["live"][0]["groups"] == [
        "system:bootstrappers",
        "viewers",
    ]
    live.edit(mapRoles="a: b")
    assert "unreadable" in read(result.id, result.outs).outs["live"][0]
    live.edit(mapRoles=FOREIGN["mapRoles"])
    assert (read(result.id, result.outs).id, read(result.id, result.outs).outs) == ("", {})
    live.client.delete(ConfigMap, access_entries.NAME, namespace="kube-system")
    assert read(result.id, result.outs).id == ""


def test_the_kubeconfig_of_the_provider_is_the_one_that_counts(provider, live):
    result = provider().create(NODES)

    with pytest.raises(KubeconfigError, match="there is no file /nowhere/config"):
        provider(kubeconfig="/nowhere/config").read(result.id, result.outs)
    provider().delete(result.id, result.outs)
    assert live.read() is None, "the map was ours, and empty"


def test_an_entry_that_is_not_ours_is_refused_or_adopted(provider, live):
    theirs = f"- rolearn: {MAPPED_ARN}\n  username: by-hand\n  groups: []\n"
    live.make({"mapRoles": theirs})
    props = {**NODES}

    with pytest.raises(access_entries.AwsAuthError) as caught:
        provider().create(props)

    assert str(caught.value) == (
        f"kube-system/aws-auth: mapRoles already maps {MAPPED_ARN} (to 'by-hand', groups []), and "
        "this program did not write that; set access.adopt to take it over, which also removes it "
        "on destroy, or remove that entry first"
    )
    assert live.read().data == {"mapRoles": theirs}
    assert live.read(COPY) is None

    provider().create({**props, "adopt": True})
    assert live.roles() == [
        {"rolearn": MAPPED_ARN, "username": NODE_USERNAME, "groups": list(NODE_GROUPS)}
    ]


def test_the_last_masters_stay_until_the_environment_says_otherwise(provider, live, monkeypatch):
    live.make({"mapRoles": ""})
    result = provider().create({**USER})

    with pytest.raises(access_entries.AwsAuthError, match="the last mapping to system:masters"):
        provider().delete(result.id, result.outs)
    monkeypatch.setenv("CASTAI_ACCESS_OVERRIDE", "caller, last-masters")
    provider().delete(result.id, result.outs)

    assert live.read().data == {"mapRoles": ""}


def test_an_entry_edited_by_hand_goes_with_a_warning(provider, live, capsys):
    live.make(FOREIGN)
    result = provider().create({**NODES})
    live.edit(mapRoles=live.read().data["mapRoles"].replace("system:nodes", "viewers"))

    provider().delete(result.id, result.outs)

    assert capsys.readouterr().err == (
        f"warning: kube-system/aws-auth: the program's entry for {MAPPED_ARN} was edited "
        "by hand (1 items); it is removed, and nothing else is\n"
    )
    assert live.read().data == FOREIGN


def test_an_unreadable_list_is_refused_and_set_aside_on_demand(provider, live, capsys):
    live.make({"mapRoles": "a: b"})
    props = {**NODES}

    with pytest.raises(
        access_entries.AwsAuthError, match=r"found a mapping.*Guards: \[unreadable\]"
    ):
        provider().create(props)
    result = provider(override_guards="unreadable").create(props)

    assert "the authenticator reads nothing of this list" in capsys.readouterr().err
    assert [r["rolearn"] for r in live.roles()] == [MAPPED_ARN]
    assert live.read(COPY).data == {"mapRoles": "a: b"}
    provider(override_guards="unreadable").delete(result.id, result.outs)
    assert live.read().data == {"mapRoles": "a: b"}


def test_what_can_never_be_mapped_fails_the_check_and_the_unknown_passes(provider):
    check = provider().check

    failures = check({}, {**NODES, "arn": "no-arn"}).failures
    assert [f.reason for f in failures] == ["'no-arn' is not the ARN of an IAM role"]
    assert check({}, {**NODES, "arn": UNKNOWN}).failures == []


def test_an_unreachable_cluster_is_one_sentence(provider, control_plane, tmp_path):
    config = json.loads(Path(control_plane.kubeconfig).read_text())
    config["clusters"][0]["cluster"] = {"server": "http://127.0.0.1:1"}
    nowhere = tmp_path / "nowhere.json"
    nowhere.write_text(json.dumps(config))

    with pytest.raises(access_entries.AwsAuthError) as caught:
        provider(kubeconfig=str(nowhere)).create(NODES)

    assert str(caught.value).startswith(
        "cannot read kube-system/castai-aws-auth-backup: cannot reach http://127.0.0.1:1/ ("
    )
