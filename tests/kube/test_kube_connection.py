"""How a connection reaches an API server: TLS, login and identity, on a real socket."""

import json
import ssl
import stat
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from lightkube.resources.core_v1 import ConfigMap

from castai_stack.kube.connection import ANSWER_SECONDS, CONNECT_SECONDS, connect, explain
from castai_stack.kube.endpoint import KubeconfigError
from castai_stack.kube.kubeconfig import eks_kubeconfig
from sandbox.kubernetes import certificates

BETA = "client.authentication.k8s.io/v1beta1"


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.headers)
        peer = self.connection.getpeercert() if hasattr(self.connection, "getpeercert") else None
        self.server.peers.append(bool(peer))
        code = 401 if self.headers.get("Authorization") in self.server.refused else 200
        if code == 200 and not self.path.endswith("/configmaps/there"):
            code = 404
        body = json.dumps(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "there"}}
            if code == 200
            else {"kind": "Status", "code": code, "message": 'configmaps "gone" not found'}
        ).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self):
        self.server.requests.append(self.headers)
        self.send_response(502)
        self.end_headers()

    def log_message(self, *_args):
        pass


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return certificates.make(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A client certificate, which is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = certificates._authority(key).public_bytes(serialization.Encoding.PEM)
    folder = tmp_path_factory.mktemp("client")
    (folder / "client.crt").write_bytes(certificate)
    certificates._write_key(folder / "client.key", key)
    return folder / "client.crt", folder / "client.key"


def serve(context=None):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.requests, server.peers, server.refused = [], [], set()
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    return server, thread


def stop(server, thread):
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def api_server(keys, pair):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=pair[0])
    context.load_cert_chain(keys.serving_certificate, keys.serving_key)
    context.verify_mode = ssl.CERT_OPTIONAL
    server, thread = serve(context)
    server.authority = keys.authority
    yield server
    stop(server, thread)


def tokens(server):
    return [headers.get("Authorization") for headers in server.requests]


