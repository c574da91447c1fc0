"""The client against a server that answers what the test says; time does not pass."""

import json
import logging
import socket
import threading
from types import MappingProxyType

import pytest
from werkzeug.wrappers import Request, Response

from castai_stack.castai import client
from castai_stack.castai.client import CastaiApi
from castai_stack.castai.model import CastaiError, Cluster
from sandbox.serving.http_server import serve

KEY = "sentinel-api-key"
SECRET = "sentinel-secret-access-key"
ID = "3f2b8a4c-7d1e-4c5f-9a6b-0e8d2c4b6a1f"
CLUSTER = {"id": ID, "name": "demo", "status": "ready", "agentStatus": "online"}


class Service:
    """Answers from a list, remembers what it was asked."""

    def __init__(self):
        self.answers = []
        self.requests = []
        self.silence = lambda: None
        self.server = serve(self)

    def __call__(self, environ, start_response):
        request = Request(environ)
        body = request.get_data()
        self.requests.append(
            {
                "call": f"{request.method} {request.path}",
                "query": dict(request.args),
                "headers": dict(request.headers),
                "body": json.loads(body) if body else None,
            }
        )
        self.silence()
        status, value, headers = self.answers.pop(0)
        text = value if isinstance(value, str) else json.dumps(value)
        response = Response(text, status, headers, content_type="application/json")
        return response(environ, start_response)

    def will_answer(self, status, value, headers=None):
        self.answers.append((status, value, headers or {}))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(client.Retry, "sleep", lambda *_: None)


@pytest.fixture
def service():
    result = Service()
    yield result
    result.server.close()


@pytest.fixture
def api(service):
    return CastaiApi(service.server.url, KEY)


def test_the_key_travels_in_its_header_only(api, service):
    service.will_answer(200, {"items": []})
    api.list_clusters()
    [request] = service.requests
    assert request["headers"]["X-Api-Key"] == KEY
    assert "Authorization" not in request["headers"]
    assert request["query"] == {}


