"""Our reader of aws-auth held against the authenticator's own ParseMap and mapper."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from castai_stack.access.entries import KEYS, AwsAuthError, UnreadableError
from castai_stack.access.guards import State
from castai_stack.access.reader import parse
from sandbox.toolchain import Programs
from tests.support.aws_auth_reader import AwsAuthReader, aws_auth_reader

pytestmark = pytest.mark.sandbox

ACCOUNT = "012345678901"
ADMIN = f"arn:aws:iam::{ACCOUNT}:role/admin"
USER = f"arn:aws:iam::{ACCOUNT}:user/me"
ARNS = (ADMIN, USER)
MAPS = (
    f'- rolearn: {ADMIN}   # all\n  username: "admin:{{{{SessionName}}}}"\n'
    "  groups: [system:masters, 'x']\n\n"
    f"- sso:\n    permissionSetName: Admins\n    accountID: '{ACCOUNT}'\n  username: sso\n"
    f"# - rolearn: retired\n- &b {{rolearn: {USER}, username: u, groups: [a]}}\n"
    "- {<<: *b, username: y}\n- *b\n",
    f"  - userarn: {USER}\n    username: me\n    groups: &g\n      - c\n      - !!str 5\n"
    f"  - userarn: {ADMIN}\n    groups: *g\n    userid: |\n      text\n       more\n",
    f'[{{"rolearn":"{ADMIN}","username":"b","groups":["c"]}},\n {{"rolearn": "{USER}", "userid": null}}]',
    f'[\n\t{{\n\t\t"rolearn": "{ADMIN}",\n\t\t"username": "x"\n\t}}\n]\n',
)
PIECES = st.sampled_from(
    [
        "",
        "- ",
        "-",
        "  ",
        "\n",
        "\t",
        ": ",
        ":",
        "? ",
        "?",
        " # c\n",
        "[",
        "]",
        "{",
        "}",
        ",",
        ", ",
        "'",
        '"',
        "&a ",
        "*a",
        "!!str ",
        "!!int ",
        "!!float ",
        "!!binary ",
        "!!bool ",
        "!!null ",
        "!x ",
        "! ",
        "<<: ",
        "<<",
        "---\n",
        "...\n",
        "%YAML 1.1\n",
        "rolearn: ",
        "RoleARN: ",
        "userarn: ",
        "username: ",
        "groups: ",
        "sso: ",
        "null",
        "~",
        "true",
        "yes",
        "n",
        "5",
        "0x1f",
        "1e3",
        "1e999",
        ".inf",
        ".nan",
        "08",
        "0o7",
        "18446744073709551615",
        "2001-01-01",
        "!!timestamp ",
        "a",
        "é",
        "\x85",
        "\r\n",
        "@",
        "`",
        "%",
        "=",
        "1_000",
        "0b-1",
        "userid: ",
        "{}",
        "[]",
        "``",
        "{{x}}",
        "[http://x?y]",
        "aGk=",
        "\\/",
        "\\'",
    ]
)
LINES = st.lists(PIECES, min_size=1, max_size=12).map("".join)


@st.composite
def edited_maps(draw: st.DrawFn) -> str:
    """A map that somebody wrote, with pieces put in, cut out and copied."""
    text = draw(st.sampled_from(MAPS))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        change = draw(st.sampled_from(["insert", "cut", "copy"]))
        if change == "insert":
            text = text[:at] + draw(PIECES) + text[at:]
        elif change == "cut":
            text = text[:at] + text[at + draw(st.integers(1, 4)) :]
        else:
            start = draw(st.integers(0, len(text)))
            text = text[:at] + text[start : start + draw(st.integers(1, 30))] + text[at:]
    return text.replace("\n", "\r\n") if draw(st.booleans()) else text


@pytest.fixture(scope="module")
def authenticator(programs: Programs) -> Iterator[AwsAuthReader]:
    with aws_auth_reader(programs) as running:
        yield running


def our_mappings(kind, text):
    """Mappings that our reader keeps; None for an unreadable list."""
    try:
        items = parse(kind, text).items
    except UnreadableError:
        return None
    return [
        ("" if item.grant.sso else item.grant.arn, item.grant.username, item.grant.groups)
        for item in items
        if item.grant
    ]


def mapped(one, kind):
    arn = one.get("rolearn" if kind == "role" else "userarn") or ""
    return arn, one.get("username") or "", tuple(one.get("groups") or ())


@settings(
    max_examples=4000,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.sampled_from(["role", "user"]), st.one_of(edited_maps(), edited_maps(), LINES))
@example("role", "  - rolearn: a\n- rolearn: b\n")
@example("role", "- rolearn: a\n...\n---\nx: y\n")
@example("user", "- userarn: a\n  username: {{SessionName}}\n")
@example("role", "- <<: text\n  rolearn: a\n")
@example("role", "- {rolearn: a, x: .inf}\n")
@example("role", "- {rolearn: a, ~: x}\n")
@example("role", "- {rolearn: a, 18446744073709551615: x}\n")
@example("role", "- rolearn: a\n  ? [a, b]\n  : c\n")
@example("role", "- {rolearn: a, groups: [http://x?y]}\n")
@example("role", "- {rolearn: a, x: !!int y}\n")
@example("role", '[{"rolearn": "a", "x": "\\/"}]')
@example("role", "%YAML 1.2\n---\n- rolearn: a\n")
@example("role", "- {rolearn: a, username: n}\n")
@example("role", "- {rolearn: a, x: .inf, x: 1}\n- {rolearn: b, sso: {}}\n")
@example("role", f"- {{rolearn: a, x: {'[' * 9990}{']' * 9990}}}\n")
@example("role", "- {rolearn: a, username: x, Username: y, u\u017fername: z, groups: [1, ~, a]}\n")
def test_a_list_means_to_us_what_it_means_to_the_authenticator(
    authenticator: AwsAuthReader, kind, text
):
    try:
        ours = our_mappings(kind, text)
    except AwsAuthError:
        return  # a spelling that this program declines
    reading = authenticator.read({KEYS[kind]: text})
    theirs = [mapped(one, kind) for one in (reading.roles if kind == "role" else reading.users)]

    if ours is None:
        assert theirs == []
        assert reading.error
    else:
        assert ours == theirs


@settings(
    max_examples=1000,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(edited_maps(), edited_maps())
@example(f"- {{rolearn: {USER}, username: x}}\n", f"- {{userarn: {USER}, username: y}}\n")
@example("", f"- {{userarn: {USER}, username: x}}\n- {{userarn: {USER.upper()}, username: y}}\n")
@example(f"- {{rolearn: {ADMIN}/, username: x, groups: ['system:masters']}}\n", "")
def test_a_caller_gets_one_of_the_identities_that_the_guards_judge(
    authenticator: AwsAuthReader, roles, users
):
    try:
        state = State(parse("role", roles), parse("user", users))
    except AwsAuthError:
        return
    reading = authenticator.read({"mapRoles": roles, "mapUsers": users}, ARNS)

    for arn in ARNS:
        identities = state.identities(arn)
        if arn in reading.mapped:
            real = reading.mapped[arn]
            assert (real.username, tuple(sorted(real.groups))) in identities
        else:
            assert identities == []
    for arn in {master for master in state.masters() if master in {a.lower() for a in ARNS}}:
        real = {name.lower(): one for name, one in reading.mapped.items()}[arn]
        assert "system:masters" in real.groups
