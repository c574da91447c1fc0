"""The handlers, called as the engine calls them, against the sandbox's service."""

import base64
import contextlib
import time
import types

import pytest

from castai_stack.agent import handlers
from castai_stack.agent.handlers import AgentOnlineHandler
from castai_stack.castai import client
from castai_stack.castai import provider as castai_provider
from castai_stack.castai.client import CastaiApi
from castai_stack.castai.connection_guard import BY_HAND, ConnectionGuardHandler
from castai_stack.castai.credentials_ready import CredentialsReadyHandler
from castai_stack.castai.hand_over import HandOverHandler
from castai_stack.castai.model import CastaiError
from castai_stack.castai.principal import AssumeRolePrincipalHandler
from castai_stack.castai.registration import ClusterRegistrationHandler
from castai_stack.castai.rotation_guard import RotationGuardHandler
from castai_stack.castai.token import ClusterTokenHandler
from castai_stack.kube import connection, pods
from castai_stack.plugin import waiting
from castai_stack.plugin.run import ResourceError, Settings
from castai_stack.plugin.values import UNKNOWN
from sandbox.castai import API_KEY, Options, serve
from tests.support.castai import QUICK, REGION, StubCloud
from tests.support.plugin import handler

ACCOUNT = "012345678901"
SECRET = "sentinel-secret-access-key"
CLUSTER = {"cluster_name": "demo", "region": REGION, "account_id": ACCOUNT}
KEPT = {"delete_nodes_on_disconnect": False, "disconnect_timeout_seconds": 900}
HANDLERS = [
    AgentOnlineHandler,
    AssumeRolePrincipalHandler,
    ClusterRegistrationHandler,
    ClusterTokenHandler,
    ConnectionGuardHandler,
    CredentialsReadyHandler,
    HandOverHandler,
    RotationGuardHandler,
]


class SwiftClock:
    """Waits take hardly any time, and say that they took what they were meant to."""

    def __init__(self):
        self.passed = 0.0
        self.while_waiting = lambda: None

    def monotonic(self):
        return self.passed

    def sleep(self, seconds, _stopping):
        self.passed += seconds
        self.while_waiting()
        time.sleep(min(seconds, 0.05))


