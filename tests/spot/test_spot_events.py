"""What surrounds the Spot function, as data; says nothing of Pulumi or of AWS's judgement."""

import ast
import io
import shutil
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta

import pytest

from castai_stack import naming
from castai_stack.spot import alarms, events, rbac
from castai_stack.spot import archive as spot_archive
from castai_stack.spot_handler.decide import EVENT_TYPES, Notice, read
from tests.support.spot import NOW, an_event

NAMES = naming.names("shop", "suffixed")


def test_the_rules_select_the_events_that_the_handler_reads():
    caught = [kind for rule in events.RULES for kind in rule.pattern()["detail-type"]]

    assert sorted(caught) == sorted(EVENT_TYPES)
    for kind in caught:
        assert isinstance(read(an_event(kind=kind), NOW, 180), Notice)


def test_the_rules_take_events_of_ec2_only():
    assert all(rule.pattern()["source"] == ["aws.ec2"] for rule in events.RULES)


def test_the_runtime_has_half_a_year_of_support_ahead():
    ends = spot_archive.RUNTIME_ENDS[spot_archive.RUNTIME]

    assert datetime.now(UTC).date() < ends - timedelta(days=180), (
        f"{spot_archive.RUNTIME} is deprecated on {ends}: pin RUNTIME to one of "
        "https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html that ends later, "
        "and add its date to RUNTIME_ENDS"
    )


def test_no_supported_runtime_ends_later():
    assert spot_archive.RUNTIME_ENDS[spot_archive.RUNTIME] == max(
        spot_archive.RUNTIME_ENDS.values()
    )


def test_the_archive_holds_every_module_of_the_handler():
    modules = {path.name for path in spot_archive.SOURCE.glob("*.py")}

    assert modules == set(spot_archive.FILES)


def test_other_files_in_the_folder_do_not_change_the_archive(tmp_path):
    clean, littered = tmp_path / "clean", tmp_path / "littered"
    for folder in (clean, littered):
        folder.mkdir()
        for name in spot_archive.FILES:
            shutil.copy(spot_archive.SOURCE / name, folder / name)
    (littered / "__pycache__").mkdir()
    (littered / "__pycache__" / "handler.cpython-313.pyc").write_bytes(b"stray")
    (littered / "notes.py").write_text("stray")
    (littered / ".env").write_text("stray")
    for name in spot_archive.FILES:
        text = (littered / name).read_bytes()
        (littered / name).write_bytes(text.replace(b"\n", b"\r\n"))

    assert spot_archive.sources(clean) == spot_archive.sources(littered)
    assert list(spot_archive.sources(littered)) == list(spot_archive.FILES)


def test_the_archive_runs_on_its_own(tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in spot_archive.sources().items():
            archive.writestr(f"{spot_archive.FOLDER}/{name}", text)
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path)
    module, _, function = spot_archive.HANDLER.rpartition(".")
    program = f"import importlib; print(callable(importlib.import_module({module!r}).{function}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )

    assert done.stdout.strip() == "True"


@pytest.mark.parametrize("name", spot_archive.FILES)
def test_the_handler_imports_only_what_lambda_has(name):
    tree = ast.parse((spot_archive.SOURCE / name).read_text())
    absolute = {
        module.partition(".")[0]
        for node in ast.walk(tree)
        for module in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and node.level == 0
            else []
        )
    }

    assert absolute <= sys.stdlib_module_names | {"boto3", "botocore"}, f"{name}: {absolute}"


def test_the_handler_accepts_every_event_that_lambda_still_retries():
    assert events.oldest_age(120) == 120 + events.DELIVERY_SECONDS


def test_only_the_rules_may_send_to_the_queue_and_only_with_tls():
    queue = "arn:aws:sqs:eu-central-1:123456789012:dead"
    allow, deny = events.queue_policy(queue, ["rule-b", "rule-a"])["Statement"]

    assert (allow["Effect"], allow["Action"], allow["Resource"]) == (
        "Allow",
        ["sqs:SendMessage"],
        [queue],
    )
    assert allow["Principal"] == {"Service": ["events.amazonaws.com"]}
    assert allow["Condition"] == {"ArnEquals": {"aws:SourceArn": ["rule-a", "rule-b"]}}
    assert deny["Effect"] == "Deny"
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": ["false"]}}


def test_alarms_watch_errors_throttles_dead_letters_and_the_age_of_events():
    assert {alarm.metric for alarm in alarms.ALARMS} == {
        "Errors",
        "Throttles",
        "AsyncEventAge",
        "DestinationDeliveryFailures",
        "ApproximateNumberOfMessagesVisible",
    }


def test_the_age_alarm_fires_within_the_notice():
    (age,) = [alarm for alarm in alarms.ALARMS if alarm.metric == "AsyncEventAge"]

    assert age.threshold < 120_000, "the metric counts milliseconds"


@pytest.mark.parametrize("cluster", ["a", "x" * 100])
def test_names_of_alarms_and_secret_are_distinct_and_fit(cluster):
    function = naming.names(cluster, "suffixed").function
    names = [alarms.alarm_name(function, alarm) for alarm in alarms.ALARMS]

    assert len(set(names)) == len(alarms.ALARMS)
    assert max(map(len, names)) <= 255
    assert len(events.secret_name(function)) <= 512


@pytest.mark.parametrize("partition", ["aws", "aws-us-gov", "aws-cn"])
def test_the_secret_is_named_in_its_partition(partition):
    pattern = events.secret_pattern(partition, "eu-central-1", "123456789012", "f-shop")

    assert pattern == (
        f"arn:{partition}:secretsmanager:eu-central-1:123456789012:secret:f-shop-api-key-??????"
    )


def test_draining_may_find_cordon_and_evict_and_nothing_else():
    granted = {
        (group, resource, verb)
        for rule in rbac.RULES
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }

    assert granted == {
        ("", "nodes", "get"),
        ("", "nodes", "list"),
        ("", "nodes", "patch"),
        ("", "pods", "list"),
        ("", "pods/eviction", "create"),
    }


def test_no_object_has_the_name_of_castais_own_chart():
    """Two owners of `castai-spot-handler` block each other: the chart refuses, ours conflicts."""
    names = {
        rbac.cluster_role()["metadata"]["name"],
        rbac.cluster_role_binding()["metadata"]["name"],
    }

    assert names == {"castai-eks-spot-drain"}
