"""One list of aws-auth as the authenticator reads it.

tests/engine/test_aws_auth_differential.py holds the same reader against the authenticator itself.
"""

import pytest

from castai_stack.access.entries import (
    LIMIT,
    MASTERS,
    AwsAuthError,
    Entry,
    UnreadableError,
    role,
    user,
)
from castai_stack.access.reader import parse

ACCOUNT = "012345678901"
ADMIN = f"arn:aws:iam::{ACCOUNT}:role/platform-admin"
USER = f"arn:aws:iam::{ACCOUNT}:user/me"


def grants(text, kind="role"):
    """User name and groups by ARN, of what the authenticator keeps."""
    return {grant.arn: (grant.username, *grant.groups) for grant in parsed_grants(text, kind)}


def parsed_grants(text, kind="role"):
    return [item.grant for item in parse(kind, text).items if item.grant]


def test_a_space_before_a_dash_joins_two_groups_into_one():
    text = "- rolearn: a\n  groups:\n  - system:bootstrappers\n   - system:nodes\n"

    assert grants(text) == {"a": ("", "system:bootstrappers - system:nodes")}


def test_keys_inside_an_entry_are_read_without_case():
    text = f"- RoLeArN: {ADMIN}\n  USERNAME: x\n  Groups: [{MASTERS}]\n"

    assert grants(text) == {ADMIN: ("x", MASTERS)}
    assert parse("role", text).items[0].arn == ADMIN


def test_of_two_items_for_one_arn_the_later_counts():
    text = f"- {{rolearn: {ADMIN}, groups: [{MASTERS}]}}\n- {{rolearn: {ADMIN.upper()}}}\n"

    assert parse("role", text).grants[ADMIN.lower()].groups == ()


def test_users_whose_arns_differ_in_case_are_two_grants():
    text = f"- {{userarn: {USER}, username: a}}\n- {{userarn: {USER.upper()}, username: b}}\n"

    assert [*parse("user", text).grants] == [USER, USER.upper()]


def test_users_are_compared_with_their_path_and_roles_never_have_one():
    assert role(f"arn:aws:iam::{ACCOUNT}:role/a/b/nodes", "n", []).arn == (
        f"arn:aws:iam::{ACCOUNT}:role/nodes"
    )
    assert user(f"arn:aws:iam::{ACCOUNT}:user/a/b/me", "n", []).arn == (
        f"arn:aws:iam::{ACCOUNT}:user/a/b/me"
    )
    with pytest.raises(AwsAuthError) as caught:
        Entry("role", f"arn:aws:iam::{ACCOUNT}:role/a/nodes", "n", ())
    assert str(caught.value) == (
        f"'arn:aws:iam::{ACCOUNT}:role/a/nodes' carries a path, which the authenticator never sees "
        f"in a role; map 'arn:aws:iam::{ACCOUNT}:role/nodes'"
    )


@pytest.mark.parametrize("arn", [USER, "x", "", f"arn:aws:iam::{ACCOUNT}:role/a b"])
def test_an_arn_that_can_never_match_is_refused(arn):
    with pytest.raises(AwsAuthError, match="is not the ARN of an IAM role"):
        role(arn, "n", [])


# --- items and fields -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("username: 5, groups: [1, a, ~]", ("", "", "a", "")),
        ("username: n, groups: text", ("",)),
        ("username: ~, groups: ~", ("",)),
        (
            "username: 2001-01-01, groups: [!!str 5, !other x, !!binary aGk=]",
            ("2001-01-01", "5", "x", "hi"),
        ),
        ("username: [x], groups: {a: b}", ("",)),
        ("username: x, Username: y, groups: [a], Groups: [b, c]", ("x", "a")),
        ("u\u017fername: x", ("x",)),
        ("sso: ~, username: x", ("x",)),
    ],
)
def test_a_field_of_another_type_than_text_counts_as_absent(fields, expected):
    assert grants(f"- {{rolearn: a, {fields}}}") == {"a": expected}


SSO = f"permissionSetName: Admins, accountID: '{ACCOUNT}'"


@pytest.mark.parametrize(
    "item",
    [
        "text",
        "[a]",
        "~",
        "{username: x}",
        "{rolearn: '', username: x}",
        "{rolearn: 123456789012}",
        f"{{rolearn: a, sso: {{{SSO}}}}}",
        "{rolearn: a, sso: text}",
        "{sso: {}}",
        f"{{sso: {{permissionSetName: Admins, accountID: {ACCOUNT}}}}}",
        f"{{sso: {{{SSO}, partition: other}}}}",
    ],
)
def test_an_item_that_the_authenticator_leaves_out_does_not_hide_the_others(item):
    assert grants(f"- {item}\n- rolearn: b\n") == {"b": ("",)}


def test_an_entry_by_sso_is_the_pattern_of_its_roles():
    (grant,) = parsed_grants(f"- {{sso: {{{SSO}}}, username: x}}")

    assert (grant.arn, grant.sso) == (f"arn:aws:iam::{ACCOUNT}:role/awsreservedsso_admins_*", True)
    (grant,) = parsed_grants(f"- {{sso: {{{SSO}, partition: aws}}, username: x}}")
    assert grant.arn.startswith("arn::iam:"), "the authenticator forgets a partition that is given"


def test_a_merge_replaces_what_stands_before_it():
    base = "- &b {rolearn: a, username: base}\n"

    assert grants(base + "- {rolearn: c, <<: *b}\n") == {"a": ("base",)}
    assert grants(base + "- {<<: *b, rolearn: c}\n")["c"] == ("base",)
    assert grants(base + "- {<<: [{rolearn: x}, *b], groups: [z]}\n")["x"] == ("base", "z")


