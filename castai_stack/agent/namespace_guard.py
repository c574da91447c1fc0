"""Guard of the agent's namespace, before every object in it.

A preview compares inputs and state only, so that objects which went with their namespace would look
unchanged, and new ones would fail in the Kubernetes provider.
"""

from typing import Any, ClassVar

from castai_stack.kube import connection
from castai_stack.plugin.handler import (
    GONE,
    CheckResult,
    CreateResult,
    DiffResult,
    Handler,
    Property,
    ReadResult,
    differs,
)
from castai_stack.plugin.run import ResourceError


class NamespaceGuardHandler(Handler):
    """Refuses a run whose state holds objects that went with their namespace."""

    name = "NamespaceGuard"
    properties: ClassVar = {
        "namespace": Property("string"),
        "uid_before": Property("string", required=False, in_outputs=False),
        "uid": Property("string", computed=True),
    }

    def check(self, olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Keep no uid with a new guard: a refresh compares the state with the inputs of the up.

        The namespace need not have existed before that run.
        """
        if olds:
            return CheckResult(news)
        return CheckResult({name: one for name, one in news.items() if name != "uid_before"})

    def diff(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Refuse a namespace that is absent or another one than at the last run."""
        now, uid = news.get("uid_before"), olds.get("uid")
        if now == "":
            raise ResourceError(_refusal(news["namespace"], "is gone from the cluster"))
        if now and uid and now != uid:
            what = "was deleted and created again since the last run"
            raise ResourceError(_refusal(news["namespace"], what))
        replaces = differs(olds, news, "namespace")
        return DiffResult(changes=bool(replaces), replaces=replaces)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Note the namespace's uid."""
        namespace = props["namespace"]
        uid = self._uid(namespace)
        if uid == "":
            raise ResourceError(_refusal(namespace, "is gone from the cluster"))
        return CreateResult(f"{namespace}/guard", {"namespace": namespace, "uid": uid or ""})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Report the guard as gone with its namespace; without an answer nothing is known."""
        namespace, uid = props["namespace"], props.get("uid")
        live = self._uid(namespace)
        if live == "" or (live and uid and live != uid):
            self.run.info(
                f"Namespace {namespace} was deleted outside of this stack; the next `pulumi up` "
                "creates the agent again."
            )
            return GONE
        return ReadResult(id_, {"namespace": namespace, "uid": uid or live or ""})

    def _uid(self, namespace: str) -> str | None:
        """Return the namespace's uid, empty if it is absent, None without an answer."""
        from castai_stack.agent import adoption  # noqa: PLC0415 - lazy

        try:
            settings = self.run.settings
            with connection.connect(settings.kubeconfig, settings.context) as client:
                return adoption.namespace_uid(client, namespace)
        except Exception:  # noqa: BLE001 - the objects behind the guard report it better
            return None


def _refusal(namespace: str, what: str) -> str:
    return (
        f"namespace {namespace} {what}, while the state still holds the agent's objects; run "
        "`pulumi refresh`, then `pulumi up` creates them again"
    )