def kubeconfig(server=None, /, user=None, name="one", **cluster):
    address = f"https://127.0.0.1:{server.server_port}" if server else "https://127.0.0.1:1"
    if server:
        cluster.setdefault("certificate-authority", str(server.authority))
    return {
        "clusters": [{"name": name, "cluster": {"server": address, **cluster}}],
        "users": [{"name": name, "user": {"token": "hush"} if user is None else user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }


def read(config, context=None, name="there"):
    with connect(config if isinstance(config, str) else json.dumps(config), context) as client:
        return client.get(ConfigMap, name, namespace="kube-system").metadata.name


def program(path, answer, before=""):
    """A login program that appends its request to a file and prints an answer."""
    body = answer if isinstance(answer, str) else json.dumps(answer)
    path.write_text(
        f'#!/bin/sh\n{before}\necho "$KUBERNETES_EXEC_INFO" >> "$0.requests"\n'
        f"cat <<'END'\n{body}\nEND\n"
    )
    path.chmod(stat.S_IRWXU)
    return str(path)


def credential(version=BETA, **status):
    return {"apiVersion": version, "kind": "ExecCredential", "status": status}


def login(path, answer, before="", **more):
    return {"exec": {"apiVersion": BETA, "command": program(path, answer, before), **more}}


def test_the_text_of_a_kubeconfig_reaches_the_server_with_its_token(api_server):
    assert read(kubeconfig(api_server)) == "there"
    assert tokens(api_server) == ["Bearer hush"]


def test_a_path_reaches_the_server_and_resolves_files_beside_it(api_server, tmp_path):
    (tmp_path / "token").write_text("beside")
    path = tmp_path / "config"
    path.write_text(json.dumps(kubeconfig(api_server, {"tokenFile": "token"})))

    assert read(str(path)) == "there"
    assert tokens(api_server) == ["Bearer beside"]


def test_a_login_program_beside_the_file_is_run(api_server, tmp_path):
    program(tmp_path / "login.sh", credential(token="fresh"))
    path = tmp_path / "config"
    path.write_text(
        json.dumps(kubeconfig(api_server, {"exec": {"apiVersion": BETA, "command": "./login.sh"}}))
    )

    assert read(str(path)) == "there"
    assert tokens(api_server) == ["Bearer fresh"]


def test_ambient_merges_the_files_of_kubeconfig_and_the_first_wins(
    api_server, tmp_path, monkeypatch
):
    first, second, empty = tmp_path / "first", tmp_path / "second", tmp_path / "empty"
    first.write_text(json.dumps(kubeconfig(api_server, {"token": "first"})))
    second.write_text(
        json.dumps(kubeconfig(api_server, {"token": "second"}, "two")).replace(
            '"users": [', '"users": [{"name": "one", "user": {"token": "late"}}, '
        )
    )
    empty.write_text("")
    monkeypatch.setenv("KUBECONFIG", f"{empty}:{first}:{tmp_path / 'absent'}:{second}")

    read("ambient")
    read("ambient", "two")

    assert tokens(api_server) == ["Bearer first", "Bearer second"]


def test_the_name_in_the_certificate_may_differ_from_the_address(api_server):
    """A private endpoint behind a tunnel on this machine."""
    read(kubeconfig(api_server, **{"tls-server-name": "kubernetes.default.svc"}))

    with pytest.raises(Exception, match=r"example\.test") as caught:
        read(kubeconfig(api_server, **{"tls-server-name": "example.test"}))
    assert "CERTIFICATE_VERIFY_FAILED" in explain(caught.value)


def test_a_server_of_another_authority_is_refused_without_the_insecure_switch(api_server):
    strangers = {"certificate-authority": ""}

    with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
        read(kubeconfig(api_server, **strangers))
    assert read(kubeconfig(api_server, **strangers, **{"insecure-skip-tls-verify": True}))


def test_an_impersonation_is_sent_with_every_request(api_server):
    user = {"token": "t", "as": "somebody", "as-groups": ["a", "b"], "as-user-extra": {"k": ["v"]}}

    read(kubeconfig(api_server, user))

    (headers,) = api_server.requests
    assert headers.get_all("Impersonate-User") == ["somebody"]
    assert headers.get_all("Impersonate-Group") == ["a", "b"]
    assert headers.get_all("Impersonate-Extra-k") == ["v"]
    assert headers["Authorization"] == "Bearer t"


def test_requests_go_through_the_proxy_of_the_cluster():
    proxy, thread = serve()
    try:
        address = f"http://127.0.0.1:{proxy.server_port}"
        with pytest.raises(Exception, match="502") as caught:
            read(kubeconfig(**{"proxy-url": address}))
        assert explain(caught.value).startswith("cannot reach https://127.0.0.1:1/ (502")
        assert [headers["Host"] for headers in proxy.requests] == ["127.0.0.1:1"]
    finally:
        stop(proxy, thread)


def test_compression_is_not_asked_for_where_it_is_switched_off(api_server):
    read(kubeconfig(api_server))
    read(kubeconfig(api_server, **{"disable-compression": True}))

    kinds = [headers["Accept-Encoding"] for headers in api_server.requests]
    assert "gzip" in kinds[0]
    assert kinds[1] == "identity"


def test_no_login_is_sent_without_tls(tmp_path):
    """client-go does the same, so an update would be anonymous, too."""
    server, thread = serve()
    try:
        address = {"server": f"http://127.0.0.1:{server.server_port}"}
        read(kubeconfig(**address))
        read(kubeconfig(user=login(tmp_path / "login", credential(token="x")), **address))
        assert tokens(server) == [None, None]
    finally:
        stop(server, thread)


def test_a_client_certificate_is_shown(api_server, pair):
    user = {"client-certificate": str(pair[0]), "client-key": str(pair[1])}

    read(kubeconfig(api_server, user))

    assert api_server.peers == [True]


def test_a_login_program_may_answer_a_client_certificate(api_server, pair, tmp_path):
    texts = {
        "clientCertificateData": pair[0].read_text(),
        "clientKeyData": pair[1].read_text(),
    }

    read(kubeconfig(api_server, login(tmp_path / "login", credential(**texts))))

    assert api_server.peers == [True]
    assert tokens(api_server) == [None]


def test_a_key_that_does_not_fit_is_refused_before_a_request(api_server, keys):
    user = {
        "client-certificate": str(keys.serving_certificate),
        "client-key": str(keys.service_account_key),
    }

    with pytest.raises(KubeconfigError, match="client-certificate: the client certificate and"):
        read(kubeconfig(api_server, user))
    assert api_server.requests == []


def test_an_authority_without_a_certificate_is_refused(api_server, keys):
    with pytest.raises(KubeconfigError, match="certificate-authority holds no certificate"):
        read(kubeconfig(api_server, **{"certificate-authority": str(keys.serving_key)}))


@pytest.mark.parametrize("version", ["v1beta1", "v1"])
def test_a_login_program_gets_the_version_of_its_entry(api_server, tmp_path, version):
    api_version = f"client.authentication.k8s.io/{version}"
    user = login(
        tmp_path / "login",
        credential(api_version, token="fresh"),
        apiVersion=api_version,
        interactiveMode="Never",
    )

    assert read(kubeconfig(api_server, user)) == "there"
    assert tokens(api_server) == ["Bearer fresh"]
    request = json.loads((tmp_path / "login.requests").read_text())
    assert request == {
        "apiVersion": api_version,
        "kind": "ExecCredential",
        "spec": {"interactive": False},
    }


def test_a_login_program_gets_its_variables_and_the_cluster_if_it_asks(api_server, tmp_path):
    user = login(
        tmp_path / "login",
        credential(token="fresh"),
        before='echo "$REGION" > "$0.region"',
        env=[{"name": "REGION", "value": "eu-central-1"}],
        provideClusterInfo=True,
    )
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"a": "b"}}

    read(kubeconfig(api_server, user, extensions=[extension]))

    assert (tmp_path / "login.region").read_text() == "eu-central-1\n"
    cluster = json.loads((tmp_path / "login.requests").read_text())["spec"]["cluster"]
    assert cluster["server"] == f"https://127.0.0.1:{api_server.server_port}"
    assert cluster["config"] == {"a": "b"}
    assert set(cluster) == {"server", "config", "certificate-authority-data"}


