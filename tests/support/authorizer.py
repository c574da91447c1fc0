"""What the API server's own authorizer allows a service account, asked thousands of times."""

import base64
import http.client
import json
import ssl
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
_THREADS = 8


@dataclass(frozen=True, order=True, slots=True)
class Question:
    """May somebody do this? No namespace means all of them, no name any object."""

    namespace: str
    group: str
    resource: str
    verb: str
    name: str = ""
    path: str = ""
    """Asked instead of a resource."""


class Authorizer:
    """Asks the server of a kubeconfig what somebody else may do."""

    def __init__(self, kubeconfig: Path) -> None:
        config = self._config = json.loads(kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        self._address = cluster["server"].removeprefix("https://")
        self._context = ssl.create_default_context(
            cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
        )
        self._token = config["users"][0]["user"]["token"]

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        kind: str = "application/json",
        account: tuple[str, str] | None = None,
    ) -> Any:
        """Make one request, as a service account if one is given."""
        with closing(self._connection()) as connection:
            return self._send(connection, method, path, body, kind=kind, account=account)

    def kubeconfig_of(self, account: tuple[str, str], path: Path) -> str:
        """Write a kubeconfig that is a service account's, and return where it is."""
        namespace, name = account
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        answer = self.call(
            "POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", request
        )
        user = {**self._config["users"][0], "user": {"token": answer["status"]["token"]}}
        path.write_text(json.dumps({**self._config, "users": [user]}))
        return str(path)

    def resources(self) -> list[tuple[str, str, bool]]:
        """Every resource and subresource that the server knows: group, name, in a namespace?"""
        preferred = [("", "/api/v1")]
        for group in self.call("GET", "/apis")["groups"]:
            preferred += [(group["name"], f"/apis/{v['groupVersion']}") for v in group["versions"]]
        return sorted(
            {
                (group, resource["name"], resource["namespaced"])
                for group, path in preferred
                for resource in self.call("GET", path)["resources"]
            }
        )

    def allowed(self, account: tuple[str, str], questions: Iterable[Question]) -> set[Question]:
        """Return those of the questions that are answered with yes."""
        listed = list(questions)
        parts = [listed[i::_THREADS] for i in range(_THREADS)]
        with ThreadPoolExecutor(_THREADS) as pool:
            answers = pool.map(lambda part: self._ask(account, part), parts)
            return {question for part in answers for question in part}

    def _ask(self, account: tuple[str, str], questions: Sequence[Question]) -> list[Question]:
        who = {"user": _user(account), "groups": _groups(account)}
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        yes = []
        with closing(self._connection()) as connection:
            for question in questions:
                review = {
                    "apiVersion": "authorization.k8s.io/v1",
                    "kind": "SubjectAccessReview",
                    "spec": {**who, **_review_spec(question)},
                }
                if self._send(connection, "POST", path, review)["status"]["allowed"]:
                    yes.append(question)
        return yes

    def _connection(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self._address, context=self._context, timeout=30)

    def _send(
        self,
        connection: http.client.HTTPSConnection,
        method: str,
        path: str,
        body: Any,
        *,
        kind: str = "application/json",
        account: tuple[str, str] | None = None,
    ) -> Any:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": kind}
        connection.putrequest(method, path)
        for name, value in headers.items():
            connection.putheader(name, value)
        if account is not None:
            connection.putheader("Impersonate-User", _user(account))
            for group in _groups(account):
                connection.putheader("Impersonate-Group", group)
        data = b"" if body is None else json.dumps(body).encode()
        connection.putheader("Content-Length", str(len(data)))
        connection.endheaders(data)
        response = connection.getresponse()
        answer = json.loads(response.read())
        assert response.status < 300, answer
        return answer


def _user(account: tuple[str, str]) -> str:
    return f"system:serviceaccount:{account[0]}:{account[1]}"


def _groups(account: tuple[str, str]) -> list[str]:
    everybody = ["system:serviceaccounts", "system:authenticated"]
    return [*everybody, f"system:serviceaccounts:{account[0]}"]


def _review_spec(question: Question) -> dict[str, Any]:
    if question.path:
        attributes = {"path": question.path, "verb": question.verb}
        return {"nonResourceAttributes": attributes}
    resource, _, subresource = question.resource.partition("/")
    return {
        "resourceAttributes": {
            "namespace": question.namespace,
            "group": question.group,
            "resource": resource,
            "subresource": subresource,
            "verb": question.verb,
            "name": question.name,
        }
    }