# --- what lies around the list --------------------------------------------------------------------


@pytest.mark.parametrize(
    "behind",
    ["---\n- rolearn: b\n", "...\n", "...\n---\nx: y\n", "...\n%x", "- rolearn: b\n", "{", "x\n"],
)
def test_only_the_first_document_is_read(behind):
    listing = parse("role", f"  - rolearn: a\n{behind}")

    assert [item.arn for item in listing.items] == ["a"]
    assert listing.alone is (behind == "...\n")


def test_deep_nesting_is_read():
    text = "- {rolearn: a, x: " + "[" * 2000 + "]" * 2000 + "}\n"

    assert grants(text) == {"a": ("",)}
    assert parse("role", text).depth == 2002


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: b", "mapRoles must be a list of mappings, found a mapping"),
        ("{}", "mapRoles must be a list of mappings, found a mapping"),
        ("word", "mapRoles must be a list of mappings, found plain text"),
        (
            "- a: b\n\t- c: d",
            "mapRoles is neither YAML nor JSON, line 2, column 1: "
            "found a tab character that violates indentation",
        ),
        ("- a: b\n  c: d: e", "line 2, column 7: mapping values are not allowed in this context"),
        ("- &a [*a]", "mapRoles, line 1: the alias *a has no complete anchor"),
        ("- a\n- *b", "mapRoles, line 2: the alias *b has no complete anchor"),
        (
            "- rolearn: a\n  username: {{SessionName}}",
            "mapRoles, line 2: a mapping cannot be a key; text with braces needs quotes",
        ),
        ("- rolearn: a\n  ? [a, b]\n  : c", "mapRoles, line 2: a list cannot be a key"),
        ("- x: &k [a]\n- *k : c", "mapRoles, line 2: a list cannot be a key"),
        ("- rolearn: a\n- <<: text", "mapRoles, line 2: `<<` needs a mapping,"),
        ("- &l [{a: b}]\n- <<: *l", "mapRoles, line 2: `<<` needs a mapping,"),
        ("- <<: [a]", "mapRoles, line 1: `<<` needs a mapping,"),
        ("- <<: *a\n", "mapRoles, line 1: the alias *a has no complete anchor"),
        ("- a: b\n- x: .inf", "mapRoles, line 2: holds a key or a number that JSON cannot hold"),
        ("- .NaN", "mapRoles, line 1: holds a key or a number that JSON cannot hold"),
        ("- ~: x", "mapRoles, line 1: holds a key or a number that JSON cannot hold"),
        ("- 18446744073709551615: x", "line 1: holds a key or a number that JSON cannot hold"),
        ("- a: !!int x", "mapRoles, line 1: 'x' is no int"),
        ("- a: !!int 1.5", "mapRoles, line 1: '1.5' is no int"),
        ("- a: !!float 18446744073709551615", "line 1: '18446744073709551615' is no float"),
        ("- a: !!bool 1", "mapRoles, line 1: '1' is no bool"),
        ("- a: !!null x", "mapRoles, line 1: 'x' is no null"),
        ("- a: !!timestamp 2001-02-30", "mapRoles, line 1: '2001-02-30' is no timestamp"),
        ("- a: !!binary '*'", "mapRoles, line 1: '*' is no binary"),
        ("- groups: [http://x?y]", "line 1: text with a `?` inside brackets needs quotes"),
        ('["\\/"]', r"mapRoles, line 1: holds the escape `\/`, which only JSON has"),
        ("%YAML 1.2\n---\n- a: b", "mapRoles, line 1: asks for another YAML than 1.1"),
        ("[" * 10_001, "mapRoles, line 1: nested deeper than 10000 levels"),
        ("#" * (LIMIT + 1), "mapRoles is larger than a ConfigMap can be (1048576 bytes)"),
    ],
)
def test_an_unreadable_list_is_refused_with_the_line(text, message):
    with pytest.raises(UnreadableError) as caught:
        parse("role", text)

    assert message in str(caught.value)
    assert str(caught.value).startswith("kube-system/aws-auth: mapRoles")


def test_a_value_that_json_cannot_hold_does_no_harm_where_a_later_key_replaces_it():
    assert grants("- {rolearn: a, x: .inf, x: 1}") == {"a": ("",)}
    assert grants("- {rolearn: a, x: {~: b}, x: 1}") == {"a": ("",)}


@pytest.mark.parametrize("text", ["- a: b\n - c", "{", "\x00", "\x7f", "\ud800"])
def test_other_broken_texts_are_refused(text):
    with pytest.raises(UnreadableError, match="mapRoles"):
        parse("role", text)


@pytest.mark.parametrize(
    "text", ['- "\\\'"', "- [a:,b]", "- !!s[tr x", "- a\n\ufeff- b", "[a] b: c", "- []! &x-y"]
)
def test_a_spelling_that_pyyaml_reads_in_another_way_is_no_question_of_the_guard(text):
    with pytest.raises(AwsAuthError, match="the authenticator may read this") as caught:
        parse("role", text)

    assert not isinstance(caught.value, UnreadableError)


def test_a_nesting_that_would_bring_the_parser_down_is_refused():
    with pytest.raises(UnreadableError, match="deeper"):
        parse("role", "[" * 500_000)


def test_a_bomb_of_aliases_is_refused():
    levels = [f"&l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 30)]
    text = "- {a: [&l0 x, " + ", ".join(levels) + "]}"

    with pytest.raises(UnreadableError, match="repeats itself"):
        parse("role", text)
