"""The documents as documents: well-formed, known to AWS, in every partition, below every quota."""

import json
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from castai_stack import naming
from castai_stack.iam import castai_policy, feature_policy, node_role, quotas, restricted_policy
from castai_stack.iam.settings import Iam
from castai_stack.spot import role
from sandbox.iam_evaluator import Request, applies, may_assume
from tests.iam.test_iam_scope import LISTED, PLAIN, SWITCHED, atoms, scopes
from tests.support import service_reference, world

GOLDEN = Path(__file__).parents[1] / "golden" / "policies"
NODE_INTERFACES = Iam(node_interface_tags=True, ipv6=True)
OURS = world.scope()


def permissions(scope, flavour, switches):
    """Every document that says what somebody may do, by name."""
    place = (scope.partition, scope.region, scope.account_id, scope.names)
    secret = scope.own("secretsmanager", "secret:castai-??????")
    documents = {
        "castai": castai_policy.castai_policy(scope, flavour, switches),
        "restricted": restricted_policy.restricted_policy(scope, flavour, switches),
        "features": feature_policy.feature_policy(scope, flavour, switches),
        "node-boundary": node_role.node_boundary(scope, switches),
        "node-inline": node_role.node_inline(scope, switches),
        "lambda-boundary": role.lambda_boundary(*place, secret),
        "lambda-guard": role.lambda_guard(*place, secret),
        "lambda-inline": role.lambda_inline(scope.own("sqs", "letters"), secret),
    }
    return {name: document for name, document in documents.items() if document}


VARIANTS = [
    pytest.param("scoped", PLAIN, id="scoped"),
    pytest.param("scoped", SWITCHED, id="switched"),
    pytest.param("scoped", LISTED, id="listed"),
    pytest.param("scoped", Iam(original_nodes="by-cluster-tag"), id="cluster tag"),
    pytest.param("scoped", NODE_INTERFACES, id="interface tags"),
    pytest.param("documented", PLAIN, id="documented"),
    pytest.param("documented", SWITCHED, id="documented, switched"),
]
EACH = pytest.mark.parametrize(("flavour", "switches"), VARIANTS)


@EACH
def test_statements_have_a_name_of_their_own_and_sorted_actions(flavour, switches):
    documents = permissions(OURS, flavour, switches)
    of_principal = [
        statement["Sid"]
        for name in ("castai", "restricted", "features")
        for statement in documents.get(name, {"Statement": []})["Statement"]
    ]
    assert len(set(of_principal)) == len(of_principal), "a denial would not tell which statement"
    for document in documents.values():
        for statement in document["Statement"]:
            actions = statement.get("Action", statement.get("NotAction", []))
            assert actions == sorted(actions), statement["Sid"]
            assert statement["Sid"].isalnum(), "IAM allows letters and digits"


@EACH
@pytest.mark.parametrize(
    ("partition", "region"),
    [("aws", "eu-central-1"), ("aws-us-gov", "us-gov-west-1"), ("aws-cn", "cn-north-1")],
)
def test_every_arn_is_of_the_clusters_partition(flavour, switches, partition, region):
    scope = world.scope(partition=partition, region=region)
    switches = switches.model_copy(update={"kms_key_arns": [scope.own("kms", "key/1")]})
    text = json.dumps(permissions(scope, flavour, switches))
    partitions = {part.split(":")[0] for part in text.split("arn:")[1:]}
    assert partitions == {partition}


@EACH
def test_every_action_exists_in_the_service_reference(flavour, switches):
    existing = {
        action.name
        for service in ("ec2", "ecr", "eks", "eks-auth", "iam", "kms", "lambda", "events",
                        "autoscaling", "logs", "sqs", "secretsmanager")
        for action in service_reference.actions(service).values()
    }  # fmt: skip
    for document in permissions(OURS, flavour, switches).values():
        for statement in document["Statement"]:
            for action in statement.get("Action", statement.get("NotAction", [])):
                assert action.endswith("*") or action in existing, f"{statement['Sid']}: {action}"


@EACH
def test_every_condition_key_is_set_by_aws_for_its_action_and_type(flavour, switches):
    """A key that AWS never fills refuses everything, or under IfExists nothing."""
    documents = permissions(OURS, flavour, switches)
    if flavour == "documented":
        documents.pop("castai")
        documents.pop("restricted")  # CAST AI's own text, faults included
    for name, _, atom in atoms([d for n, d in documents.items() if n != "lambda-guard"]):
        if "*" in atom["Action"][0]:
            continue
        action = service_reference.action(atom["Action"][0])
        bare = {key: value for key, value in atom.items() if key != "Condition"}
        kinds = [
            kind
            for kind in action.kinds
            if any(
                applies(bare, Request(action.name, thing.arn))
                for thing in world.targets(OURS, kind)
            )
        ]
        assert kinds or action.name not in world.corpus(OURS), f"{name}: no such kind of resource"
        for operator, block in atom.get("Condition", {}).items():
            for key in block:
                for kind in kinds:
                    valid = service_reference.key_family(key) in kind.keys
                    assert valid, f"{name}: {operator} {key} is no key of {kind.name}"


