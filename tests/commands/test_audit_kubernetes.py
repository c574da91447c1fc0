import pytest

from castai_stack.commands.audit_kubernetes import mapped_arns

ROLE = "arn:aws:iam::012345678901:role/cast-demo-eks-0a1b2c3d"
COMMENT = f"# - rolearn: {ROLE}\n#   username: system:node\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (COMMENT, []),
        (f"- rolearn: other # {ROLE}\n{COMMENT}", []),
        (f"- rolearn: other\n  username: {ROLE}\n", []),
        ("", []),
        (f"- RoleArn: {ROLE}\n", [ROLE]),
        (f'[{{"rolearn": "{ROLE}"}}, {{"rolearn": "{ROLE}"}}]', [ROLE, ROLE]),
        (f"- {{rolearn: {ROLE}, sso: {{}}}}\n", [ROLE]),
        (f"- rolearn: {ROLE}\n    username: x\n", [ROLE]),
    ],
)
def test_the_audit_counts_entries_and_no_comments(text, expected):
    assert mapped_arns("role", text) == expected
