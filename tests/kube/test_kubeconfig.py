"""What a kubeconfig says, key by key, as client-go reads it."""

import base64
import codecs
import json

import pytest
import yaml

from castai_stack.kube.endpoint import KubeconfigError
from castai_stack.kube.kubeconfig import eks_kubeconfig, read, relative_references
from castai_stack.kube.kubeconfig_entry import token_fault
from castai_stack.kube.kubeconfig_text import secret_keys

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
V1BETA1 = "client.authentication.k8s.io/v1beta1"
EXEC = {"apiVersion": V1BETA1, "command": "aws"}


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def config(user=None, cluster=None, **more):
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [
            {"name": "c", "cluster": {"server": "https://example.test", **(cluster or {})}}
        ],
        "users": [{"name": "u", "user": {"token": "t"} if user is None else user}],
        **more,
    }


def endpoint(user=None, cluster=None, context=None, **more):
    return read(json.dumps(config(user, cluster, **more)), context)


def refusal(*args, **kwargs):
    with pytest.raises(KubeconfigError) as caught:
        endpoint(*args, **kwargs)
    return str(caught.value)


def test_every_key_of_a_cluster_is_read():
    cluster = endpoint(
        cluster={
            "certificate-authority-data": encoded(PEM),
            "tls-server-name": "api.example.test",
            "proxy-url": "http://proxy.test:3128",
            "disable-compression": True,
        }
    ).cluster

    assert cluster.authority == PEM
    assert cluster.tls_server_name == "api.example.test"
    assert cluster.proxy_url == "http://proxy.test:3128"
    assert not cluster.compression
    assert not cluster.insecure
    assert endpoint(cluster={"insecure-skip-tls-verify": True}).cluster.insecure