@EACH
def test_every_required_resource_type_of_a_call_has_a_statement(flavour, switches):
    """A call such as RunInstances is refused as a whole when one of its resources is."""
    documents = permissions(OURS, flavour, switches)
    statements = [
        statement
        for name in ("castai", "restricted", "features")
        for statement in documents.get(name, {"Statement": []})["Statement"]
    ]
    of_aws = {"iam:CreateServiceLinkedRole"}  # its roles are AWS's, not things of an account
    for granted in {a for s in statements for a in s["Action"] if "*" not in a} - of_aws:
        action = service_reference.action(granted)
        bare = [{k: v for k, v in s.items() if k != "Condition"} for s in statements]
        for kind in action.kinds:
            if not kind.required:
                continue
            things = world.targets(OURS, kind)
            hit = any(applies(s, Request(granted, t.arn)) for s in bare for t in things)
            assert hit, f"{granted} is never allowed on {kind.name}"


# --- trust --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("partition", "service"),
    [
        ("aws", "ec2.amazonaws.com"),
        ("aws-us-gov", "ec2.amazonaws.com"),
        ("aws-cn", "ec2.amazonaws.com.cn"),
    ],
)
def test_nodes_are_trusted_under_the_partitions_own_name_of_ec2(partition, service):
    trust = node_role.node_trust(partition)
    request = Request("sts:AssumeRole", "*")
    assert may_assume(trust, "Service", service, request)
    assert not may_assume(trust, "Service", "lambda.amazonaws.com", request)
    assert not may_assume(trust, "AWS", "*", request)


def test_the_function_is_trusted_as_lambda_alone():
    trust = role.lambda_trust()
    assert may_assume(trust, "Service", "lambda.amazonaws.com", Request("sts:AssumeRole", "*"))
    assert [s["Principal"] for s in trust["Statement"]] == [{"Service": ["lambda.amazonaws.com"]}]


# --- boundaries ---------------------------------------------------------------------------------


def test_the_operators_boundary_comes_before_the_programs():
    theirs = "arn:aws:iam::012345678901:policy/theirs"
    own = "arn:aws:iam::012345678901:policy/CastNodeBoundary-demo"

    def boundary(flavour="scoped", **switches):
        return node_role.node_boundary_arn(OURS, flavour, Iam(**switches))

    assert boundary() == own
    assert boundary(permissions_boundary_arn=theirs) == theirs
    assert boundary("documented", permissions_boundary_arn=theirs) == theirs
    assert boundary("documented") is None
    assert boundary(node_boundary=False) is None


def test_the_function_gets_its_key_only_when_it_is_a_secret_of_its_own():
    queue = OURS.own("sqs", "letters")
    place = (OURS.partition, OURS.region, OURS.account_id, OURS.names)
    for document in (
        role.lambda_inline(queue),
        role.lambda_boundary(*place),
        role.lambda_guard(*place),
    ):
        assert "secretsmanager" not in json.dumps(document)


# --- quotas -------------------------------------------------------------------------------------


