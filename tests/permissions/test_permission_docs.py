"""docs/permissions.md keeps in step with the code."""

import re
from pathlib import Path

from castai_stack.iam.settings import Iam
from sandbox.iam_evaluator import Request, may
from tests.iam.test_iam_policies import permissions
from tests.iam.test_iam_scope import LISTED, PAGE, PLAIN, SWITCHED, grants
from tests.support import world

TEXT = (Path(__file__).parents[2] / "docs" / "permissions.md").read_text()
VARIANTS = [
    PLAIN,
    SWITCHED,
    LISTED,
    Iam(original_nodes="by-cluster-tag"),
    Iam(node_interface_tags=True, ipv6=True),
]
OF_PRINCIPAL = ("castai", "restricted", "features")


def table(name: str) -> list[list[str]]:
    block = TEXT.split(f"<!-- {name} -->")[1].split(f"<!-- end of {name} -->")[0]
    lines = [line for line in block.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def named(text: str) -> set[str]:
    """What stands in backticks and looks like a Sid."""
    return {name for name in re.findall(r"`([A-Za-z0-9]+)`", text) if name[0].isupper()}


def sids(flavour: str, *documents: str) -> set[str]:
    return {
        statement["Sid"]
        for switches in VARIANTS
        for name, document in permissions(world.scope(), flavour, switches).items()
        if name in documents
        for statement in document["Statement"]
    }


def test_the_table_names_every_statement_of_both_flavours_and_no_other():
    rows = table("bullets")
    scoped = set().union(*(named(row[1]) for row in rows))
    documented = set().union(*(named(row[2]) for row in rows))
    more = set().union(*(named(row[4]) for row in rows))
    of_features = sids("scoped", "features")
    of_switches = sids("documented", "castai", "restricted")
    assert scoped | (more - of_switches - of_features) == sids("scoped", "castai", "restricted")
    assert of_features <= more, "a statement that a switch gives stands with its switch"
    assert documented | (more & of_switches) == of_switches
    assert more <= of_features | of_switches | sids("scoped", "restricted")


def test_every_bullet_of_the_page_has_a_row():
    bullets = " ".join(row[0] for row in table("bullets"))
    for words in (
        "AmazonEC2ReadOnlyAccess",
        "IAMReadOnlyAccess",
        "Manage instances in specified cluster restricted to cluster VPC",
        "Manage autoscaling groups in the specified cluster",
        "Manage EKS Node Groups in the specified cluster",
        "Create & delete instance profiles",
        "Create & manage roles",
        "Create & manage EC2 security groups",
        "key pairs",
        "tags",
        "Run EC2 instances",
        "Create and manage the lambda function",
    ):
        assert words in bullets, words


def test_the_statements_of_the_roles_are_named():
    roles = TEXT.split("## Roles")[1].split("## What CAST AI")[0]
    expected = sids(
        "scoped", "node-boundary", "node-inline", "lambda-boundary", "lambda-guard", "lambda-inline"
    )
    assert expected <= named(roles)


def test_every_switch_is_explained():
    for field in Iam.model_fields.values():
        assert f"iam.{field.alias}" in TEXT, field.alias


def documents(flavour: str):
    rendered = permissions(world.scope(), flavour, PLAIN)
    return [rendered[name] for name in OF_PRINCIPAL if name in rendered]


def test_the_checks_are_those_that_only_documented_allows_when_asked_bare():
    of_castai = {
        action
        for document in documents("documented")
        for statement in document["Statement"]
        for action in statement["Action"]
        if "*" not in action
    }
    differing = {
        action
        for action in of_castai
        if may(documents("documented"), Request(action, "*"))
        and not may(documents("scoped"), Request(action, "*"))
    }
    listed = [name for row in table("checks") for name in re.findall(r"`([a-z0-9]+:\w+)`", row[0])]
    assert sorted(listed) == sorted(differing)


def test_statements_listed_for_a_check_grant_its_actions():
    granting = {
        flavour: {
            statement["Sid"]: set(statement["Action"])
            for switches in VARIANTS
            for name, document in permissions(world.scope(), flavour, switches).items()
            if name in OF_PRINCIPAL
            for statement in document["Statement"]
        }
        for flavour in ("scoped", "documented")
    }
    for row in table("checks"):
        actions = set(re.findall(r"`([a-z0-9]+:\w+)`", row[0]))
        by = [granting["scoped"][sid] for sid in named(row[1])]
        if by:
            assert set().union(*by) == actions, row[0]
        for sid in named(row[3]):
            assert actions <= granting["documented"][sid], row[0]


def test_all_but_the_last_three_checks_are_allowed_inside_the_cluster():
    allowed = {line.split()[0] for line in grants(PLAIN)}
    *inside, service_linked, deletion, read = table("checks")
    for row in inside:
        assert set(re.findall(r"`([a-z0-9]+:\w+)`", row[0])) <= allowed, row[0]
    for row in (service_linked, deletion, read):
        assert not set(re.findall(r"`([a-z0-9]+:\w+)`", row[0])) & allowed


def test_the_table_names_the_statements_of_every_proved_action():
    sid_of = {
        action: statement["Sid"]
        for document in documents("scoped")
        for statement in document["Statement"]
        for action in statement["Action"]
    }
    named_in_rows = set().union(*(named(row[1]) for row in table("bullets")))
    assert {sid_of[action] for action in PAGE} <= named_in_rows
