"""What prevents the take-over of a principal: a sentence each."""

from collections.abc import Iterator

from castai_stack import naming
from castai_stack.adopt import texts
from castai_stack.adopt.observations import Choices, Observations, Principal
from castai_stack.castai.model import Cluster
from castai_stack.iam.scope import Scope

INLINE = naming.RESTRICTED_INLINE, "castai-user-policy-"
"""Beginnings of the names of inline policies that installers write."""
_MANAGED = naming.SHARED_POLICY, f"{naming.RESTRICTED_INLINE}-"
_KEYS = 2


def scope(observed: Observations, cluster: Cluster) -> Scope:
    """Return what policy texts of the cluster refer to."""
    place = observed.place
    return Scope(
        partition=place.partition,
        region=place.region,
        account_id=place.account_id,
        cluster=place.cluster,
        cluster_id=cluster.id,
        vpc_id=place.vpc_id,
        names=naming.names(place.cluster, "suffixed"),
    )


def of_principal(
    observed: Observations, principal: Principal, scope: Scope, choices: Choices
) -> Iterator[str]:
    """Yield a sentence for each thing on the principal that prevents a take-over."""
    if principal.trust is not None:
        others = [
            one for one in texts.trusted(principal.trust) if one != observed.castai.principal_arn
        ]
        if others:
            yield (
                f"role {principal.name} trusts {', '.join(others)}, and CAST AI's user of this "
                f"cluster is {observed.castai.principal_arn or 'none'}; correct the role's trust "
                "policy first, because somebody else can act with CAST AI's rights"
            )
    if len(principal.keys) >= _KEYS:
        keys = ", ".join(f"{key.id} ({key.status})" for key in principal.keys)
        yield (
            f"user {principal.name} has the access keys {keys}; AWS allows two, and the take-over "
            "creates one. Delete the one that CAST AI does not use (`aws iam "
            "get-access-key-last-used --access-key-id ID` shows the last use of each)"
        )
    foreign = [name for name in principal.inline if not name.startswith(INLINE)]
    if foreign and not choices.accept_edited_policies:
        end = "deletes it with the user" if principal.kind == "user" else "stops at the role"
        yield (
            f"{principal} has the inline policy {', '.join(foreign)}, which is not CAST AI's, and "
            f"`pulumi destroy` {end}. Move it to a policy of its own, or give "
            "--accept-edited-policies"
        )
    if not choices.accept_edited_policies:
        yield from _edited(observed, principal, scope)


def _edited(observed: Observations, principal: Principal, scope: Scope) -> Iterator[str]:
    known = texts.published(scope).union(*texts.of_this_program(scope, "scoped"))
    documents = {
        f"policy {policy.name}": policy.document
        for policy in observed.aws.policies
        if policy.arn in principal.attached and policy.name.startswith(_MANAGED)
    }
    documents |= {
        f"inline policy {name} of {principal.name}": document
        for name, document in principal.inline.items()
        if name.startswith(INLINE)
    }
    for what, document in documents.items():
        if sids := texts.unknown_sids(document, known):
            yield (
                f"{what} allows more than CAST AI has published, in {', '.join(sids)}: somebody "
                "edited it. Move that to a policy of its own, or give --accept-edited-policies: "
                "`adoption.values: settings` removes it later"
            )