def test_a_login_program_runs_once_until_its_answer_expires(api_server, tmp_path):
    def requests(moment):
        path = tmp_path / f"login-{moment[:4]}"
        user = login(path, credential(token="fresh", expirationTimestamp=moment))
        with connect(json.dumps(kubeconfig(api_server, user)), None) as client:
            for _ in range(3):
                client.get(ConfigMap, "there", namespace="kube-system")
        return len((tmp_path / f"{path.name}.requests").read_text().splitlines())

    assert requests("2999-01-01T00:00:00Z") == 1
    assert requests("2001-01-01T00:00:00Z") == 3


def test_a_refused_token_is_renewed_once(api_server, tmp_path):
    path = tmp_path / "token"
    path.write_text("old")
    config = kubeconfig(api_server, {"tokenFile": str(path)})
    with connect(json.dumps(config), None) as client:
        client.get(ConfigMap, "there", namespace="kube-system")
        path.write_text("new")
        api_server.refused.add("Bearer old")
        client.get(ConfigMap, "there", namespace="kube-system")
        api_server.refused.add("Bearer new")
        with pytest.raises(Exception, match="gone"):
            client.get(ConfigMap, "there", namespace="kube-system")

    assert tokens(api_server) == ["Bearer old", "Bearer old", "Bearer new", "Bearer new"]


