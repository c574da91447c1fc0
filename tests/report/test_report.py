"""The report of a pull request: golden documents, its bounds, and what it never shows."""

import json
import socket
from pathlib import Path

import pytest
import yaml

from castai_stack.commands.command_line import NEGATIVE, OK
from castai_stack.report import command, document, plan
from castai_stack.report.plan import Change

GOLDEN = Path(__file__).parents[1] / "golden" / "report"
CLUSTER = {"name": "demo", "region": "eu-central-1", "accountId": "012345678901"}
MORE = {
    "credentials": {"mode": "role"},
    "permissions": "documented",
    "automation": {"evictor": {"enabled": True}},
}
CASES = {
    # name of the golden document: settings before (None: no such file), after, preview
    "change": ({}, MORE, "change"),
    "path": ({}, {"iam": {"path": "/x/"}}, "path"),
    "bad": ({}, {"credentials": {"mode": "bad"}}, "bad"),
    "nokey": ({}, {}, "nokey"),
    "new-stack": (None, {}, "create"),
}


def stack_file(folder: Path, **castai) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "Pulumi.dev.yaml"
    path.write_text(
        yaml.safe_dump({"config": {"castai-eks:castai": {"cluster": CLUSTER, **castai}}})
    )
    return path


def printed(capsys, *arguments, status=OK) -> str:
    assert command.main([str(one) for one in arguments]) == status
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """Without network, credentials and key, in a folder of its own."""

    def refuse(*_):
        raise AssertionError("the report asks nobody")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for name in ("CASTAI_API_KEY", "PULUMI_CONFIG_PASSPHRASE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", CASES)
def test_the_report_is_the_golden_document(name, capsys, tmp_path):
    before, after, preview = CASES[name]
    base = Path("base/Pulumi.dev.yaml")
    if before is not None:
        stack_file(tmp_path / "base", **before)
    path = stack_file(tmp_path, **after)

    text = printed(
        capsys,
        path.name,
        *("--base", base, "--preview", GOLDEN / f"{preview}.json"),
        status=NEGATIVE if name == "bad" else OK,
    )

    assert text == (GOLDEN / f"{name}.md").read_text()


def test_the_stack_file_alone_gives_a_report_that_says_what_it_lacks(capsys, tmp_path):
    text = printed(capsys, stack_file(tmp_path).name)

    assert text == (GOLDEN / "stack-file-alone.md").read_text()


@pytest.mark.parametrize("name", ["change", "path", "create", "nokey"])
def test_no_value_of_an_object_and_no_setting_of_the_preview_is_shown(name, capsys, tmp_path):
    preview = GOLDEN / f"{name}.json"
    assert "SENTINEL" in preview.read_text()

    text = printed(capsys, stack_file(tmp_path).name, "--preview", preview)

    assert "SENTINEL" not in text


@pytest.mark.parametrize("name", ["change", "path", "create"])
def test_the_order_of_a_run_does_not_matter(name):
    document = json.loads((GOLDEN / f"{name}.json").read_text())
    other = {
        **document,
        "steps": document["steps"][::-1],
        "diagnostics": document["diagnostics"][::-1],
    }

    assert plan.read(json.dumps(other)) == plan.read(json.dumps(document))


def test_a_report_never_exceeds_a_comment_and_says_what_it_left_out(capsys, tmp_path):
    steps = [
        {
            "op": "replace",
            "urn": f"urn:pulumi:dev::castai-eks::aws:iam/policy:Policy::{'p' * 60}-{number}",
            "replaceReasons": ["path"],
        }
        for number in range(2000)
    ]
    preview = tmp_path / "preview.json"
    preview.write_text(json.dumps({"steps": steps, "diagnostics": []}))
    base = stack_file(tmp_path / "base")

    text = printed(capsys, stack_file(tmp_path, **MORE).name, "--base", base, "--preview", preview)

    assert 60_000 < len(text) <= document.LIMIT < 65_536
    assert text.count("more lines do not fit here") >= 2
    assert text.count("<details>") == text.count("</details>") == 1
    assert text.rstrip().splitlines()[-1]
    for title in ("Stops and", "Changes by part", "Permissions in AWS", "Not seen"):
        assert f"### {title}" in text


def test_what_comes_first_is_cut_last():
    stops = document.Section("first", tuple("f" * 80 for _ in range(20)), more="a command")
    rest = document.Section("second", tuple("s" * 80 for _ in range(20)), more="a command")

    text = document._rendered([stops, rest], 2500)

    assert len(text) <= 2500
    assert text.count("f" * 80) == 20
    assert 0 < text.count("s" * 80) < 20


def test_foreign_text_is_no_markup(capsys, tmp_path):
    message = "error: @team <b>look</b>\n```\n<!-- castai-eks report: other -->\n"
    preview = tmp_path / "preview.json"
    preview.write_text(
        json.dumps({"steps": [], "diagnostics": [{"severity": "error", "message": message}]})
    )

    text = printed(
        capsys, stack_file(tmp_path).name, "--preview", preview, status=NEGATIVE
    ).splitlines()

    opening, closing = text.index("  ````text"), text.index("  ````")
    assert opening < text.index("  @team <b>look</b>") < closing
    assert text[0] == "<!-- castai-eks report: dev -->"
    assert opening < text.index("  <!-- castai-eks report: other -->") < closing


@pytest.mark.parametrize("content", ["", "error: no passphrase", "[]", '{"a": 1}'])
def test_a_preview_without_a_plan_is_refused_in_the_report(content, capsys, tmp_path):
    preview = tmp_path / "preview.json"
    preview.write_text(content)

    text = printed(capsys, stack_file(tmp_path).name, "--preview", preview, status=NEGATIVE)

    assert "**Refused**" in text
    assert "no passphrase" not in text
    assert "This takes a preview." in text
    assert "### Permissions in AWS" in text


def test_an_encrypted_setting_is_named_and_a_secret_never_shown(capsys, tmp_path):
    path = stack_file(tmp_path, iam={"path": {"secure": "v1:SENTINEL"}}, tags={"a": "b"})

    text = printed(capsys, path.name)

    assert "`castai-eks:castai.iam.path`" in text
    assert "SENTINEL" not in text


def test_a_base_that_is_refused_leaves_the_rest(capsys, tmp_path):
    base = stack_file(tmp_path / "base", credentials={"mode": "old"})

    text = printed(capsys, stack_file(tmp_path).name, "--base", base)

    assert "is refused" in text.partition("### Not seen")[2]
    assert "gains" not in text.partition("### Not seen")[0]


@pytest.mark.parametrize("name", ["a--b", "x -->", ""])
def test_a_stack_name_cannot_end_the_marker(name, capsys, tmp_path):
    with pytest.raises(SystemExit):
        command.main([str(stack_file(tmp_path)), "--stack", name])
    assert "two hyphens" in capsys.readouterr().err


def test_replacement_and_deletion_come_first_within_a_part():
    urn = "urn:pulumi:dev::castai-eks::castai-stack:index:CastIamComponent$aws:iam/{}::{}"
    steps = [
        {"op": op, "urn": urn.format("role:Role", name)}
        for op, name in (("update", "u"), ("create", "c"), ("replace", "r"), ("delete", "d"))
    ]

    changes = plan.read(json.dumps({"steps": steps}))

    assert changes.changes == tuple(
        Change(operation, "access", "Role", name)
        for operation, name in (
            ("delete", "d"),
            ("replace", "r"),
            ("create", "c"),
            ("update", "u"),
        )
    )