def test_a_netrc_does_not_take_the_place_of_the_key(api, service, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    service.will_answer(200, {"items": []})
    api.list_clusters()
    assert service.requests[0]["headers"]["X-Api-Key"] == KEY
    assert "Authorization" not in service.requests[0]["headers"]


def test_registering_sends_the_cluster_and_reads_its_id(api, service):
    service.will_answer(200, {**CLUSTER, "credentialsId": "c1", "eks": {"assumeRoleArn": "arn:r"}})
    cluster = api.register("demo", "eu-central-1", "012345678901")
    assert service.requests[0]["body"] == {
        "name": "demo",
        "eks": {"accountId": "012345678901", "region": "eu-central-1", "clusterName": "demo"},
    }
    assert (cluster.id, cluster.credentials_id, cluster.assume_role_arn) == (ID, "c1", "arn:r")


def test_registering_can_name_the_organization_and_the_cluster_to_revive(api, service):
    service.will_answer(200, CLUSTER)
    api.register("demo", "eu-central-1", "012345678901", organization_id="o", cluster_id=ID)
    assert service.requests[0]["body"]["organizationId"] == "o"
    assert service.requests[0]["body"]["id"] == ID


def test_keys_are_handed_over_as_a_json_text(api, service):
    service.will_answer(200, CLUSTER)
    api.hand_over_keys(ID, "AKIAEXAMPLE", SECRET)
    [request] = service.requests
    assert request["call"] == f"POST /v1/kubernetes/external-clusters/{ID}"
    assert json.loads(request["body"]["credentials"]) == {
        "accessKeyId": "AKIAEXAMPLE",
        "secretAccessKey": SECRET,
    }


def test_a_role_is_handed_over_by_its_arn(api, service):
    service.will_answer(200, CLUSTER)
    api.hand_over_role(ID, "arn:aws:iam::012345678901:role/r")
    assert service.requests[0]["body"] == {
        "eks": {"assumeRoleArn": "arn:aws:iam::012345678901:role/r"}
    }


def test_a_disconnect_request_states_whether_nodes_are_deleted(api, service):
    service.will_answer(200, {**CLUSTER, "status": "deleting"})
    assert api.disconnect(ID, delete_nodes=True).status == "deleting"
    assert service.requests[0]["body"] == {
        "deleteProvisionedNodes": True,
        "keepKubernetesResources": True,
    }


def test_a_cluster_that_is_not_there_is_none(api, service):
    service.will_answer(404, {"message": "cluster not found"})
    assert api.get_cluster(ID) is None


@pytest.mark.parametrize("call", ["delete_cluster", "delete_principal"])
def test_deleting_what_is_gone_is_fine(api, service, call):
    service.will_answer(404, {"message": "not found"})
    assert getattr(api, call)(ID) is None


def test_deleting_what_must_be_disconnected_first_is_an_error(api, service):
    service.will_answer(400, {"message": "cluster must be disconnected first"})
    with pytest.raises(CastaiError, match="must be disconnected first"):
        api.delete_cluster(ID)


def test_nodes_are_read_page_by_page(api, service):
    label = {"provisioner.cast.ai/managed-by": "cast.ai"}
    service.will_answer(200, {"items": [{"id": "n1", "labels": label}], "nextCursor": "2"})
    service.will_answer(200, {"items": [{"id": "n2", "instanceId": "i-2"}], "nextCursor": ""})
    first, second = api.list_nodes(ID)
    assert (first.id, first.made_by_castai) == ("n1", True)
    assert (second.instance_id, second.made_by_castai) == ("i-2", False)
    assert [request["query"].get("page.cursor") for request in service.requests] == [None, "2"]


def test_a_cursor_that_does_not_move_ends_the_listing(api, service):
    for _ in range(2):
        service.will_answer(200, {"items": [{"id": "n"}], "nextCursor": "same"})
    assert len(api.list_nodes(ID)) == 2
    assert len(service.requests) == 2


def test_a_principal_that_does_not_exist_is_none(api, service):
    service.will_answer(200, {"arn": ""})
    assert api.get_principal(ID) is None


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_repeatable_calls_are_repeated(api, service, status):
    for _ in range(3):
        service.will_answer(status, {"message": "later"})
    service.will_answer(200, CLUSTER)
    assert api.hand_over_role(ID, "arn").id == ID
    assert len(service.requests) == 4


@pytest.mark.parametrize("call", ["create_token", "create_principal"])
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_possible_creation_is_not_repeated(api, service, call, status):
    service.will_answer(status, {"message": "Internal Server Error"})
    with pytest.raises(CastaiError) as caught:
        getattr(api, call)(ID)
    assert caught.value.status == status
    assert len(service.requests) == 1, "a second token would invalidate the first"


@pytest.mark.parametrize(
    ("call", "answer"), [("create_token", "token"), ("create_principal", "arn")]
)
def test_a_throttled_creation_is_repeated(api, service, call, answer):
    service.will_answer(429, {"message": "slow down"})
    service.will_answer(200, {answer: "value"})
    assert getattr(api, call)(ID) == "value"


def test_retries_end_with_the_last_answer(api, service):
    for _ in range(20):
        service.will_answer(503, {"message": "maintenance"})
    with pytest.raises(CastaiError) as caught:
        api.get_cluster(ID)
    assert str(caught.value) == f"CAST AI: cannot read cluster {ID}: HTTP 503, maintenance"
    assert len(service.requests) == 8


def _pauses():
    retry = client._retry((429,), read=0)
    for _ in range(7):
        retry = retry.increment("GET", "/", response=_Answer())
        yield retry.get_backoff_time()


def test_pauses_grow_with_jitter_and_stay_bounded():
    pauses = list(_pauses())
    assert pauses != list(_pauses()), "who was refused together comes back together"
    assert pauses[0] == 0
    assert 0.6 <= pauses[1] <= 1.1
    assert 2.4 <= pauses[3] <= 2.9
    assert max(pauses) <= 10


def test_a_service_that_asks_for_an_hour_is_asked_again_sooner():
    assert client._retry((429,), read=0).get_retry_after(_Answer()) == 30


class _Answer:
    status = 429
    headers = MappingProxyType({"Retry-After": "3600"})

    @staticmethod
    def get_redirect_location():
        return None


def test_an_error_has_message_fields_and_request_id(api, service):
    service.will_answer(
        400,
        {
            "message": "Forbidden",
            "fieldViolations": [{"field": "credentials", "description": "no access"}],
        },
        {"X-Castai-Request-Id": "req-7"},
    )
    with pytest.raises(CastaiError) as caught:
        api.hand_over_role(ID, "arn")
    assert str(caught.value) == (
        f"CAST AI: cannot hand credentials over for cluster {ID}: HTTP 400, Forbidden "
        "(credentials: no access) [request id req-7]"
    )
    assert caught.value.refuses_credentials
    assert caught.value.request_id == "req-7"


@pytest.mark.parametrize(
    ("status", "message", "field"),
    [(400, "Forbidden", "eks"), (400, "Bad", "credentials"), (403, "Forbidden", "credentials")],
)
def test_other_refusals_do_not_count_as_iam_propagation(api, service, status, message, field):
    service.will_answer(status, {"message": message, "fieldViolations": [{"field": field}]})
    with pytest.raises(CastaiError) as caught:
        api.hand_over_role(ID, "arn")
    assert not caught.value.refuses_credentials


def test_a_refused_key_names_the_sources_of_the_key(api, service):
    service.will_answer(401, {"message": "unauthorized"})
    with pytest.raises(CastaiError, match="check CASTAI_API_KEY or castai-eks:apiKey"):
        api.check_key()


@pytest.mark.parametrize("text", ["<html>gateway</html>", "[]", "5"])
def test_an_answer_that_is_no_json_object_is_an_error(api, service, text):
    service.will_answer(200, text)
    with pytest.raises(CastaiError, match="not a JSON object"):
        api.list_clusters()


@pytest.mark.parametrize(
    ("call", "missing"),
    [("create_token", "token"), ("create_principal", "ARN"), ("get_cluster", "cluster")],
)
def test_an_answer_without_the_thing_asked_for_is_an_error(api, service, call, missing):
    service.will_answer(200, {})
    with pytest.raises(CastaiError, match=f"the answer holds no {missing}"):
        getattr(api, call)(ID)


def test_a_redirect_is_not_followed_with_the_key(api, service):
    service.will_answer(302, {}, {"Location": f"{service.server.url}/elsewhere"})
    with pytest.raises(CastaiError, match="HTTP 302"):
        api.list_clusters()
    assert len(service.requests) == 1


def test_an_unreachable_service_names_the_address_and_what_to_check(service):
    service.server.close()
    api = CastaiApi(service.server.url, KEY)
    with pytest.raises(CastaiError) as caught:
        api.list_clusters()
    assert str(caught.value) == (
        f"CAST AI: cannot list clusters: no answer, ConnectionError at {service.server.url}. "
        "Check the address (api.url), the network and the proxy settings (HTTPS_PROXY, NO_PROXY)."
    )


def test_a_silent_service_is_given_up(service):
    service.will_answer(200, {"token": "too late"})
    given_up = threading.Event()
    service.silence = lambda: given_up.wait(5)
    api = CastaiApi(service.server.url, KEY, timeout_seconds=0.2)
    try:
        with pytest.raises(CastaiError, match="no answer"):
            api.create_token(ID)
    finally:
        given_up.set()


@pytest.fixture
def hanging_up():
    """A server that takes requests and closes the connection; its address, and what it heard."""
    methods = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve_them():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                methods.append(connection.recv(65536).split(b" ")[0].decode())

    thread = threading.Thread(target=serve_them, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", methods
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def test_a_broken_connection_is_tried_again_where_that_is_harmless(hanging_up):
    url, methods = hanging_up
    with pytest.raises(CastaiError, match="no answer, ConnectionError"):
        CastaiApi(url, KEY).get_cluster(ID)
    assert methods == ["GET"] * 8


@pytest.mark.parametrize("call", ["create_token", "create_principal"])
def test_a_creation_before_a_broken_connection_is_not_repeated(hanging_up, call):
    url, methods = hanging_up
    with pytest.raises(CastaiError, match="no answer, ConnectionError"):
        getattr(CastaiApi(url, KEY), call)(ID)
    assert methods == ["POST"]


@pytest.mark.parametrize("call", ["create_token", "create_principal"])
def test_a_request_that_never_arrived_is_repeated(call, caplog):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(CastaiError, match="no answer, ConnectionError"):
        getattr(CastaiApi(f"http://127.0.0.1:{port}", KEY), call)(ID)
    refused = [line for line in caplog.messages if "Connection refused" in line]
    assert len(refused) == 7


def test_no_secret_is_in_a_repr_a_log_or_an_error(api, service, caplog):
    caplog.set_level(logging.DEBUG)
    echo = f"you sent {KEY} and {SECRET}"
    service.will_answer(
        400,
        {"message": echo, "fieldViolations": [{"field": "credentials", "description": echo}]},
    )
    with pytest.raises(CastaiError) as caught:
        api.hand_over_keys(ID, "AKIAEXAMPLE", SECRET)
    messages = f"{api!r} {vars(api)!r} {caught.value!r} {vars(caught.value)!r} {caplog.text}"
    assert KEY not in messages, "the API key is told"
    assert SECRET not in messages, "the secret access key is told"
    assert "you sent *** and ***" in str(caught.value)


def test_the_proxy_of_the_environment_is_used(service, monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", service.server.url)
    service.will_answer(200, {"items": []})
    CastaiApi("http://localhost:1", KEY).list_clusters()
    assert service.requests[0]["headers"]["Host"] == "localhost:1"


@pytest.mark.parametrize(
    "url", ["http://api.cast.ai", "http://10.0.0.1", "ftp://api.cast.ai", "api.cast.ai", "https://"]
)
def test_addresses_that_would_send_the_key_in_clear_are_refused(url):
    with pytest.raises(CastaiError, match="Give an https:// address"):
        CastaiApi(url, KEY)


@pytest.mark.parametrize(
    "url", ["https://api.cast.ai/", "https://api.eu.cast.ai", "http://localhost:1", "http://[::1]"]
)
def test_any_configured_region_is_used(url):
    assert CastaiApi(url, KEY).url == url.rstrip("/")


@pytest.mark.parametrize("key", ["", "  \n"])
def test_an_empty_key_starts_nothing(key):
    with pytest.raises(CastaiError, match="the API key is empty"):
        CastaiApi("https://api.cast.ai", key)


def test_absent_fields_of_a_cluster_are_empty():
    cluster = Cluster.parse({"id": ID, "eks": None})
    assert (cluster.credentials_id, cluster.status, cluster.reconcile_error) == ("", "", "")
    assert not cluster.archived


def test_the_reason_of_a_failed_reconcile_is_found_in_either_place():
    assert Cluster.parse({"id": ID, "reconcileError": "a"}).reconcile_error == "a"
    assert Cluster.parse({"id": ID, "reconcileInfo": {"error": "b"}}).reconcile_error == "b"


def test_a_cluster_without_an_id_is_an_error_that_names_it(api, service):
    service.will_answer(200, {"items": [{"name": "no id"}]})
    with pytest.raises(CastaiError, match="the answer holds a cluster without id"):
        api.list_clusters()


@pytest.mark.parametrize("items", ["text", {"id": ID}, ["text"], [None]])
def test_items_that_are_no_objects_are_an_error(api, service, items):
    service.will_answer(200, {"items": items})
    with pytest.raises(CastaiError, match="the answer's items are no list of objects"):
        api.list_clusters()


@pytest.mark.parametrize(
    ("status", "answer"),
    [(404, {"message": "Not Found"}), (404, "<html>"), (200, "<html>"), (302, {}), (403, "no")],
)
def test_every_answer_of_a_wrong_address_names_the_address(api, service, status, answer):
    service.will_answer(status, answer, {"Location": "/login"} if status == 302 else {})
    with pytest.raises(CastaiError) as caught:
        api.check_key()
    assert str(caught.value).endswith(
        f"{service.server.url} does not answer as CAST AI's API: api.url (or CASTAI_API_URL) is "
        "the API's address without a version, https://api.cast.ai or https://api.eu.cast.ai."
    )


@pytest.mark.parametrize("answer", [{"message": "maintenance"}, "<html>"])
def test_a_service_that_is_down_is_not_a_wrong_address(api, service, answer):
    for _ in range(20):
        service.will_answer(503, answer)
    with pytest.raises(CastaiError) as caught:
        api.check_key()
    assert "api.url" not in str(caught.value)


def test_a_missing_cluster_is_not_a_wrong_address(api, service):
    service.will_answer(404, {"message": "no such cluster"})
    assert api.get_cluster(ID) is None


def test_an_address_with_a_password_is_refused_without_it():
    with pytest.raises(CastaiError) as caught:
        CastaiApi("https://me:SENTINEL@api.cast.ai", KEY)
    assert "SENTINEL" not in str(caught.value)
    assert "api.url holds a user or password" in str(caught.value)


def test_only_the_type_of_a_librarys_error_is_shown(api, monkeypatch):
    def refuse(*_, **__):
        raise ValueError(f"Invalid header value {KEY!r}")

    monkeypatch.setattr(api._repeating, "request", refuse)
    with pytest.raises(CastaiError) as caught:
        api.check_key()
    assert KEY not in str(caught.value)
    assert "ValueError at" in str(caught.value)
    assert caught.value.__suppress_context__
