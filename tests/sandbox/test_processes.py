import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sandbox import processes
from sandbox.engine.stack import REPOSITORY
from sandbox.processes import ProcessError, Processes, free_port

WAITING = "import sys, time; print('waits in', sys.argv[1], flush=True); time.sleep(600)"
STUBBORN = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('waits in', sys.argv[1], flush=True); time.sleep(600)"
)


def start(group: Processes, directory: Path, name: str, text: str = WAITING) -> None:
    group.start(name, [sys.executable, "-c", text, directory], with_parent=True)


def wait_for(log: Path) -> None:
    deadline = time.monotonic() + 20
    while not (log.exists() and log.read_text()):
        assert time.monotonic() < deadline, f"nothing came into {log}"
        time.sleep(0.02)


def test_another_object_finds_and_ends_what_was_started(tmp_path: Path):
    start(Processes(tmp_path), tmp_path, "one")
    start(Processes(tmp_path), tmp_path, "two")
    result = Processes(tmp_path)
    wait_for(tmp_path / "logs" / "two.log")
    assert result.alive() == ["one", "two"]

    result.stop()

    assert Processes(tmp_path).alive() == []


def test_a_stop_at_any_moment_of_a_start_ends_the_process(tmp_path: Path):
    group = Processes(tmp_path)
    for milliseconds in range(0, 60, 4):
        start(group, tmp_path, "short-lived")
        pid = processes._CHILDREN[tmp_path / "pids" / "short-lived"].pid
        time.sleep(milliseconds / 1000)

        group.stop()

        assert not alive(pid), f"a process of {milliseconds} ms was left"


def test_without_its_pid_file_a_program_does_not_run(tmp_path: Path):
    program = ["touch", str(tmp_path / "ran")]
    starter = [sys.executable, REPOSITORY / "sandbox" / "starter.py", tmp_path / "pid", "0"]

    subprocess.run([*starter, *program], check=True)
    assert not (tmp_path / "ran").exists()

    (tmp_path / "pid").touch()
    subprocess.run([*starter, *program], check=True)
    assert (tmp_path / "ran").exists()
    assert (tmp_path / "pid").read_text().isdigit()


def test_what_does_not_listen_is_ended_by_force(tmp_path: Path):
    group = Processes(tmp_path)
    start(group, tmp_path, "stubborn", STUBBORN)
    wait_for(tmp_path / "logs" / "stubborn.log")

    group.stop()

    assert group.alive() == []


def test_children_of_a_process_end_with_it(tmp_path: Path):
    group = Processes(tmp_path)
    group.start(
        "parent", ["sh", "-c", f'sleep 600 & echo "$!"; wait # {tmp_path}'], with_parent=True
    )
    wait_for(tmp_path / "logs" / "parent.log")
    child = int((tmp_path / "logs" / "parent.log").read_text())

    group.stop()

    wait_for_end(child)


def test_a_pid_that_was_given_to_somebody_else_is_left_alone(tmp_path: Path):
    group = Processes(tmp_path)
    with subprocess.Popen(["sleep", "600"]) as stranger:
        (tmp_path / "pids" / "old").write_text(str(stranger.pid))

        assert group.alive() == []
        group.stop()

        assert stranger.poll() is None, "somebody else's process was ended"
        stranger.kill()


def test_a_process_that_ended_is_told_with_the_end_of_its_log(tmp_path: Path):
    group = Processes(tmp_path)
    text = "print('the reason'); raise SystemExit(3)"
    start(group, tmp_path, "short", text)
    deadline = time.monotonic() + 20
    with pytest.raises(ProcessError, match="short ended with status 3") as ended:  # noqa: PT012
        while time.monotonic() < deadline:
            group.require_alive()
            time.sleep(0.02)

    assert "the reason" in str(ended.value)
    group.stop()


def test_with_its_parent_a_process_ends_even_when_the_parent_is_killed(tmp_path: Path):
    if sys.platform != "linux":
        pytest.skip("the kernel does this on Linux only")
    text = (
        "import sys, time; from pathlib import Path; from sandbox.processes import Processes; "
        f"where = Path({str(tmp_path)!r}); "
        f"command = [sys.executable, '-c', {WAITING!r}, where]; "
        "Processes(where).start('child', command, with_parent=True); "
        "time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", text], cwd=REPOSITORY) as parent:
        wait_for(tmp_path / "logs" / "child.log")
        child = int((tmp_path / "pids" / "child").read_text())
        os.kill(parent.pid, signal.SIGKILL)
    wait_for_end(child)


def test_handlers_of_a_fork_do_not_run_in_a_process_that_is_started(tmp_path: Path):
    text = (
        "import os, sys; from pathlib import Path; from sandbox.processes import Processes; "
        "os.register_at_fork(after_in_child=lambda: os._exit(9)); "  # as those of gRPC may
        f"where = Path({str(tmp_path)!r}); "
        f"Processes(where).start('child', ['sh', '-c', f'echo started {{where}}'], with_parent=True); "
        "raise SystemExit(os.wait()[1])"
    )
    done = subprocess.run([sys.executable, "-c", text], cwd=REPOSITORY, check=False)
    assert done.returncode == 0
    assert "started" in (tmp_path / "logs" / "child.log").read_text()


def wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + 20
    while alive(pid):
        assert time.monotonic() < deadline, f"process {pid} lives on"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_a_free_port_is_free_and_no_port_of_outgoing_connections():
    ports = {free_port() for _ in range(20)}

    assert len(ports) > 1
    assert max(ports) < 32_768
    for port in ports:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