def test_an_impersonation_becomes_the_headers_that_client_go_sends():
    user = {
        "token": "t",
        "as": "nobody-in-particular",
        "as-uid": "7",
        "as-groups": ["a", "b"],
        "as-user-extra": {"example.com/scope": ["x", "y"]},
    }

    assert endpoint(user).user.impersonation == (
        ("Impersonate-User", "nobody-in-particular"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
        ("Impersonate-Extra-example.com%2Fscope", "x"),
        ("Impersonate-Extra-example.com%2Fscope", "y"),
    )


def test_an_impersonation_of_a_user_alone_has_one_header():
    user = {"token": "t", "as": "somebody"}

    assert endpoint(user).user.impersonation == (("Impersonate-User", "somebody"),)


@pytest.mark.parametrize("key", ["as-uid", "as-groups", "as-user-extra"])
def test_an_impersonation_without_a_user_is_refused(key):
    value = {"as-uid": "7", "as-groups": ["a"], "as-user-extra": {"k": ["v"]}}[key]

    assert "without `as`" in refusal({"token": "t", key: value})


def test_an_impersonation_with_a_line_break_is_refused_without_its_value():
    message = refusal({"token": "t", "as": "one\r\nX-Other: two"})

    assert "the value of Impersonate-User has a line break" in message
    assert "X-Other" not in message


@pytest.mark.parametrize(
    ("user", "applied"),
    [
        ({"token": "", "exec": EXEC}, "login"),
        ({"token": None, "tokenFile": "", "exec": EXEC}, "login"),
        ({"username": "", "password": "p", "exec": EXEC}, "login"),
        ({"token": "t", "exec": EXEC}, "token"),
        ({"username": "n", "password": "p", "exec": EXEC}, "username"),
        (
            {
                "client-certificate-data": encoded(PEM),
                "client-key-data": encoded("key"),
                "exec": EXEC,
            },
            "certificate",
        ),
        ({}, None),
    ],
    ids=str,
)
def test_the_login_program_runs_only_without_another_login(user, applied):
    chosen = endpoint(user).user

    names = ("token", "username", "certificate", "login")
    assert [name for name in names if getattr(chosen, name)] == ([applied] if applied else [])


REFUSED = {
    "a token and a password": ({"token": "t", "username": "n"}, {}, "a token and a password"),
    "an auth provider": ({"auth-provider": {"name": "oidc"}}, {}, "auth-provider: is not"),
    "a certificate without its key": (
        {"client-certificate-data": encoded(PEM)},
        {},
        "without a client-key",
    ),
    "a certificate twice": (
        {"client-certificate": "a", "client-certificate-data": encoded(PEM)},
        {},
        "has client-certificate and client-certificate-data",
    ),
    "a token that is a number": ({"token": 12345}, {}, "token: found a value of type int"),
    "groups that are a text": ({"as": "a", "as-groups": "b"}, {}, "as-groups: found a value of"),
    "no base64": (
        {"client-certificate-data": "ä!"},
        {},
        "client-certificate-data: is not base64",
    ),
    "a token file that is missing": ({"tokenFile": "/nowhere"}, {}, "tokenFile: /nowhere cannot"),
    "an old exec": (
        {"exec": {**EXEC, "apiVersion": "client.authentication.k8s.io/v1alpha1", "env": None}},
        {},
        "`aws eks update-kubeconfig` of a current AWS CLI writes the entry again",
    ),
    "an exec without a version": ({"exec": {"command": "aws"}}, {}, "exec.apiVersion: found ''"),
    "an exec without a command": ({"exec": {"apiVersion": V1BETA1}}, {}, "exec.command: is miss"),
    "an exec of v1 without a mode": (
        {"exec": {**EXEC, "apiVersion": "client.authentication.k8s.io/v1"}},
        {},
        "exec.interactiveMode: found ''",
    ),
    "an exec that asks the terminal": (
        {"exec": {**EXEC, "interactiveMode": "Always"}},
        {},
        "exec.interactiveMode: found 'Always'",
    ),
    "a variable without a name": ({"exec": {**EXEC, "env": [{"value": "x"}]}}, {}, "exec.env"),
    "no server": (None, {"server": ""}, "server: is no http or https address"),
    "a server without a scheme": (None, {"server": "example.test:443"}, "server: is no http"),
    "a server with a password": (None, {"server": "https://a:b@example.test"}, "server: is no"),
    "an insecure authority": (
        None,
        {"insecure-skip-tls-verify": True, "certificate-authority-data": encoded(PEM)},
        "insecure-skip-tls-verify: is true beside",
    ),
    "a proxy of SOCKS": (None, {"proxy-url": "socks5://proxy.test"}, "proxy-url: only http and"),
    "an authority twice": (
        None,
        {"certificate-authority": "a", "certificate-authority-data": encoded(PEM)},
        "has certificate-authority and certificate-authority-data",
    ),
    "a switch that is a text": (
        None,
        {"insecure-skip-tls-verify": "true"},
        "insecure-skip-tls-verify: found a value of type str; allowed: true or false",
    ),
}


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_a_key_that_cannot_be_applied_is_refused_by_its_name(case):
    user, cluster, message = REFUSED[case]

    assert message in refusal(user, cluster)


@pytest.mark.parametrize(
    ("token", "fault"),
    [
        ("SECRET\n", "a line break"),
        ("SEC\r\nRET", "a line break"),
        (" SECRET", "a blank"),
        ("SEC\tRET", "a blank"),
        ('"SECRET"', "a quotation mark"),
        ("'SECRET'", "a quotation mark"),
        ("SECRET\u200b", "an invisible or non-ASCII character"),
        ("\ufeffSECRET", "an invisible or non-ASCII character"),
        ("SECRET\x00", "an invisible or non-ASCII character"),
        ("S\u0415CRET", "an invisible or non-ASCII character"),
    ],
    ids=ascii,
)
def test_a_token_that_fits_into_no_header_is_refused_and_not_shown(token, fault):
    message = refusal({"token": token})

    assert f"token: the token holds {fault}" in message
    assert "SEC" not in message


def test_a_usual_token_has_no_fault():
    assert token_fault("k8s-aws-v1.aHR0cHM6Ly9zdHM_YWN0aW9u==~x+/") is None


def test_a_token_file_is_stripped_and_comes_before_the_token(tmp_path):
    path = tmp_path / "token"
    path.write_text("fresh\n")

    assert endpoint({"token": "old", "tokenFile": str(path)}).user.token_file == str(path)
    path.write_text("fr esh")
    assert "tokenFile: the token holds a blank" in refusal({"tokenFile": str(path)})
    path.write_text("\n")
    assert "is empty" in refusal({"tokenFile": str(path)})
    path.unlink()
    assert endpoint({"token": "old", "tokenFile": str(path)}).user.token == "old"


def test_content_that_is_no_pem_is_refused_by_the_key_that_holds_it(tmp_path):
    path = tmp_path / "client.crt"
    path.write_bytes(b"\xff\xfe")
    data = base64.b64encode(b"\xff\xfe").decode()

    assert "client-certificate: is not in PEM form" in refusal({"client-certificate": str(path)})
    assert "client-certificate-data: is not in PEM" in refusal({"client-certificate-data": data})


def as_yaml(**more):
    return yaml.safe_dump(config(**more))


@pytest.mark.parametrize(
    "content",
    [
        as_yaml().encode("utf-16"),
        codecs.BOM_UTF16_BE + as_yaml().encode("utf-16-be"),
        as_yaml().encode("utf-8-sig"),
        json.dumps(config()).encode("utf-16"),
        json.dumps(config(), indent="\t").encode(),
        f"---\n{as_yaml()}---\nkind: Other\n".encode(),
        f"{as_yaml()}...\n---\n\tnot yaml: [".encode(),
        as_yaml().replace("\n", "\r\n").encode(),
    ],
    ids=["utf-16", "utf-16-be", "bom", "json in utf-16", "tabs", "two", "rubbish behind", "crlf"],
)
def test_every_encoding_and_spelling_of_a_file_is_read(tmp_path, content):
    path = tmp_path / "config"
    path.write_bytes(content)

    assert read(str(path), None).user.token == "t"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfea", "is not YAML or JSON"),
        (b"\x80\x81", "is not YAML or JSON"),
        (b"token: hush\n\tx", "is not YAML or JSON"),
        (b"- hush\n", "is not a kubeconfig, found list"),
        (b"kind: Secret\n", "kind is not Config"),
        (b"apiVersion: v2\n", "apiVersion is not v1"),
        (b"clusters: hush\n", "clusters must be a list of `name` and `cluster`"),
        (b"users: [{name: 1}]\n", "users must be a list of `name` and `user`"),
        (b"users: [{name: a}, {name: a}]\n", "users has two entries with the name 'a'"),
        (b"", "no context is selected; set cluster.context"),
    ],
    ids=repr,
)
def test_a_file_that_is_no_kubeconfig_is_refused_without_quoting_it(tmp_path, content, message):
    path = tmp_path / "config"
    path.write_bytes(content)

    with pytest.raises(KubeconfigError) as caught:
        read(str(path), None)

    assert message in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"context": "other"}, "there is no context 'other'; name one of its contexts"),
        ({"clusters": []}, "context 'x' names the cluster 'c', which is not defined"),
        ({"users": None}, "context 'x' names the user 'u', which is not defined"),
        ({"current-context": ""}, "no context is selected"),
    ],
    ids=str,
)
def test_a_context_that_leads_nowhere_is_refused(more, message):
    assert message in refusal(**more)