@given(
    scope=scopes,
    flavour=st.sampled_from(["scoped", "documented"]),
    original=st.sampled_from(["by-eks-name", "by-cluster-tag", "none"]),
    tagged=st.booleans(),
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_every_document_is_below_its_quota_for_any_cluster(scope, flavour, original, tagged):
    switches = Iam(
        original_nodes=original,
        node_interface_tags=tagged,
        create_node_groups=True,
        service_linked_roles=True,
        ipv6=True,
        kms_key_arns=[scope.own("kms", "key/00000000-0000-4000-8000-000000000001")] * 3,
        security_group_ids=["sg-0a1b2c3d4e5f60718"] * 3,
    )
    documents = permissions(scope, flavour, switches)
    for name in ("castai", "restricted", "features", "node-boundary", "lambda-boundary"):
        assert quotas.check(name, "managed", documents[name]) == []
    inline = [documents["restricted"]]
    assert quotas.check("restricted", "role inline", *inline) == []
    assert (
        quotas.check("lambda", "role inline", documents["lambda-inline"], documents["lambda-guard"])
        == []
    )
    castai = f"arn:aws:iam::809060229965:user/cast-crossrole-{naming.PLACEHOLDER_CLUSTER_ID}"
    trust = castai_policy.principal_trust(castai, "x" * 1224)
    assert quotas.check("trust", "trust", trust) == []


def test_the_cluster_scoped_policy_would_not_fit_a_users_inline_policies():
    document = restricted_policy.restricted_policy(OURS, "scoped", PLAIN)
    [problem] = quotas.check("CastEKSRestrictedAccess", "user inline", document)
    assert problem == (
        f"CastEKSRestrictedAccess: {quotas.size(document)} characters as a user inline policy; "
        "IAM allows 2048; attach it as a managed policy"
    )


def test_an_oversized_document_is_reported_with_size_quota_and_remedy():
    scope = world.scope("x" * 100, path=f"/{'p' * 200}/")
    document = castai_policy.castai_policy(scope, "scoped", PLAIN)
    [problem] = quotas.check("CastEKSPolicy-x", "managed", document)
    assert problem == (
        f"CastEKSPolicy-x: {quotas.size(document)} characters as a managed policy; IAM allows "
        "6144; shorten iam.path, list fewer ids, names or keys under iam, or switch off an "
        "iam.manage… grant that is not used"
    )


def test_inline_policies_of_a_role_add_up():
    document = restricted_policy.restricted_policy(OURS, "scoped", PLAIN)
    count = 10240 // quotas.size(document) + 1
    assert quotas.check("x", "role inline", *[document] * (count - 1)) == []
    assert len(quotas.check("x", "role inline", *[document] * count)) == 1


def test_white_space_between_elements_does_not_count():
    document = role.lambda_inline("arn:aws:sqs:eu-central-1:012345678901:q")
    assert quotas.size(document) == len(json.dumps(document, separators=(",", ":")))


# --- texts and lint -----------------------------------------------------------------------------


@pytest.mark.parametrize("flavour", ["scoped", "documented"])
@pytest.mark.parametrize("name", ["castai", "restricted", "features", "node-boundary"])
def test_the_documents_equal_the_golden_files(flavour, name):
    """A change here is a change of permissions: read it, then write the file anew."""
    rendered = permissions(OURS, flavour, SWITCHED)[name]
    golden = GOLDEN / f"{flavour}-{name}.json"
    assert json.dumps(rendered, indent=1) + "\n" == golden.read_text()


EXPLAINED = {
    "RESOURCE_MISMATCH": (
        "a call judged on several kinds of resource has a statement per kind, and reads by "
        "pattern name kinds that stay refused; every kind of a call has its statement, see above"
    ),
    "RESOURCE_STAR": "reads of nodes and CAST AI's own text",
    "MISMATCHED_TYPE_BUT_USABLE": "CAST AI's own text compares ARNs as strings",
}


@EACH
def test_every_finding_of_the_linter_is_explained(flavour, switches):
    parliament = linter()
    for name, document in permissions(OURS, flavour, switches).items():
        findings = parliament.analyze_policy_string(json.dumps(flattened(document))).findings
        assert {f.issue for f in findings} <= set(EXPLAINED), (
            f"{name}: {[str(f) for f in findings]}"
        )
        for finding in findings:
            if finding.issue != "RESOURCE_MISMATCH" and flavour == "scoped":
                assert name == "node-boundary", f"{name}: {finding}"


def test_the_linter_finds_a_planted_fault():
    broken = restricted_policy.restricted_policy(OURS, "scoped", PLAIN)
    broken["Statement"][0]["Action"] = ["ec2:RunInstance"]
    findings = linter().analyze_policy_string(json.dumps(flattened(broken))).findings
    assert "UNKNOWN_ACTION" in {finding.issue for finding in findings}


def linter():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import of pkg_resources is deprecated
        import parliament
    for service in parliament.iam_definition:
        for condition in service["conditions"]:
            # Types that its data knows and its code does not: ArrayOfARN, ArrayOfString.
            condition["type"] = condition["type"].removeprefix("ArrayOf")
    return parliament


def flattened(value):
    """Single values instead of lists of one, which IAM takes for the same and the linter not."""
    if isinstance(value, dict):
        return {
            key: [flattened(v) for v in inner] if key == "Statement" else flattened(inner)
            for key, inner in value.items()
        }
    return value[0] if isinstance(value, list) and len(value) == 1 else value


@given(
    st.sampled_from(["scoped", "documented"]),
    st.builds(
        Iam,
        create_node_groups=st.booleans(),
        service_linked_roles=st.booleans(),
        original_nodes=st.sampled_from(["by-eks-name", "by-cluster-tag", "none"]),
        auto_scaling_group_names=st.sampled_from([[], ["workers"]]),
        capacity_reservation_ids=st.sampled_from([[], ["cr-0a1b2c3d4e5f60718"]]),
        kms_key_arns=st.sampled_from([[], ["arn:aws:kms:eu-central-1:012345678901:key/0a1b"]]),
    ),
)
def test_the_settings_alone_decide_whether_there_is_a_feature_policy(flavour, switches):
    document = feature_policy.feature_policy(OURS, flavour, switches)

    assert feature_policy.has_features(flavour, switches) is (document is not None)