def test_threads_share_one_run_of_a_login_program(api_server, tmp_path):
    user = login(tmp_path / "login", credential(token="fresh"), before="sleep 0.2")
    with connect(json.dumps(kubeconfig(api_server, user)), None) as client:
        threads = [
            threading.Thread(
                target=client.get, args=(ConfigMap, "there"), kwargs={"namespace": "n"}
            )
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len((tmp_path / "login.requests").read_text().splitlines()) == 1


ANSWERS = {
    "nothing": ("", "answered without an ExecCredential"),
    "a sentence": ("Please log in: SECRET", "answered without an ExecCredential"),
    "no YAML": ("{SECRET: [", "answered with a text that is not YAML or JSON"),
    "another kind": ({"kind": "Status", "status": {}}, "answered without an ExecCredential"),
    "no version": (
        {"kind": "ExecCredential", "status": {"token": "SECRET"}},
        "answered another apiVersion",
    ),
    "another version": (
        credential("client.authentication.k8s.io/v1", token="SECRET"),
        "answered another apiVersion",
    ),
    "no status": ({"apiVersion": BETA, "kind": "ExecCredential"}, "answered without a status"),
    "an empty status": (credential(), "answered without a token and without a certificate"),
    "an empty token": (credential(token=""), "answered without a token and without a certificate"),
    "half a pair": (
        credential(clientKeyData="SECRET"),
        "answered a certificate or a key, not both",
    ),
    "a number": (credential(token=7), "answered a status.token that is no text"),
    "a line break": (credential(token="SECRET\n"), "answered a token that holds a line break"),
    "quotes": (credential(token='"SECRET"'), "answered a token that holds a quotation mark"),
    "no time": (
        credential(token="SECRET", expirationTimestamp="soon"),
        "answered a status.expirationTimestamp that is no RFC 3339 time",
    ),
}


@pytest.mark.parametrize("case", ANSWERS, ids=str)
def test_an_unusable_answer_of_a_login_program_is_named_and_not_shown(api_server, tmp_path, case):
    answer, message = ANSWERS[case]
    path = tmp_path / "login"

    with pytest.raises(KubeconfigError) as caught:
        read(kubeconfig(api_server, login(path, answer)))

    assert explain(caught.value).startswith(f"the kubeconfig's login program {path} {message}")
    assert "SECRET" not in explain(caught.value)
    assert api_server.requests == []


def test_an_answer_in_yaml_is_read(api_server, tmp_path):
    text = f"apiVersion: {BETA}\nkind: ExecCredential\nstatus: {{token: fresh}}\n"

    read(kubeconfig(api_server, login(tmp_path / "login", text)))

    assert tokens(api_server) == ["Bearer fresh"]


def test_a_user_without_a_login_is_anonymous(api_server):
    config = kubeconfig(api_server)
    del config["contexts"][0]["context"]["user"]

    assert read(config) == "there"
    assert tokens(api_server) == [None]


def test_the_protocols_that_threads_share_are_set_once(api_server, monkeypatch):
    calls, original = [], ssl.SSLContext.set_alpn_protocols
    monkeypatch.setattr(
        ssl.SSLContext,
        "set_alpn_protocols",
        lambda context, protocols: (calls.append(protocols), original(context, protocols))[1],
    )
    with connect(json.dumps(kubeconfig(api_server)), None) as client:
        for _ in range(3):  # the server closes each connection
            client.get(ConfigMap, "there", namespace="kube-system")

    assert len(tokens(api_server)) == 3
    assert calls == [["http/1.1"]]


def test_time_outs_are_set():
    with connect(json.dumps(kubeconfig()), None) as client:
        assert (client._timeout.connect, client._timeout.read) == (CONNECT_SECONDS, ANSWER_SECONDS)


def test_a_missing_file_and_the_searched_places_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))

    with pytest.raises(KubeconfigError, match=r"there is no file /nowhere/config; give the path"):
        connect("/nowhere/config", None)
    with pytest.raises(KubeconfigError, match=r"there is no kubeconfig at .*absent; set KUBECON"):
        connect("ambient", None)


def test_the_eks_kubeconfig_logs_in_by_the_aws_cli_and_holds_no_secret():
    config = json.loads(eks_kubeconfig("demo", "eu-central-1", "https://example.test", "Y2E="))

    assert config["users"] == [
        {
            "name": "demo",
            "user": {
                "exec": {
                    "apiVersion": "client.authentication.k8s.io/v1beta1",
                    "command": "aws",
                    "args": [
                        "--region",
                        "eu-central-1",
                        "eks",
                        "get-token",
                        "--cluster-name",
                        "demo",
                        "--output",
                        "json",
                    ],
                }
            },
        }
    ]
    assert config["clusters"][0]["cluster"] == {
        "server": "https://example.test",
        "certificate-authority-data": "Y2E=",
    }


def explained(config, name="there"):
    try:
        read(config, name=name)
    except Exception as error:  # noqa: BLE001 - every error must be explained
        return explain(error)
    return "no error"


def test_failures_are_explained_in_a_sentence(api_server):
    exec_of = {"apiVersion": BETA}

    assert explained(kubeconfig(api_server), "gone") == (
        'the API server answered 404: configmaps "gone" not found'
    )
    assert explained(kubeconfig()).startswith("cannot reach https://127.0.0.1:1/ (")
    assert explained(kubeconfig(api_server, {"exec": {**exec_of, "command": "no-such-login"}})) == (
        "the kubeconfig's login program no-such-login is not on PATH"
    )
    hint = {"installHint": "install it\nfrom its page"}
    assert explained(
        kubeconfig(api_server, {"exec": {**exec_of, "command": "no-such-login", **hint}})
    ).endswith("is not on PATH; install it from its page")
    assert explained(kubeconfig(api_server, {"exec": {**exec_of, "command": "false"}})) == (
        "the kubeconfig's login program false failed with exit code 1"
    )
    key = "x" * 40
    assert explained(
        kubeconfig(
            api_server,
            {"exec": {**exec_of, "command": "sh", "args": ["-c", f"echo no {key} >&2; exit 3"]}},
        )
    ) == ("the kubeconfig's login program sh failed with exit code 3: no [hidden]")