def test_relative_paths_are_resolved_beside_the_file_except_a_bare_command(tmp_path):
    (tmp_path / "ca.crt").write_text(PEM)
    path = tmp_path / "config"

    def read_back(command):
        user = {"exec": {**EXEC, "command": command}}
        path.write_text(json.dumps(config(user, {"certificate-authority": "ca.crt"})))
        return read(str(path), None)

    assert read_back("./login.sh").user.login.command == str(tmp_path / "login.sh")
    assert read_back("bin/login").user.login.command == str(tmp_path / "bin/login")
    assert read_back("aws").user.login.command == "aws"
    assert read_back("aws").cluster.authority == PEM


def test_relative_paths_are_reported_where_the_provider_looks_elsewhere(tmp_path, monkeypatch):
    path = tmp_path / "config"
    user = {"exec": {**EXEC, "command": "./login.sh"}}
    path.write_text(json.dumps(config(user, {"certificate-authority": "ca.crt"})))

    assert relative_references(str(path), None) == ("certificate-authority", "exec.command")
    assert relative_references("ambient", None) == ()
    monkeypatch.chdir(tmp_path)
    assert relative_references(str(path), None) == ()


def test_no_secret_is_in_the_representation_of_an_endpoint():
    user = {"client-certificate-data": encoded(PEM), "client-key-data": encoded("hush")}

    assert "hush" not in repr(endpoint(user))
    assert "hush" not in repr(endpoint({"token": "hush"}))
    assert "hush" not in repr(endpoint({"username": "n", "password": "hush"}))


