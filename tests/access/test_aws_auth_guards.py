"""Guards of an edit of aws-auth: they judge what the authenticator reads."""

import pytest

from castai_stack.access.entries import (
    LIMIT,
    MASTERS,
    NODE_GROUPS,
    NODE_USERNAME,
    role,
    user,
)
from castai_stack.access.guards import Caller, State, caller_arn, refusals, too_large
from castai_stack.access.reader import parse
from castai_stack.access.text import merged

ACCOUNT = "012345678901"
OURS = role(f"arn:aws:iam::{ACCOUNT}:role/cast-demo-eks-0f1e2d3c", NODE_USERNAME, NODE_GROUPS)
OUR_USER = user(f"arn:aws:iam::{ACCOUNT}:user/cast-eks-demo", "cast-eks-demo", [MASTERS])
USER = f"arn:aws:iam::{ACCOUNT}:user/me"
ADMIN = f"arn:aws:iam::{ACCOUNT}:role/platform-admin"


def lines(entry):
    return merged(parse(entry.kind, ""), entry).text


OUR_LINES, OUR_USER_LINES = lines(OURS), lines(OUR_USER)


def state(roles="", users=""):
    return State(parse("role", roles), parse("user", users))


ADMIN_LINES = f"- rolearn: {ADMIN}\n  username: admin\n  groups: [{MASTERS}]\n"


def guards(before, after, caller=Caller("")):  # noqa: B008 - a frozen value
    return [r.guard for r in refusals(before, after, caller)]


def test_the_callers_mapping_must_not_vanish():
    result = refusals(state(ADMIN_LINES + OUR_LINES), state(OUR_LINES), Caller(ADMIN.upper()))

    assert [(r.guard, r.reason) for r in result] == [
        ("caller", f"the mapping of {ADMIN.upper()}, which runs this program, would vanish"),
        (
            "last-masters",
            (
                "the last mapping to system:masters would vanish, and after that only the "
                "cluster's creator (admitted by EKS without a mapping) and access entries get in"
            ),
        ),
    ]


def test_the_callers_mapping_must_not_change_in_groups_or_name():
    for changed in (
        ADMIN_LINES.replace(MASTERS, "a"),
        ADMIN_LINES.replace("username: admin", "username: other"),
        ADMIN_LINES + f"- rolearn: {ADMIN.upper()}\n  username: b\n",
    ):
        assert "caller" in guards(state(ADMIN_LINES), state(changed), Caller(ADMIN)), changed


def test_a_mapping_by_wildcard_counts_as_the_callers():
    wild = f"- rolearn: arn:aws:iam::{ACCOUNT}:role/platform-*\n  groups: [{MASTERS}]\n"

    assert "caller" in guards(state(wild), state(), Caller(ADMIN))


def test_others_and_unmapped_callers_do_not_trip_the_guard():
    assert guards(state(ADMIN_LINES), state(ADMIN_LINES + OUR_LINES), Caller(ADMIN)) == []
    assert guards(state(ADMIN_LINES + OUR_LINES), state(ADMIN_LINES), Caller(OUR_USER.arn)) == []


def test_the_last_masters_may_be_a_user_and_one_left_is_enough():
    assert guards(state("", OUR_USER_LINES), state()) == ["last-masters"]
    assert guards(state(ADMIN_LINES, OUR_USER_LINES), state(ADMIN_LINES)) == []
    assert guards(state(), state()) == []


def test_masters_hidden_by_a_later_duplicate_do_not_count():
    hidden = ADMIN_LINES + f"- rolearn: {ADMIN}\n  username: b\n"

    assert guards(state(hidden, OUR_USER_LINES), state(hidden)) == ["last-masters"]


