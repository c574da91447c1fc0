import base64
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from lightkube import Client, KubeConfig
from lightkube.core.exceptions import ApiError
from lightkube.resources.core_v1 import ConfigMap, Namespace, Node

from castai_stack.kube.connection import connect
from castai_stack.kube.kubeconfig import eks_kubeconfig
from sandbox import SANDBOX_VARIABLE, castai, constants, session, toolchain
from sandbox.engine.stack import REPOSITORY, OperationError
from sandbox.kubernetes.furnished import aws_auth
from sandbox.processes import Processes
from sandbox.session import Sandbox, SandboxError

pytestmark = pytest.mark.sandbox

ACCOUNT = "012345678901"
TWO_PROVIDERS = """
import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

cluster = pulumi.Config().require_object("castai")["cluster"]
cloud = aws.Provider(
    "aws", region=cluster["region"], allowed_account_ids=[cluster["accountId"]]
)
objects = kubernetes.Provider("kubernetes")
user = aws.iam.User("user", name="made-by-a-test", opts=pulumi.ResourceOptions(provider=cloud))
kubernetes.core.v1.ConfigMap(
    "map",
    metadata={"name": "made-by-a-test", "namespace": "default"},
    data={"user": user.arn},
    opts=pulumi.ResourceOptions(provider=objects),
)
pulumi.export("arn", user.arn)
"""


def client(sandbox: Sandbox, who: str) -> Client:
    kubeconfig = sandbox.control_plane.kubeconfig_of(who)
    return Client(config=KubeConfig.from_file(kubeconfig))