def test_a_pod_uses_its_service_account(tmp_path, monkeypatch):
    monkeypatch.setattr("castai_stack.kube.kubeconfig._SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    (tmp_path / "token").write_text("t")
    (tmp_path / "ca.crt").write_text(PEM)

    here = read("ambient", None)

    assert here.cluster.server == "https://[fd00::1]:443"
    assert here.user.token_file == str(tmp_path / "token")


def test_the_eks_kubeconfig_is_read_as_written():
    text = eks_kubeconfig("demo", "eu-central-1", "https://example.test", encoded(PEM))

    assert read(text, None).user.login.arguments[:2] == ("--region", "eu-central-1")


SECRETS = {
    "a token": (config({"token": "t"}), "users[0].user.token"),
    "a short password": (config({"username": "n", "password": "p"}), "users[0].user.password"),
    "a private key": (config({"client-key-data": "aw=="}), "users[0].user.client-key-data"),
    "an auth provider": (
        config({"auth-provider": {"name": "oidc", "config": {"id-token": "e"}}}),
        "users[0].user.auth-provider.config.id-token",
    ),
    "a variable of a login program": (
        config({"exec": {**EXEC, "env": [{"name": "AWS_SECRET_ACCESS_KEY", "value": "s"}]}}),
        "users[0].user.exec.env[0].AWS_SECRET_ACCESS_KEY",
    ),
    "an option of a login program": (
        config({"exec": {**EXEC, "args": ["get-token", "--oidc-client-secret=s"]}}),
        "users[0].user.exec.args",
    ),
    "an option with its value behind": (
        config({"exec": {**EXEC, "args": ["--token", "s"]}}),
        "users[0].user.exec.args",
    ),
    "a proxy with a password": (
        config({}, {"proxy-url": "http://a:b@proxy.test"}),
        "clusters[0].cluster.proxy-url",
    ),
    "a user that no context names": (
        config({}, users=[{"name": "u", "user": {}}, {"name": "v", "user": {"token": "t"}}]),
        "users[1].user.token",
    ),
}


@pytest.mark.parametrize("case", SECRETS, ids=str)
@pytest.mark.parametrize("write", [json.dumps, yaml.safe_dump], ids=["json", "yaml"])
def test_a_secret_in_the_text_is_named_by_its_key(case, write):
    document, place = SECRETS[case]

    assert secret_keys(write(document)) == (place,)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (f"{as_yaml(user={})}---\n{as_yaml()}", "users[0].user.token"),
        (f"{as_yaml(user={})}# token: old\n", "a comment"),
        (json.dumps(config(), indent="\t"), "users[0].user.token"),
    ],
    ids=["a second document", "a comment", "JSON with tabs"],
)
def test_everything_that_the_state_would_keep_is_searched_for_secrets(text, place):
    assert secret_keys(text) == (place,)


@pytest.mark.parametrize(
    "kubeconfig",
    [
        "ambient",
        "/home/token:password/client-key-data",
        eks_kubeconfig("password", "eu-central-1", "https://token.test", encoded(PEM)),
        json.dumps(config({"tokenFile": "/run/token"}, users=[{"name": "token", "user": {}}])),
        json.dumps(config({"token": "", "password": None, "exec": EXEC})),
        json.dumps(config({"exec": {**EXEC, "args": ["eks", "get-token", "--token"]}})),
        json.dumps(config({"exec": {**EXEC, "args": ["--token-file", "x"]}})),
        json.dumps(
            config(
                {
                    "exec": {
                        **EXEC,
                        "env": [
                            {"name": "AWS_PROFILE", "value": "token"},
                            {"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": "/run/token"},
                        ],
                    }
                }
            )
        ),
    ],
    ids=lambda text: text[:20],
)
def test_words_that_sound_like_a_secret_are_none(kubeconfig):
    assert secret_keys(kubeconfig) == ()


def test_a_text_that_cannot_be_searched_is_refused_without_quoting_it():
    with pytest.raises(KubeconfigError, match="is not YAML or JSON") as caught:
        secret_keys("{token: hush\n]")

    assert "hush" not in str(caught.value)