def test_the_size_of_all_values_counts_in_bytes():
    assert too_large({"mapRoles": "é" * (LIMIT // 2)}) is None
    refusal = too_large({"mapRoles": "é" * (LIMIT // 2), "mapUsers": "a"})
    assert refusal is not None
    assert (refusal.guard, refusal.reason) == (
        "size",
        "its values would take 1048577 bytes, and a ConfigMap holds 1048576; remove entries",
    )


@pytest.mark.parametrize(
    ("arn", "expected"),
    [
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/platform-admin/me@x", ADMIN),
        (
            f"arn:aws-cn:sts::{ACCOUNT}:assumed-role/a/b",
            f"arn:aws-cn:iam::{ACCOUNT}:role/b"[:-1] + "a",
        ),
        (f"arn:aws:iam::{ACCOUNT}:role/a/b/platform-admin", ADMIN),
        (f"arn:aws:iam::{ACCOUNT}:user/a/me", f"arn:aws:iam::{ACCOUNT}:user/a/me"),
    ],
)
def test_a_session_is_the_role_that_it_assumed(arn, expected):
    assert caller_arn(arn) == expected


# --- masters that never match ---------------------------------------------------------------------


def masters(arn, key="rolearn"):
    return f"- {key}: {arn}\n  username: admin\n  groups: [{MASTERS}]\n"


DEAD = {
    "the role of a permission set with its path": masters(
        f"arn:aws:iam::{ACCOUNT}:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_0a1b"
    ),
    "a session": masters(f"arn:aws:sts::{ACCOUNT}:assumed-role/admin/me"),
    "a wildcard": masters(f"arn:aws:iam::{ACCOUNT}:role/*"),
    "a permission set": f"- sso: {{permissionSetName: A, accountID: '{ACCOUNT}'}}\n"
    f"  groups: [{MASTERS}]\n",
    "a name alone": masters("admin"),
    "a space behind the ARN": masters(f"'{ADMIN} '"),
    "an account of 11 digits": masters("arn:aws:iam::12345678901:role/admin"),
    "an account in place of a role": masters(f"arn:aws:iam::{ACCOUNT}:group/admins"),
    "an ARN beside sso": masters(f"{ADMIN}\n  sso: {{}}"),
}


@pytest.mark.parametrize("roles", DEAD.values(), ids=DEAD)
def test_a_master_that_never_matches_is_not_the_last_one_left(roles):
    assert guards(state(roles, OUR_USER_LINES), state(roles)) == ["last-masters"]


@pytest.mark.parametrize(
    ("arn", "key"),
    [
        (ADMIN.upper(), "rolearn"),
        (USER, "rolearn"),
        (f"arn:aws-cn:iam::{ACCOUNT}:user/a/b/me", "userarn"),
        (ADMIN, "userarn"),
        (f"arn:aws:iam::{ACCOUNT}:root", "userarn"),
        (f"arn:aws:sts::{ACCOUNT}:federated-user/me", "userarn"),
    ],
)
def test_a_master_that_matches_is_enough_in_either_list(arn, key):
    text = masters(arn, key)
    left = {"roles": text} if key == "rolearn" else {"users": OUR_USER_LINES + text}

    assert guards(state(**{"users": OUR_USER_LINES, **left}), state(**left)) == []


def test_a_master_in_map_users_does_not_count_behind_a_role_entry_for_its_arn():
    shadowed = masters(USER, "userarn")
    roles = f"- rolearn: {USER}\n  groups: [viewers]\n"

    assert guards(state("", shadowed + OUR_USER_LINES), state("", shadowed)) == []
    before, after = state(roles, shadowed + OUR_USER_LINES), state(roles, shadowed)
    assert guards(before, after) == ["last-masters"]


def test_of_user_arns_that_differ_in_case_any_may_count():
    unsure = masters(USER, "userarn") + f"- userarn: {USER.upper()}\n  groups: [x]\n"

    assert guards(state("", unsure + OUR_USER_LINES), state("", unsure)) == ["last-masters"]
    assert "caller" in guards(state("", unsure), state("", masters(USER, "userarn")), Caller(USER))


def test_the_caller_is_looked_for_in_map_roles_first():
    users = masters(USER, "userarn")
    roles = f"- rolearn: {USER}\n  groups: [viewers]\n"

    assert guards(state(roles, users), state(roles, ""), Caller(USER)) == []
    assert "caller" in guards(state("", users), state(roles, users), Caller(USER))
