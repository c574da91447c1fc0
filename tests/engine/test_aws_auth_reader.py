"""The reader of aws-auth that other tests take as the authenticator's word."""

from collections.abc import Iterator

import pytest

from sandbox.toolchain import Programs
from tests.support.aws_auth_reader import AwsAuthReader, Mapped, aws_auth_reader

pytestmark = pytest.mark.sandbox

ROLE = "arn:aws:iam::012345678901:role/nodes"
SESSION = "arn:aws:sts::012345678901:assumed-role/nodes/i-0123456789abcdef0"
USER = "arn:aws:iam::012345678901:user/jane"
MAPS = {
    "mapRoles": f"- {{rolearn: '{ROLE}', username: 'n:{{{{SessionName}}}}', groups: [a, b]}}\n",
    "mapUsers": f"- {{userarn: '{USER.upper().replace('ARN:AWS:IAM', 'arn:aws:iam')}'}}\n",
    "mapAccounts": "- '111122223333'\n",
}


@pytest.fixture(scope="module")
def reader(programs: Programs) -> Iterator[AwsAuthReader]:
    with aws_auth_reader(programs) as running:
        yield running


def test_what_is_read_comes_in_the_order_of_the_text(reader: AwsAuthReader):
    second = f"- {{rolearn: '{ROLE}2', username: second}}\n"

    reading = reader.read({**MAPS, "mapRoles": MAPS["mapRoles"] + second})

    assert [one["rolearn"] for one in reading.roles] == [ROLE, f"{ROLE}2"]
    assert reading.roles[0]["groups"] == ["a", "b"]
    assert len(reading.users) == 1
    assert reading.accounts == ("111122223333",)
    assert reading.error == ""


def test_an_arn_is_mapped_as_iam_or_sts_shows_it(reader: AwsAuthReader):
    other = "arn:aws:iam::111122223333:user/anybody"
    nobody = "arn:aws:iam::012345678901:user/nobody"

    mapped = reader.read(MAPS, [ROLE, SESSION, USER, other, nobody]).mapped

    nodes = Mapped("n:{{SessionName}}", ("a", "b"), account=False)
    assert mapped == {
        ROLE: nodes,
        SESSION: nodes,
        USER: Mapped("", (), account=False),
        other: Mapped(other, (), account=True),
    }


def test_a_bad_entry_costs_itself_and_bad_text_its_list(reader: AwsAuthReader):
    bad_entry = reader.read({**MAPS, "mapRoles": MAPS["mapRoles"] + "- {username: x}\n"}, [ROLE])
    bad_text = reader.read({**MAPS, "mapRoles": MAPS["mapRoles"] + "- {a: .inf}\n"}, [ROLE, USER])

    assert "One of rolearn or SSO must be supplied" in bad_entry.error
    assert list(bad_entry.mapped) == [ROLE]
    assert bad_text.error
    assert list(bad_text.mapped) == [USER]


def test_each_map_replaces_the_one_before(reader: AwsAuthReader):
    assert list(reader.read(MAPS, [ROLE]).mapped) == [ROLE]
    assert reader.read({}, [ROLE]).mapped == {}
    assert list(reader.read(MAPS, [ROLE]).mapped) == [ROLE]