@pytest.fixture
def clock(monkeypatch):
    result = SwiftClock()
    monkeypatch.setattr(waiting, "CLOCK", result)
    return result


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch, clock):
    for name in (
        "CASTAI_API_KEY",
        "CASTAI_API_URL",
        castai_provider.TAKE_OVER,
        castai_provider.LEAVE_NODES,
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(client.Retry, "sleep", lambda *_: None)
    return clock


@pytest.fixture
def make(tmp_path):
    result = []

    def a_service(**options):
        running = serve(
            tmp_path, "http://127.0.0.1:1", options=Options(**{**vars(QUICK), **options})
        )
        running.service.cloud = StubCloud()
        result.append(running)
        return running

    yield a_service
    for running in result:
        running.close()


@pytest.fixture
def castai(make):
    return make()


@pytest.fixture
def api(castai):
    return CastaiApi(castai.url, API_KEY)


@pytest.fixture
def cluster_id(api):
    return api.register("demo", REGION, ACCOUNT).id


def configured(handler_class, castai, **inputs):
    return handler(handler_class, **{"api_key": API_KEY, "api_url": castai.url, **inputs})


def keys(cluster_id, key="AKIAONE", **more):
    return {
        "cluster_id": cluster_id,
        "mode": "user",
        "access_key_id": key,
        "secret_access_key": SECRET,
        **KEPT,
        **more,
    }


def role(cluster_id, name="r", **more):
    arn = f"arn:aws:iam::{ACCOUNT}:role/{name}"
    return {"cluster_id": cluster_id, "mode": "role", "role_arn": arn, **KEPT, **more}


def handed_over(castai, props):
    """A finished hand-over: its provider and its outputs."""
    provider = configured(HandOverHandler, castai)
    return provider, provider.create(props).outs


def state(castai, cluster_id):
    [result] = [one for one in castai.service.state()["clusters"] if one["id"] == cluster_id]
    return result


# -- what holds for all -------------------------------------------------------------------------


@pytest.mark.parametrize("handler_class", HANDLERS)
@pytest.mark.parametrize("cluster", ["c1", "c2", UNKNOWN])
def test_diffs_always_answer_yes_or_no_and_never_replace_for_an_unknown(handler_class, cluster):
    olds = {**CLUSTER, "cluster_id": "c1", "mode": "user", "generation": 0, "access_key_id": "A"}
    news = {**olds, "cluster_id": cluster}
    result = handler(handler_class).diff("id", olds, news)
    assert result.changes in (True, False)
    if cluster == UNKNOWN:
        assert not result.replaces, "an unknown would show a false replacement"


def test_address_and_key_of_the_environment_come_before_the_provider_s(castai, monkeypatch):
    """A destroy without the program takes the inputs of the provider from the state."""
    stale = {"api_key": "stale", "api_url": "https://stale.example"}
    monkeypatch.setenv("CASTAI_API_KEY", API_KEY)
    monkeypatch.setenv("CASTAI_API_URL", castai.url)
    provider = configured(ClusterRegistrationHandler, castai, **stale)
    assert provider.create(dict(CLUSTER)).id


def test_without_a_key_the_message_says_where_to_put_one(castai):
    provider = configured(ClusterRegistrationHandler, castai, api_key=None)
    with pytest.raises(CastaiError, match="Set CASTAI_API_KEY"):
        provider.create(dict(CLUSTER))


def test_without_an_address_it_is_the_services_own(castai):
    provider = configured(ClusterRegistrationHandler, castai, api_url=None)
    assert provider.api().url == "https://api.cast.ai"


# -- registration -------------------------------------------------------------------------------


def test_a_registration_is_known_by_the_services_id(castai, api):
    result = configured(ClusterRegistrationHandler, castai).create(dict(CLUSTER))
    assert api.get_cluster(result.id).name == "demo"
    assert result.outs["organization_id"]


def test_registering_again_gives_the_same_id(castai):
    provider = configured(ClusterRegistrationHandler, castai)
    assert provider.create(dict(CLUSTER)).id == provider.create(dict(CLUSTER)).id


def test_an_archived_cluster_is_refused_with_the_way_out(make):
    castai = make(archived="stay")
    provider = configured(ClusterRegistrationHandler, castai)
    first = provider.create(dict(CLUSTER)).id
    castai.service.archive(first)
    with pytest.raises(ResourceError) as caught:
        provider.create(dict(CLUSTER))
    assert str(caught.value) == (
        f"CAST AI holds cluster demo ({REGION}, account {ACCOUNT}) as archived, under id {first}. "
        "Set api.reviveArchived to true to take it up again."
    )


def test_an_archived_cluster_is_revived_when_told(make):
    castai = make(archived="stay")
    provider = configured(ClusterRegistrationHandler, castai)
    first = provider.create(dict(CLUSTER)).id
    castai.service.archive(first)
    assert provider.create({**CLUSTER, "revive_archived": True}).id == first
    assert state(castai, first)["status"] == "connecting"


@pytest.mark.parametrize("name", ["cluster_name", "region", "account_id", "organization_id"])
def test_another_cluster_is_another_registration(name):
    olds = {**CLUSTER, "organization_id": "o"}
    result = handler(ClusterRegistrationHandler).diff("id", olds, {**olds, name: "other"})
    assert (result.changes, result.replaces) == (True, [name])


def test_settings_of_a_run_do_not_update_a_registration():
    olds = {**CLUSTER, "organization_id": "o"}
    for news in (dict(CLUSTER), {**olds, "revive_archived": True}, {**CLUSTER, "region": UNKNOWN}):
        result = handler(ClusterRegistrationHandler).diff("id", olds, news)
        assert (result.changes, result.replaces) == (False, [])


def test_reading_a_registration_finds_it_gone_when_archived(castai, cluster_id):
    provider = configured(ClusterRegistrationHandler, castai)
    assert provider.read(cluster_id, dict(CLUSTER)).id == cluster_id
    castai.service.archive(cluster_id)
    read_result = provider.read(cluster_id, dict(CLUSTER))
    assert (read_result.id, read_result.outs) == ("", {})
    assert provider.read("00000000-1111-2222-3333-444444444444", {}).id == ""


@pytest.mark.parametrize("status", ["deleted", "deleting", "disconnecting"])
def test_a_refresh_notes_a_disconnect_and_the_next_run_registers_again(
    castai, cluster_id, clock, status, capfd
):
    provider = configured(ClusterRegistrationHandler, castai)
    outs = provider.create(CLUSTER).outs
    cluster = castai.service.clusters[cluster_id]
    cluster.status = status
    clock.while_waiting = lambda: setattr(cluster, "status", "deleted")

    state = provider.read(cluster_id, outs)
    assert (state.id, state.outs) == (cluster_id, {**outs, "disconnected": True})
    assert f"is disconnected at CAST AI (status {status})" in capfd.readouterr().err
    plan = provider.diff(cluster_id, state.outs, CLUSTER)
    assert (plan.changes, plan.replaces) == (True, [])
    assert "`pulumi up` registers it again under this id" in capfd.readouterr().err
    assert provider.plan(state.outs, CLUSTER) == outs

    assert provider.update(cluster_id, state.outs, CLUSTER).outs == outs
    assert cluster.status == "connecting"
    assert provider.read(cluster_id, outs).outs == outs


@pytest.mark.parametrize("status", ["connecting", "ready", "warning", "failed", "hibernated"])
def test_other_statuses_and_a_silent_agent_are_no_disconnect(castai, cluster_id, status):
    provider = configured(ClusterRegistrationHandler, castai)
    outs = provider.create(CLUSTER).outs
    castai.service.clusters[cluster_id].status = status
    castai.service.clusters[cluster_id].agent_state = "disconnected"

    assert provider.read(cluster_id, outs).outs == outs


def test_a_disconnect_that_does_not_end_is_an_error(castai, cluster_id):
    castai.service.clusters[cluster_id].status = "deleting"

    with pytest.raises(ResourceError, match="has not finished the disconnect"):
        configured(ClusterRegistrationHandler, castai).update(cluster_id, {}, CLUSTER)


def test_a_disconnect_that_ends_in_a_removal_asks_for_a_refresh(castai, cluster_id, clock):
    castai.service.clusters[cluster_id].status = "deleting"
    clock.while_waiting = lambda: castai.service.archive(cluster_id)

    with pytest.raises(ResourceError, match="Run `pulumi refresh`, then `pulumi up`"):
        configured(ClusterRegistrationHandler, castai).update(cluster_id, {}, CLUSTER)


def test_what_depends_on_a_disconnected_cluster_is_made_again(castai, cluster_id):
    token = configured(ClusterTokenHandler, castai)
    result = token.create({"cluster_id": cluster_id})
    castai.service.agent_delta(cluster_id, result.outs["token"], {})
    online = configured(AgentOnlineHandler, castai)
    hand_over, outs = handed_over(castai, keys(cluster_id))
    castai.service.clusters[cluster_id].status = "deleted"

    assert token.read(result.id, dict(result.outs)).id == result.id, "a token that works is kept"
    castai.service.clusters[cluster_id].tokens[0].replaced = True
    assert token.read(result.id, dict(result.outs)).id == ""
    assert online.read("gate", {"cluster_id": cluster_id}).id == ""
    state = hand_over.read(cluster_id, outs)
    assert hand_over.diff(cluster_id, state.outs, keys(cluster_id)).changes


def test_a_cluster_without_credentials_is_removed_at_once(castai, api, cluster_id):
    configured(ClusterRegistrationHandler, castai).delete(cluster_id, {})
    assert api.get_cluster(cluster_id).archived
    configured(ClusterRegistrationHandler, castai).delete(cluster_id, {})


def test_a_disconnected_cluster_is_removed(castai, api, cluster_id):
    provider, outs = handed_over(castai, keys(cluster_id))
    provider.delete(cluster_id, outs)
    configured(ClusterRegistrationHandler, castai).delete(cluster_id, {})
    assert api.get_cluster(cluster_id).archived


def test_removal_waits_for_a_disconnect_under_way(castai, api, cluster_id):
    api.hand_over_keys(cluster_id, "AKIA", SECRET)
    api.disconnect(cluster_id, delete_nodes=False)
    configured(ClusterRegistrationHandler, castai).delete(cluster_id, {})
    assert api.get_cluster(cluster_id).archived


def test_removal_says_what_it_waits_for(castai, cluster_id, clock, capfd):
    cluster = castai.service.clusters[cluster_id]
    cluster.status = "deleting"

    def it_ends():
        cluster.status = "deleted"

    clock.while_waiting = it_ends
    configured(ClusterRegistrationHandler, castai).delete(cluster_id, {})
    assert f"removal of cluster {cluster_id} from CAST AI: deleting" in capfd.readouterr().err


def test_a_cluster_that_somebody_else_connected_is_not_removed(castai, api, cluster_id):
    api.hand_over_keys(cluster_id, "AKIA", SECRET)
    with pytest.raises(ResourceError, match="not this stack's to disconnect"):
        configured(ClusterRegistrationHandler, castai).delete(cluster_id, {})
    assert not api.get_cluster(cluster_id).archived
    assert "disconnecting" not in " ".join(state(castai, cluster_id)["log"])


def test_a_cluster_that_somebody_else_connected_is_removed_when_told(
    castai, api, cluster_id, monkeypatch
):
    api.hand_over_keys(cluster_id, "AKIA", SECRET)
    monkeypatch.setenv(castai_provider.TAKE_OVER, "yes")
    configured(ClusterRegistrationHandler, castai).delete(cluster_id, {})
    assert api.get_cluster(cluster_id).archived


# -- token --------------------------------------------------------------------------------------


def test_a_token_is_made_once(castai, cluster_id):
    result = configured(ClusterTokenHandler, castai).create({"cluster_id": cluster_id})
    assert castai.service.cluster_of_token(result.outs["token"]) == cluster_id
    assert state(castai, cluster_id)["tokens"] == 1


def test_a_lost_answer_does_not_make_a_second_token(castai, cluster_id):
    rule = {"action": "castai:CreateToken", "status": 502, "times": 1, "after_effect": True}
    castai.faults.set_faults({"rules": [rule]})
    with pytest.raises(CastaiError):
        configured(ClusterTokenHandler, castai).create({"cluster_id": cluster_id})
    assert state(castai, cluster_id)["tokens"] == 1


def test_refresh_drops_a_token_that_expired_before_its_first_use(make, capfd):
    castai = make(token_lifetime=1)
    cluster_id = CastaiApi(castai.url, API_KEY).register("demo", REGION, ACCOUNT).id
    provider = configured(ClusterTokenHandler, castai)
    result = provider.create({"cluster_id": cluster_id})
    assert provider.read(result.id, dict(result.outs)).id == result.id
    time.sleep(1.05)
    read_result = provider.read(result.id, dict(result.outs))
    assert (read_result.id, read_result.outs) == ("", {})
    messages = capfd.readouterr().err
    assert "expired before any agent used it" in messages
    assert result.outs["token"] not in messages, "the token is told"


def test_refresh_keeps_a_token_that_an_agent_used_whatever_happened_since(make):
    castai = make(token_lifetime=1)
    api = CastaiApi(castai.url, API_KEY)
    cluster_id = api.register("demo", REGION, ACCOUNT).id
    provider = configured(ClusterTokenHandler, castai)
    result = provider.create({"cluster_id": cluster_id})
    castai.service.agent_delta(cluster_id, result.outs["token"], {})
    api.create_token(cluster_id)  # takes the place of ours
    assert provider.read(result.id, dict(result.outs)).outs == result.outs


def test_refresh_keeps_a_token_when_the_service_stumbles_over_it(castai, cluster_id, monkeypatch):
    class Stumbling:
        def __init__(self, *_):
            """Take the token."""

        def get_cluster(self, _):
            raise CastaiError("look", status=503)

    provider = configured(ClusterTokenHandler, castai)
    result = provider.create({"cluster_id": cluster_id})
    monkeypatch.setattr(client, "CastaiApi", Stumbling)
    assert provider.read(result.id, dict(result.outs)).outs == result.outs


def test_refresh_drops_the_token_of_a_cluster_that_is_gone(castai, cluster_id):
    provider = configured(ClusterTokenHandler, castai)
    result = provider.create({"cluster_id": cluster_id})
    castai.service.archive(cluster_id)
    assert provider.read(result.id, dict(result.outs)).id == ""


def test_a_token_that_was_never_written_down_is_not_taken_for_one(castai, cluster_id):
    provider = configured(ClusterTokenHandler, castai)
    assert provider.read("any", {"cluster_id": cluster_id}).id == ""


@contextlib.contextmanager
def secret_of(monkeypatch, answer):
    """Have the API server answer with a secret, or raise."""

    class Server:
        def get(self, _kind, name, *, namespace):
            assert (name, namespace) == ("castai-agent", "castai-agent")
            if isinstance(answer, Exception):
                raise answer
            encoded = {key: base64.b64encode(text.encode()) for key, text in answer.items()}
            return types.SimpleNamespace(data=encoded)

    @contextlib.contextmanager
    def connect(*_):
        yield Server()

    monkeypatch.setattr(connection, "connect", connect)
    yield {"namespace": "castai-agent", "secret": "castai-agent"}


def test_the_token_of_an_agent_that_is_taken_over_stays_valid(castai, api, cluster_id, monkeypatch):
    in_use = api.create_token(cluster_id)
    with secret_of(monkeypatch, {"API_KEY": in_use}) as place:
        result = configured(ClusterTokenHandler, castai).create({"cluster_id": cluster_id, **place})
    assert result.outs == {"cluster_id": cluster_id, "token": in_use}
    assert state(castai, cluster_id)["tokens"] == 1
    assert castai.service.cluster_of_token(in_use) == cluster_id


@pytest.mark.parametrize("secret_data", [{"API_KEY": "of-another-cluster"}, {}])
def test_a_secret_without_a_valid_token_leads_to_a_new_one(
    castai, cluster_id, monkeypatch, capfd, secret_data
):
    with secret_of(monkeypatch, secret_data) as place:
        result = configured(ClusterTokenHandler, castai).create({"cluster_id": cluster_id, **place})
    assert castai.service.cluster_of_token(result.outs["token"]) == cluster_id
    messages = capfd.readouterr().err
    assert ("kubectl rollout restart" in messages) == bool(secret_data)
    assert "of-another-cluster" not in messages


def test_a_secret_that_may_not_be_read_is_a_sentence_and_no_new_token(
    castai, cluster_id, monkeypatch
):
    with (
        secret_of(monkeypatch, PermissionError("secrets is forbidden")) as place,
        pytest.raises(ResourceError, match="secret castai-agent/castai-agent cannot be read"),
    ):
        configured(ClusterTokenHandler, castai).create({"cluster_id": cluster_id, **place})
    assert state(castai, cluster_id)["tokens"] == 0


# -- principal ----------------------------------------------------------------------------------


def test_a_principal_is_made_once_and_found_later(castai, cluster_id):
    provider = configured(AssumeRolePrincipalHandler, castai)
    first = provider.create({"cluster_id": cluster_id})
    again = provider.create({"cluster_id": cluster_id})
    assert first.outs == again.outs
    assert first.outs["arn"].endswith(f"user/cast-crossrole-{cluster_id}")
    actions = [entry["action"] for entry in castai.faults.requests()["log"]]
    assert actions.count("CreatePrincipal") == 1, "who has one already makes the service stumble"


def test_a_principal_survives_a_request_that_was_carried_out_and_answered_with_an_error(
    castai, cluster_id
):
    rule = {"action": "castai:CreatePrincipal", "status": 500, "times": 1, "after_effect": True}
    castai.faults.set_faults({"rules": [rule]})
    result = configured(AssumeRolePrincipalHandler, castai).create({"cluster_id": cluster_id})
    assert result.outs["arn"].endswith(cluster_id)


def test_a_principal_that_cannot_be_made_is_an_error(castai, cluster_id):
    castai.faults.set_faults({"rules": [{"action": "castai:CreatePrincipal", "status": 500}]})
    with pytest.raises(CastaiError, match="create the principal"):
        configured(AssumeRolePrincipalHandler, castai).create({"cluster_id": cluster_id})


def test_a_principal_that_is_gone_is_reported_gone_and_deleted_quietly(castai, cluster_id):
    provider = configured(AssumeRolePrincipalHandler, castai)
    result = provider.create({"cluster_id": cluster_id})
    assert provider.read(result.id, dict(result.outs)).outs == result.outs
    provider.delete(result.id, dict(result.outs))
    assert provider.read(result.id, dict(result.outs)).id == ""
    provider.delete(result.id, dict(result.outs))


# -- agent online -------------------------------------------------------------------------------


def gate(cluster_id, seconds=60):
    return {
        "cluster_id": cluster_id,
        "timeout_seconds": seconds,
        "kubeconfig": "/nowhere",
        "namespace": "castai-agent",
    }


def test_the_gate_opens_when_the_agent_is_heard_of(castai, cluster_id, clock):
    token = castai.service.create_token(cluster_id)

    def after_three_seconds():
        if clock.passed > 3:
            castai.service.agent_delta(cluster_id, token, {})

    clock.while_waiting = after_three_seconds
    result = configured(AgentOnlineHandler, castai).create(gate(cluster_id))
    assert result.outs == {"cluster_id": cluster_id}
    assert 3 < clock.passed < 10


def test_a_closed_gate_tells_what_the_pods_say(castai, cluster_id, monkeypatch, capfd):
    monkeypatch.setattr(
        handlers, "describe_pods", lambda *_: "pod x cannot pull the image y: not found"
    )
    with pytest.raises(ResourceError) as caught:
        configured(AgentOnlineHandler, castai).create(gate(cluster_id))
    assert str(caught.value).startswith(
        f"CAST AI has not heard from the agent of cluster {cluster_id} within 60 s: its status is "
        "waiting-connection. In namespace castai-agent, pod x cannot pull the image y: not found."
    )
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == f"agent of cluster {cluster_id}: waiting-connection, 0 of 60 s"
    assert "(pod x cannot pull the image y: not found), " in lines[1]
    assert len(lines) == 4, "progress is told every fifteen seconds"


def test_pods_that_cannot_be_looked_at_do_not_hide_the_gates_own_message():
    messages = handlers.describe_pods(Settings(kubeconfig="/nowhere"), "castai-agent")
    assert messages.startswith(
        "the pods could not be looked at: cluster.kubeconfig: there is no file"
    )


def test_pods_are_asked_for_by_the_agents_label(monkeypatch):
    calls = []

    class Client:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def list(self, kind, **options):
            calls.append((kind.__name__, options))
            return []

    monkeypatch.setattr(connection, "connect", lambda *_: Client())
    messages = handlers.describe_pods(Settings(), "castai-agent")
    assert messages == "no pod exists, and no event says why"
    assert calls[0] == (
        "Pod",
        {"namespace": "castai-agent", "labels": {"app.kubernetes.io/name": "castai-agent"}},
    )


def test_a_gate_of_a_cluster_that_is_gone_does_not_wait(castai, cluster_id, clock):
    castai.service.archive(cluster_id)
    with pytest.raises(ResourceError, match="it was removed there"):
        configured(AgentOnlineHandler, castai).create(gate(cluster_id))
    assert clock.passed == 0


def test_a_gate_does_not_change_with_the_machine_or_its_time_out():
    olds = {"cluster_id": "c"}
    news = {**gate("c"), "kubeconfig": "elsewhere", "timeout_seconds": 5, "context": "x"}
    assert handler(AgentOnlineHandler).diff("id", olds, news).changes is False


# -- hand-over ----------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [keys, role])
def test_access_is_handed_over_and_known_by_its_id(castai, api, cluster_id, build):
    _, outs = handed_over(castai, build(cluster_id))
    assert outs["credentials_id"] == api.get_cluster(cluster_id).credentials_id
    assert "secret_access_key" not in outs, "the secret is stored once more"


def test_a_hand_over_is_tried_again_while_aws_spreads_what_is_new(castai, cluster_id, clock, capfd):
    castai.service.cloud.refusals = 5
    moments = []
    clock.while_waiting = lambda: moments.append(clock.passed)
    _, outs = handed_over(castai, keys(cluster_id))
    assert outs["credentials_id"]
    assert 5 < clock.passed < 30
    pauses = [later - sooner for sooner, later in zip([0.0, *moments], moments, strict=False)]
    assert pauses == sorted(pauses), "pauses grow"
    assert pauses[0] < pauses[-1], "pauses grow"
    assert "AWS still spreads the new access" in capfd.readouterr().err


def test_a_hand_over_that_does_not_work_is_given_up_after_two_minutes(castai, cluster_id, clock):
    castai.service.cloud.works = False
    with pytest.raises(ResourceError) as caught:
        handed_over(castai, keys(cluster_id))
    assert 115 < clock.passed <= 121
    text = str(caught.value)
    assert text.startswith("CAST AI cannot use the access key AKIAONE that it was handed, and has")
    assert "tried for 120 s: CAST AI: cannot hand credentials over" in text
    assert SECRET not in text, "the secret is told"
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("status", [400, 403, 404])
def test_other_refusals_are_not_tried_again(castai, cluster_id, clock, status):
    castai.faults.set_faults({"rules": [{"action": "castai:UpdateCluster", "status": status}]})
    with pytest.raises(CastaiError):
        handed_over(castai, keys(cluster_id))
    assert clock.passed == 0


def test_keys_and_a_role_take_each_others_place_without_a_disconnect(castai, cluster_id):
    provider, outs = handed_over(castai, keys(cluster_id))
    wanted = role(cluster_id)
    result = provider.diff(cluster_id, outs, wanted)
    assert (result.changes, result.replaces) == (True, [])
    updated = provider.update(cluster_id, outs, wanted).outs
    assert updated["credentials_id"] != outs["credentials_id"]
    assert state(castai, cluster_id)["credentialsKind"] == "role"
    back = provider.update(cluster_id, updated, keys(cluster_id)).outs
    assert state(castai, cluster_id)["credentialsKind"] == "user"
    assert provider.diff(cluster_id, back, keys(cluster_id)).changes is False
    assert "disconnecting" not in " ".join(state(castai, cluster_id)["log"])


def test_only_another_cluster_replaces_a_hand_over():
    olds = {**keys("c1"), "credentials_id": "x"}
    diff = handler(HandOverHandler).diff
    assert diff("c1", olds, keys("c2")).replaces == ["cluster_id"]
    for news in (keys("c1", key="AKIATWO"), keys("c1", key=UNKNOWN), role("c1"), keys(UNKNOWN)):
        assert (diff("c1", olds, news).changes, diff("c1", olds, news).replaces) == (True, [])


def test_what_was_just_handed_over_is_no_drift(castai, cluster_id):
    provider, outs = handed_over(castai, keys(cluster_id))
    read = provider.read(cluster_id, dict(outs))
    assert read.outs == outs
    assert provider.diff(cluster_id, read.outs, keys(cluster_id)).changes is False


@pytest.mark.parametrize("build", [keys, role])
def test_a_hand_over_made_elsewhere_is_drift_and_the_next_run_repairs_it(
    castai, api, cluster_id, build, capfd
):
    provider, outs = handed_over(castai, build(cluster_id))
    elsewhere = api.hand_over_keys(cluster_id, "AKIAELSEWHERE", "another-secret")
    read = provider.read(cluster_id, dict(outs))
    assert "not those that this stack handed over" in capfd.readouterr().err
    assert provider.diff(cluster_id, read.outs, build(cluster_id)).changes is True
    repaired = provider.update(cluster_id, read.outs, build(cluster_id)).outs
    assert repaired["credentials_id"] not in (outs["credentials_id"], elsewhere.credentials_id)
    read = provider.read(cluster_id, dict(repaired))
    assert provider.diff(cluster_id, read.outs, build(cluster_id)).changes is False


def test_a_hand_over_of_a_cluster_that_is_gone_is_gone(castai, cluster_id):
    provider, outs = handed_over(castai, keys(cluster_id))
    castai.service.archive(cluster_id)
    assert provider.read(cluster_id, outs).id == ""


def test_settings_of_the_disconnect_are_stored_without_another_hand_over(castai, cluster_id):
    provider, outs = handed_over(castai, keys(cluster_id))
    news = keys(cluster_id, delete_nodes_on_disconnect=True)
    assert provider.diff(cluster_id, outs, news).changes is True
    updated = provider.update(cluster_id, outs, news).outs
    assert updated == {**outs, "delete_nodes_on_disconnect": True}
    assert state(castai, cluster_id)["handOvers"] == 1


def test_an_interrupted_hand_over_is_imported_and_made_again(api, castai, cluster_id):
    """After a crash the state has the inputs only."""
    api.hand_over_keys(cluster_id, "AKIAONE", SECRET)
    provider = configured(HandOverHandler, castai)
    read = provider.read(cluster_id, keys(cluster_id))
    assert read.outs["credentials_id"] == api.get_cluster(cluster_id).credentials_id
    assert provider.diff(cluster_id, read.outs, keys(cluster_id)).changes is True
    provider.delete(cluster_id, read.outs)
    assert state(castai, cluster_id)["status"] == "deleted"


@pytest.mark.parametrize(
    ("props", "property_"),
    [
        (role("c", role_arn=None), "role_arn"),
        (keys("c", secret_access_key=""), "secret_access_key"),
        (keys("c", key=""), "access_key_id"),
        ({"cluster_id": "c", "mode": "both"}, "mode"),
    ],
)
def test_a_hand_over_of_nothing_is_refused_in_the_preview(props, property_):
    [failure] = handler(HandOverHandler).check({}, props).failures
    assert failure.property == property_


def test_values_that_are_not_known_yet_pass_the_check():
    assert handler(HandOverHandler).check({}, role("c", role_arn=UNKNOWN)).failures == []


def test_the_preview_warns_of_a_replacement_under_the_same_name(capfd):
    olds = role("c", objects={"role": "/cast-eks-demo", "policy": "/p", "node role": "/n"})
    news = role("c", objects={"role": "/team/cast-eks-demo", "policy": "/p2", "node role": "/t/n"})
    assert handler(HandOverHandler).check(olds, news).failures == []
    first = "AWS allows the name once, so the old one is deleted first and"
    assert capfd.readouterr().err.splitlines() == [
        f"warning: role /cast-eks-demo becomes /team/cast-eks-demo: {first} CAST AI has no access "
        "for the moments in between",
        f"warning: node role /n becomes /t/n: {first} nodes that run have no working role from "
        "then on: have them replaced",
    ]


def test_the_preview_warns_of_nothing_when_another_principal_takes_over(capfd):
    olds = keys("c", objects={"user": "/cast-eks-demo"})
    handler(HandOverHandler).check(olds, role("c", objects={"user": "/team/cast-eks-demo"}))
    handler(HandOverHandler).check({}, olds)
    assert capfd.readouterr().err == ""


# -- disconnect ---------------------------------------------------------------------------------


def test_a_disconnect_waits_until_the_service_has_let_go(make, capfd):
    castai = make(disconnect_delay=0.2)
    cluster_id = CastaiApi(castai.url, API_KEY).register("demo", REGION, ACCOUNT).id
    provider, outs = handed_over(castai, keys(cluster_id))
    provider.delete(cluster_id, outs)
    assert state(castai, cluster_id)["status"] == "deleted"
    assert f"disconnect of cluster {cluster_id}: deleting" in capfd.readouterr().err


def test_a_disconnect_that_takes_too_long_takes_nothing_away(make):
    castai = make(disconnect_delay=60)
    cluster_id = CastaiApi(castai.url, API_KEY).register("demo", REGION, ACCOUNT).id
    provider, outs = handed_over(castai, keys(cluster_id, disconnect_timeout_seconds=30))
    with pytest.raises(ResourceError, match=r"within 30 s\. Nothing that it needs has been taken"):
        provider.delete(cluster_id, outs)


def test_an_interrupted_disconnect_goes_on_without_a_second_request(make):
    castai = make(disconnect_delay=0.2)
    api = CastaiApi(castai.url, API_KEY)
    cluster_id = api.register("demo", REGION, ACCOUNT).id
    provider, outs = handed_over(castai, keys(cluster_id))
    api.disconnect(cluster_id, delete_nodes=False)
    provider.delete(cluster_id, outs)
    log = castai.faults.requests()["log"]
    assert [entry["action"] for entry in log].count("Disconnect") == 1


@pytest.mark.parametrize("how", ["archived", "deleted"])
def test_disconnecting_what_has_left_does_nothing(castai, api, cluster_id, how):
    provider, outs = handed_over(castai, keys(cluster_id))
    if how == "archived":
        castai.service.archive(cluster_id)
    else:
        api.disconnect(cluster_id, delete_nodes=False)
        while api.get_cluster(cluster_id).status != "deleted":
            time.sleep(0.02)
    before = len(state(castai, cluster_id)["log"])
    provider.delete(cluster_id, outs)
    assert len(state(castai, cluster_id)["log"]) == before


def test_a_hand_over_made_elsewhere_is_not_disconnected(castai, api, cluster_id, monkeypatch):
    provider, outs = handed_over(castai, keys(cluster_id))
    api.hand_over_keys(cluster_id, "AKIAELSEWHERE", "another-secret")
    with pytest.raises(ResourceError, match="set CASTAI_TAKE_OVER_CREDENTIALS=yes for this run"):
        provider.delete(cluster_id, outs)
    refreshed = provider.read(cluster_id, dict(outs)).outs
    with pytest.raises(ResourceError):
        provider.delete(cluster_id, refreshed)
    assert api.get_cluster(cluster_id).status != "deleting"
    monkeypatch.setenv(castai_provider.TAKE_OVER, "yes")
    provider.delete(cluster_id, refreshed)
    assert state(castai, cluster_id)["status"] == "deleted"


def test_the_same_role_handed_over_again_is_still_ours_to_disconnect(castai, api, cluster_id):
    provider, outs = handed_over(castai, role(cluster_id))
    api.hand_over_role(cluster_id, outs["role_arn"])
    provider.delete(cluster_id, outs)
    assert state(castai, cluster_id)["status"] == "deleted"


def test_nodes_that_would_lose_their_role_stop_the_disconnect(castai, api, cluster_id, monkeypatch):
    provider, outs = handed_over(castai, keys(cluster_id))
    result = castai.service.launch_node(cluster_id, "", "")
    with pytest.raises(ResourceError) as caught:
        provider.delete(cluster_id, outs)
    assert f"CAST AI made 1 nodes ({result})" in str(caught.value)
    assert "api.deleteNodesOnDisconnect" in str(caught.value)
    assert api.get_cluster(cluster_id).status != "deleting", "disconnected all the same"
    monkeypatch.setenv(castai_provider.LEAVE_NODES, "yes")
    provider.delete(cluster_id, outs)
    assert castai.service.cloud.running == [result]


def test_nodes_are_deleted_before_the_disconnect_counts_as_done(castai, cluster_id):
    provider, outs = handed_over(castai, keys(cluster_id, delete_nodes_on_disconnect=True))
    castai.service.launch_node(cluster_id, "", "")
    provider.delete(cluster_id, outs)
    assert castai.service.cloud.running == []


def test_nodes_that_the_service_gave_up_on_are_named_and_what_follows_is_spared(
    castai, cluster_id, monkeypatch
):
    """The time line of terraform-provider-castai, pull request 768, from the caller's side."""
    provider, outs = handed_over(castai, keys(cluster_id, delete_nodes_on_disconnect=True))
    result = castai.service.launch_node(cluster_id, "", "")
    castai.service.cloud.works = False
    for _ in ("the run", "a pipeline that tries once more"):
        with pytest.raises(ResourceError, match=rf"left 1 nodes \({result}\) behind"):
            provider.delete(cluster_id, outs)
    monkeypatch.setenv(castai_provider.LEAVE_NODES, "yes")
    provider.delete(cluster_id, outs)


def test_nodes_of_a_cluster_that_a_person_disconnected_are_spared_as_well(
    castai, api, cluster_id, monkeypatch
):
    provider, outs = handed_over(castai, keys(cluster_id))
    result = castai.service.launch_node(cluster_id, "", "")
    api.disconnect(cluster_id, delete_nodes=False)
    deadline = time.monotonic() + 20
    while api.get_cluster(cluster_id).status != "deleted":
        assert time.monotonic() < deadline, "it was never disconnected"
        time.sleep(0.05)
    with pytest.raises(ResourceError, match=rf"left 1 nodes \({result}\) behind"):
        provider.delete(cluster_id, outs)
    monkeypatch.setenv(castai_provider.LEAVE_NODES, "yes")
    provider.delete(cluster_id, outs)


# -- ready --------------------------------------------------------------------------------------


def ready(outs, seconds=60):
    return {
        "cluster_id": outs["cluster_id"],
        "credentials_id": outs["credentials_id"],
        "timeout_seconds": seconds,
    }


def test_ready_waits_until_the_access_is_used(castai, api, cluster_id):
    _, outs = handed_over(castai, keys(cluster_id))
    provider = configured(CredentialsReadyHandler, castai)
    result = provider.create(ready(outs))
    assert api.get_cluster(cluster_id).status == "ready"
    assert provider.diff(result.id, result.outs, ready(outs, seconds=5)).changes is False
    assert provider.diff(result.id, result.outs, {**ready(outs), "credentials_id": UNKNOWN}).changes
    assert provider.update(result.id, result.outs, ready(outs)).outs == result.outs


def test_ready_says_how_it_goes(make, clock, capfd):
    castai = make(reconcile_delay=60)
    cluster_id = CastaiApi(castai.url, API_KEY).register("demo", REGION, ACCOUNT).id
    _, outs = handed_over(castai, keys(cluster_id))

    def after_twenty_seconds():
        if clock.passed > 20:
            castai.service.clusters[cluster_id].status = "ready"

    clock.while_waiting = after_twenty_seconds
    configured(CredentialsReadyHandler, castai).create(ready(outs))
    messages = capfd.readouterr().err.splitlines()
    assert messages[0] == f"CAST AI's access to cluster {cluster_id}: connecting, 0 of 60 s"
    assert "connecting (the agent, whose status is " in messages[1]


def test_ready_has_a_failed_cluster_tried_again(castai, api, cluster_id):
    _, outs = handed_over(castai, keys(cluster_id))
    castai.service.clusters[cluster_id].status = "failed"
    configured(CredentialsReadyHandler, castai).create(ready(outs))
    assert api.get_cluster(cluster_id).status == "ready"


def test_ready_that_does_not_come_tells_the_services_reason(castai, cluster_id):
    _, outs = handed_over(castai, keys(cluster_id))
    castai.service.cloud.works = False
    castai.service.use(castai.service.clusters[cluster_id])
    with pytest.raises(ResourceError) as caught:
        configured(CredentialsReadyHandler, castai).create(ready(outs))
    assert f"access to cluster {cluster_id} after 60 s" in str(caught.value)
    assert "working credentials; CAST AI says: InvalidClientTokenId: not known here" in str(
        caught.value
    )


def test_ready_that_does_not_come_describes_the_controllers_pods(monkeypatch, make):
    castai = make(reconcile_delay=600)
    cluster_id = CastaiApi(castai.url, API_KEY).register("demo", REGION, ACCOUNT).id
    _, outs = handed_over(castai, keys(cluster_id))
    calls = []

    def describe(_kubeconfig, _context, namespace, labels):
        calls.append((namespace, labels))
        return "no node takes pod x"

    monkeypatch.setattr(pods, "describe", describe)
    controller = {"namespace": "castai-agent", "controller": "castai-cluster-controller"}
    with pytest.raises(ResourceError) as caught:
        configured(CredentialsReadyHandler, castai).create({**ready(outs), **controller})

    assert "first question to CAST AI: no node takes pod x" in str(caught.value)
    assert (
        "kubectl logs -n castai-agent deployment/castai-cluster-controller -c cluster-controller"
    ) in str(caught.value)
    assert ("castai-agent", {"app.kubernetes.io/name": "castai-cluster-controller"}) in calls


def test_ready_notices_another_hand_over(castai, api, cluster_id):
    _, outs = handed_over(castai, keys(cluster_id))
    api.hand_over_keys(cluster_id, "AKIAELSEWHERE", "another-secret")
    with pytest.raises(ResourceError, match="Other credentials were handed over"):
        configured(CredentialsReadyHandler, castai).create(ready(outs))


# -- guards -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("old", "new", "refused"), [(1, 1, 0), (1, 2, 0), (1, 3, 1), (1, 0, 1)])
def test_the_rotation_counter_rises_by_one_only(old, new, refused):
    result = handler(RotationGuardHandler).check({"generation": old}, {"generation": new})
    assert len(result.failures) == refused
    if refused:
        assert f"went from {old} to {new}" in result.failures[0].reason
        advice = f"set it back to {old}" if new < old else f"set it to {old + 1}, run"
        assert advice in result.failures[0].reason


def test_a_new_stack_may_begin_at_any_count():
    assert handler(RotationGuardHandler).check({}, {"generation": 5}).failures == []


def test_a_rotation_that_never_reached_castai_blocks_the_next(castai, cluster_id):
    guard = configured(RotationGuardHandler, castai)
    first = guard.create({"generation": 0, "cluster_id": cluster_id}).outs
    handover, outs = handed_over(castai, keys(cluster_id))
    wanted = {"generation": 1, "cluster_id": cluster_id}
    assert guard.diff("rotation", first, wanted).changes is True
    opened = guard.update("rotation", first, wanted).outs
    following = {"generation": 2, "cluster_id": cluster_id}
    for call in (guard.diff, guard.update):
        with pytest.raises(ResourceError, match="Rotation 1 was begun and its key has not"):
            call("rotation", opened, following)
    handover.update(cluster_id, outs, keys(cluster_id, key="AKIATWO"))
    assert guard.update("rotation", opened, following).outs["generation"] == 2


def test_a_guard_asks_nothing_while_the_counter_stays(castai):
    guard = configured(RotationGuardHandler, castai, api_key="wrong")
    olds = {"generation": 1, "cluster_id": "c", "opened_credentials_id": "x"}
    assert guard.diff("rotation", olds, {"generation": 1, "cluster_id": "c"}).changes is False
    assert guard.read("rotation", olds).outs == olds


def test_a_guard_without_a_cluster_counts_only(castai):
    guard = configured(RotationGuardHandler, castai)
    first = guard.create({"generation": 0}).outs
    assert guard.update("rotation", first, {"generation": 1}).outs["generation"] == 1


@pytest.mark.parametrize(
    ("old", "new", "allowed", "refused"),
    [
        ("user", "none", False, True),
        ("role", "none", True, False),
        ("user", "role", False, False),
        ("none", "none", False, False),
        (None, "none", False, False),
        ("user", BY_HAND, False, True),
        ("none", BY_HAND, False, True),
        ("user", BY_HAND, True, False),
        (BY_HAND, BY_HAND, False, False),
        (BY_HAND, "none", False, False),
        (BY_HAND, "user", False, False),
        (None, BY_HAND, False, False),
    ],
)
def test_what_would_disconnect_the_cluster_is_refused_unless_allowed(old, new, allowed, refused):
    olds = {} if old is None else {"mode": old}
    news = {"mode": new, "allow_disconnect": allowed}
    assert bool(handler(ConnectionGuardHandler).check(olds, news).failures) is refused


@pytest.mark.parametrize(
    ("new", "change"),
    [
        ("none", "credentials.mode went from user to none"),
        (BY_HAND, "api.register went from true to false"),
    ],
)
def test_the_refusal_names_the_setting_that_was_changed(new, change):
    [failure] = handler(ConnectionGuardHandler).check({"mode": "user"}, {"mode": new}).failures
    assert failure.reason.startswith(change)
