"""The engine's event log, read into steps, changes and errors."""

import json

import pytest

from sandbox.engine import events

URN = "urn:pulumi:dev::castai-eks::aws:iam/role:Role::node-role"


def metadata(op: str, **more: object) -> dict[str, object]:
    return {"op": op, "urn": URN, "type": "aws:iam/role:Role", **more}


def log(*lines: dict[str, object]) -> list[str]:
    return [json.dumps({"sequence": n, **line}) for n, line in enumerate(lines)]


def test_a_step_has_its_differences_and_the_properties_that_replace_it():
    details = {"tags.owner": {"diffKind": "update"}}
    begin = metadata("replace", diffs=["name"], detailedDiff=details, keys=["name"])

    read = events.read("up", log({"resourcePreEvent": {"metadata": begin}}))

    assert read.steps == [
        events.Step(
            "replace", "aws:iam/role:Role", "node-role", URN, ("name", "tags.owner"), ("name",)
        )
    ]


@pytest.mark.parametrize("result", ["same", "update", "delete"])
def test_the_end_of_a_refresh_replaces_its_begin(result: str):
    lines = log(
        {"resourcePreEvent": {"metadata": metadata("refresh")}},
        {"resOutputsEvent": {"metadata": metadata(result)}},
    )

    assert [step.operation for step in events.read("refresh", lines).steps] == [result]


def test_an_end_without_a_begin_is_no_step():
    assert events.read("up", log({"resOutputsEvent": {"metadata": metadata("same")}})).steps == []


def test_the_summary_counts_the_changes():
    lines = log({"summaryEvent": {"resourceChanges": {"create": 2, "same": 1}}})

    assert events.read("up", lines).changes == {"create": 2, "same": 1}


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        (["Preflight failed:\n  account: wrong"], "Preflight failed:\n  account: wrong"),
        (["<{%reset%}>the sentence<{%reset%}>\n"], "the sentence"),
        (["the sentence", "an unhandled error occurred: again"], "the sentence"),
        (["an unhandled error occurred: alone"], "an unhandled error occurred: alone"),
        (["one", "two"], "one\ntwo"),
    ],
)
def test_errors_are_told_once(messages: list[str], sentence: str):
    lines = log(*({"diagnosticEvent": {"severity": "error", "message": m}} for m in messages))
    warning = log({"diagnosticEvent": {"severity": "warning", "message": "a warning"}})

    assert events.read("up", [*lines, *warning]).sentence == sentence


def test_an_incomplete_last_line_is_skipped():
    whole = log({"summaryEvent": {"resourceChanges": {"same": 1}}})

    assert events.read("up", [*whole, whole[0][:20]]).changes == {"same": 1}