def command(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sandbox", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **more},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_cluster_was_there_before_the_program(sandbox: Sandbox):
    with client(sandbox, "operator") as api:
        nodes = list(api.list(Node))
        result = api.get(ConfigMap, "aws-auth", namespace="kube-system").data

    assert len(nodes) == 3
    assert all(node.spec.providerID.startswith("aws:///eu-central-1") for node in nodes)
    assert {node.metadata.labels["eks.amazonaws.com/capacityType"] for node in nodes} == {
        "ON_DEMAND",
        "SPOT",
    }
    assert result == aws_auth(ACCOUNT)


def test_who_is_taken_out_of_aws_auth_is_locked_out_and_the_sandbox_is_not(sandbox: Sandbox):
    with client(sandbox, "admin") as admin, client(sandbox, "operator") as operator:
        assert list(operator.list(Namespace))
        mine = aws_auth(ACCOUNT)["mapRoles"].replace("role/platform-admin", "role/gone")
        admin.patch(ConfigMap, "aws-auth", {"data": {"mapRoles": mine}}, namespace="kube-system")
        try:
            wait_for(lambda: status_of_a_look(operator) == 401)
        finally:
            data = {"data": aws_auth(ACCOUNT)}
            admin.patch(ConfigMap, "aws-auth", data, namespace="kube-system")
        wait_for(lambda: status_of_a_look(operator) == 200)


@pytest.mark.skipif(toolchain.find("aws") is None, reason="the AWS CLI is not on this machine")
def test_a_kubeconfig_of_eks_logs_in_by_the_aws_cli(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    plane = sandbox.control_plane
    authority = base64.b64encode(plane.authority.read_bytes()).decode()
    text = eks_kubeconfig(constants.CLUSTER, constants.REGION, plane.url, authority)
    for name, value in sandbox.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{sandbox.directory / 'bin'}{os.pathsep}{os.environ['PATH']}")

    with connect(text, None) as api:
        assert list(api.list(Namespace))


def status_of_a_look(api: Client) -> int:
    try:
        list(api.list(Namespace))
    except ApiError as error:
        return error.status.code
    return 200


def test_the_reader_reads_everything_and_writes_nothing(sandbox: Sandbox):
    with client(sandbox, "reader") as api:
        assert list(api.list(Namespace))
        with pytest.raises(ApiError) as refused:
            api.delete(ConfigMap, "aws-auth", namespace="kube-system", dry_run=True)

    assert refused.value.status.code == 403


def test_a_life_cycle_on_both_providers_leaves_nothing(sandbox: Sandbox, tmp_path: Path):
    program = tmp_path / "__main__.py"
    program.write_text(TWO_PROVIDERS)
    stack = sandbox.stack(program=program, name="life-cycle")
    before = {path: path.read_bytes() for path in tracked()}

    preview = stack.preview()
    assert preview.changes == {"create": 5}
    assert stack.up().changes == {"create": 5}
    assert stack.outputs() == {"arn": f"arn:aws:iam::{ACCOUNT}:user/made-by-a-test"}
    again = stack.preview()
    assert again.empty, again.changing()
    assert stack.refresh().empty
    assert stack.destroy().changes == {"delete": 5}

    left = requests.get(f"{sandbox.aws_url}/_sandbox/inventory", timeout=10).text
    assert "made-by-a-test" not in left, "destroy left something in AWS"
    with client(sandbox, "admin") as api:
        names = [one.metadata.name for one in api.list(ConfigMap, namespace="default")]
    assert "made-by-a-test" not in names, "destroy left something in Kubernetes"
    after = {path: path.read_bytes() for path in tracked()}
    assert after == before, "an operation wrote a tracked file"


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return [REPOSITORY / name for name in listed.stdout.split() if name.startswith("Pulumi")]


def test_an_override_reaches_the_program(sandbox: Sandbox, tmp_path: Path):
    program = tmp_path / "__main__.py"
    program.write_text(TWO_PROVIDERS)
    stack = sandbox.stack(["cluster.accountId=210987654321"], program=program, name="override")

    with pytest.raises(OperationError, match="210987654321"):
        stack.up()

    stack.destroy()


def test_a_failed_program_is_told_by_its_own_sentence(sandbox: Sandbox, tmp_path: Path):
    program = tmp_path / "__main__.py"
    program.write_text("import pulumi\nraise pulumi.RunError('the sentence of the program')\n")
    stack = sandbox.stack(program=program, name="failing")

    with pytest.raises(OperationError, match="the sentence of the program") as failure:
        stack.preview()

    assert "Traceback" not in str(failure.value)


def test_an_environment_of_the_sandbox_names_loopback_and_its_state_only(sandbox: Sandbox):
    environment = sandbox.environment()

    assert environment[SANDBOX_VARIABLE] == str(sandbox.directory)
    for name in ("AWS_ENDPOINT_URL", "CASTAI_API_URL"):
        assert environment[name].startswith("http://127.0.0.1:")
    assert environment["AWS_CONFIG_FILE"] == os.devnull, "the user's profiles must not apply"
    assert environment["KUBECONFIG"].startswith(str(sandbox.directory))


def test_every_process_listens_on_loopback_only(sandbox: Sandbox):
    pids = {path.name for path in Path("/proc").glob("[0-9]*") if belongs(path, sandbox)}
    assert pids, "found none of the sandbox's processes"
    inodes = {
        link.readlink().name.removeprefix("socket:[").removesuffix("]")
        for pid in pids
        for link in Path(f"/proc/{pid}/fd").iterdir()
        if str(link.readlink()).startswith("socket:[")
    }
    listening = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    ]

    addresses = {row[1].split(":")[0] for row in listening if row[9] in inodes}

    assert addresses == {"0100007F"}, "only 127.0.0.1 may be listened on"


def belongs(process: Path, sandbox: Sandbox) -> bool:
    try:
        return str(sandbox.directory).encode() in (process / "cmdline").read_bytes()
    except OSError:
        return False


def test_a_second_start_is_refused_while_the_first_runs(sandbox: Sandbox):
    done = command("start", "--state", str(sandbox.directory))

    assert done.returncode == 1
    assert "a sandbox already runs" in done.stderr
    assert Sandbox.at(sandbox.directory).record == sandbox.record


def test_env_leads_a_shell_to_the_sandbox(sandbox: Sandbox):
    printed = command("env", "--state", str(sandbox.directory)).stdout
    lines = subprocess.run(
        [
            "sh",
            "-c",
            f'{printed}\ncommand -v pulumi; echo "$KUBECONFIG"; echo "$AWS_PROFILE"; echo "$CASTAI_API_KEY"',
        ],
        env={**os.environ, "AWS_PROFILE": "real"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()

    assert lines[0] == str(sandbox.directory / "bin" / "pulumi")
    assert lines[1] == sandbox.environment()["KUBECONFIG"]
    assert lines[2] == "", "a profile of the user must not reach the sandbox's shell"
    assert lines[3:] == [castai.API_KEY], "the audit asks with the key of the environment"


def test_commands_without_a_sandbox_say_how_to_start_one(tmp_path: Path):
    for name in ("env", "preview", "up", "refresh", "destroy", "export"):
        done = command(name, "--state", str(tmp_path / "none"))
        assert done.returncode == 1, name
        assert "python -m sandbox start" in done.stderr, name
        assert "Traceback" not in done.stderr, name


def test_a_folder_with_other_things_is_never_emptied(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("ten years")

    done = command("start", "--state", str(tmp_path))

    assert done.returncode == 1
    assert "thesis.txt" in done.stderr
    assert (tmp_path / "thesis.txt").read_text() == "ten years"


def begun_start(state: Path) -> subprocess.Popen[bytes]:
    start = subprocess.Popen(
        [sys.executable, "-m", "sandbox", "start", "--state", str(state)],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    pid = state / "kubernetes" / "pids" / "apiserver"
    wait_for(lambda: pid.exists() and pid.read_text())
    return start


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_an_interrupted_start_ends_what_it_began(tmp_path: Path, number: signal.Signals):
    start = begun_start(tmp_path / "state")
    start.send_signal(number)

    assert start.wait(30) == 130
    assert session.stop(tmp_path / "state") == [], "an interrupted start left a process"


def test_a_killed_start_is_cleaned_up_by_stop(tmp_path: Path):
    state = tmp_path / "state"
    start = begun_start(state)
    start.send_signal(signal.SIGKILL)
    start.wait()
    with pytest.raises(SandboxError, match="no sandbox runs"):
        Sandbox.at(state)
    assert Processes(state).alive(), "a killed start cannot end what it began; stop must"

    done = command("stop", "--state", str(state))

    assert done.returncode == 0
    assert "apiserver" in done.stdout
    assert session.stop(state) == [], "stop left a process"


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited a minute in vain"
        time.sleep(0.05)


def test_two_starts_at_once_do_not_share_a_folder(tmp_path: Path):
    with session._starting(tmp_path), pytest.raises(SandboxError, match="another start"):
        session._starting(tmp_path).__enter__()
