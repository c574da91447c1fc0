import json
import stat
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from lightkube.resources.core_v1 import ConfigMap

from castai_stack.kube.connection import ANSWER_SECONDS, CONNECT_SECONDS, connect, explain
from castai_stack.kube.kubeconfig import KubeconfigError, eks_kubeconfig


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.tokens.append(self.headers.get("Authorization"))
        found = self.path.endswith("/configmaps/there")
        body = json.dumps(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "there"}}
            if found
            else {"kind": "Status", "code": 404, "message": 'configmaps "gone" not found'}
        ).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args):
        pass


@pytest.fixture
def api_server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.tokens = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def kubeconfig(address="http://127.0.0.1:1", user=None, name="one"):
    return {
        "clusters": [{"name": name, "cluster": {"server": address}}],
        "users": [{"name": name, "user": user or {"token": "hush"}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }


def address_of(server):
    return f"http://127.0.0.1:{server.server_port}"


def read(config, context=None, name="there"):
    with connect(config, context) as client:
        return client.get(ConfigMap, name, namespace="kube-system").metadata.name


def test_the_text_of_a_kubeconfig_reaches_the_server_with_its_token(api_server):
    assert read(json.dumps(kubeconfig(address_of(api_server)))) == "there"
    assert api_server.tokens == ["Bearer hush"]


def test_a_path_reaches_the_server_and_resolves_files_beside_it(api_server, tmp_path):
    (tmp_path / "token").write_text("beside")
    path = tmp_path / "config"
    path.write_text(json.dumps(kubeconfig(address_of(api_server), {"tokenFile": "token"})))

    assert read(str(path)) == "there"
    assert api_server.tokens == ["Bearer beside"]


def test_ambient_merges_the_files_of_kubeconfig_and_the_first_wins(
    api_server, tmp_path, monkeypatch
):
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text(json.dumps(kubeconfig(address_of(api_server), {"token": "first"})))
    second.write_text(
        json.dumps(kubeconfig(address_of(api_server), {"token": "second"}, "two")).replace(
            '"users": [', '"users": [{"name": "one", "user": {"token": "late"}}, '
        )
    )
    monkeypatch.setenv("KUBECONFIG", f"{first}:{tmp_path / 'absent'}:{second}")

    read("ambient")
    read("ambient", "two")

    assert api_server.tokens == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize("version", ["v1beta1", "v1"])
def test_an_exec_login_of_any_current_version_is_run_and_told_the_version(
    api_server, tmp_path, version
):
    login = tmp_path / "login"
    login.write_text(
        '#!/bin/sh\necho "$KUBERNETES_EXEC_INFO" > "$0.told"\n'
        'echo \'{"status": {"token": "fresh"}}\'\n'
    )
    login.chmod(stat.S_IRWXU)
    asked = f"client.authentication.k8s.io/{version}"
    user = {"exec": {"apiVersion": asked, "command": str(login)}}

    assert read(json.dumps(kubeconfig(address_of(api_server), user))) == "there"
    assert api_server.tokens == ["Bearer fresh"]
    assert json.loads((tmp_path / "login.told").read_text())["apiVersion"] == asked


def test_a_user_without_a_login_is_anonymous(api_server):
    config = kubeconfig(address_of(api_server))
    del config["contexts"][0]["context"]["user"]

    assert read(json.dumps(config)) == "there"
    assert api_server.tokens == [None]


def test_time_outs_are_set():
    with connect(json.dumps(kubeconfig()), None) as client:
        assert (client._timeout.connect, client._timeout.read) == (CONNECT_SECONDS, ANSWER_SECONDS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("token: hush\n\tx", "kubeconfig text: is not YAML or JSON"),
        ("- hush\n", "kubeconfig text: is not a kubeconfig, found list"),
        ("clusters: hush\n", "kubeconfig text: clusters must be a list of `name` and `cluster`"),
    ],
)
def test_what_is_no_kubeconfig_is_refused_without_quoting_it(text, message):
    with pytest.raises(KubeconfigError) as caught:
        connect(text, None)

    assert str(caught.value) == message


def test_an_unknown_context_is_named():
    with pytest.raises(KubeconfigError) as caught:
        connect(json.dumps(kubeconfig()), "other")

    assert str(caught.value) == (
        "kubeconfig text: there is no context 'other'; name one of its contexts in "
        "cluster.context, or another file in cluster.kubeconfig"
    )


def test_a_missing_file_is_named_and_ambient_without_a_file_says_where_it_looked(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))

    with pytest.raises(KubeconfigError, match=r"there is no file /nowhere/config; give the path"):
        connect("/nowhere/config", None)
    with pytest.raises(KubeconfigError, match=r"there is no kubeconfig at .*absent; set KUBECON"):
        connect("ambient", None)


def test_the_eks_kubeconfig_logs_in_by_the_aws_cli_and_holds_no_secret():
    made = json.loads(eks_kubeconfig("demo", "eu-central-1", "https://example.test", "Y2E="))

    assert made["users"] == [
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
    assert made["clusters"][0]["cluster"] == {
        "server": "https://example.test",
        "certificate-authority-data": "Y2E=",
    }


def explained(config, name="there"):
    try:
        read(json.dumps(config), name=name)
    except Exception as error:  # noqa: BLE001 - whatever comes must be explained
        return explain(error)
    return "nothing went wrong"


def test_failures_are_explained_in_a_sentence(api_server):
    exec_of = {"apiVersion": "client.authentication.k8s.io/v1beta1"}
    address = address_of(api_server)

    assert explained(kubeconfig(address), "gone") == (
        'the API server answered 404: configmaps "gone" not found'
    )
    assert explained(kubeconfig("http://127.0.0.1:1")).startswith(
        "cannot reach http://127.0.0.1:1/ ("
    )
    assert explained(kubeconfig(address, {"exec": {**exec_of, "command": "no-such-login"}})) == (
        "the kubeconfig's login program no-such-login is not on PATH"
    )
    assert explained(kubeconfig(address, {"exec": {**exec_of, "command": "true"}})) == (
        "the kubeconfig's login program answered without a token"
    )
    assert explained(kubeconfig(address, {"exec": {**exec_of, "command": "false"}})) == (
        "the kubeconfig's login failed: Exec false returned 1:"
    )
