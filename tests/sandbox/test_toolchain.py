import io
import os
import threading
from pathlib import Path

import pytest
from rich.console import Console

from sandbox import toolchain
from sandbox.engine import program_folder
from sandbox.toolchain import MARKER, ToolchainError

NAMES = ["pulumi", "pulumi-resource-kubernetes", "control-plane", "kwok", "authenticator"]
GO = """#!/bin/sh
# Stands for the Go tool: notes its arguments and writes what it was asked to write.
if [ "$1" = mod ]; then echo '{{"Dir": "{module}"}}'; exit; fi
echo "$@" >> "{log}"
{body}
while [ "$1" != "-o" ]; do shift; done
echo built > "$2"
"""


def executable(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with a Go tool and nothing else of ours."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "pulumi-home"))
    go(tmp_path)
    return tmp_path


def go(machine: Path, body: str = "") -> None:
    module = machine / "sdk"
    executable(module / "python" / "cmd" / "pulumi-language-python-exec", "the executor\n")
    text = GO.format(log=machine / "go.log", body=body, module=module)
    executable(machine / "bin" / "go", text)


def built(machine: Path) -> list[str]:
    """Names of the programs that Go was asked for, in order."""
    log = machine / "go.log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [Path(line.split(" -o ")[1].split()[0]).name.removesuffix(".part") for line in lines]


def programs(*, own: bool = False) -> tuple[toolchain.Programs, str]:
    output = io.StringIO()
    result = toolchain.programs(own=own, console=Console(file=output, width=300))
    return result, output.getvalue()


def test_all_are_built_in_order_and_only_once(machine: Path):
    first, _ = programs()
    again, _ = programs()

    assert built(machine) == NAMES
    assert first == again
    assert first.control_plane.read_text() == "built\n"
    assert first.aws_plugin is None, "without a real plugin the stand-in takes its place"
    assert machine in first.pulumi.parents, "built programs belong into the user's cache"


@pytest.mark.parametrize(
    ("find", "name"),
    [(toolchain.yaml_host, "pulumi-language-yaml"), (toolchain.node_sdk, "node-sdk")],
)
def test_what_only_a_test_needs_is_built_alone_and_only_once(machine: Path, find, name: str):
    first = find(Console(file=io.StringIO()))

    assert find(Console(file=io.StringIO())) == first
    assert built(machine) == [name]
    assert first.parent != toolchain.cache_folder()


def test_what_only_a_test_needs_causes_no_other_build(tmp_path: Path, monkeypatch):
    module = tmp_path / "module"
    source = module / "engine" / "node-sdk" / "main.go"
    source.parent.mkdir(parents=True)
    monkeypatch.setattr(toolchain, "MODULE", module)
    monkeypatch.setattr(toolchain, "_APART", (source.parent,))
    all_, own = toolchain.cache_folder(), toolchain.cache_folder("engine")
    source.touch()

    assert toolchain.cache_folder() == all_
    assert toolchain.cache_folder("engine") != own


def test_each_is_built_read_only_and_with_its_version(machine: Path):
    programs()

    lines = (machine / "go.log").read_text().splitlines()
    assert all("-mod=readonly -buildvcs=false" in line for line in lines)
    assert "version.Version=v3.274.1" in lines[0]
    assert "version.gitVersion=v1.33.13" in lines[2]


def test_the_cache_follows_the_content_of_the_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    before = toolchain.cache_folder()
    module = tmp_path / "module"
    module.mkdir()
    for name in ("go.mod", "go.sum"):
        (module / name).write_bytes((toolchain.MODULE / name).read_bytes())
    monkeypatch.setattr(toolchain, "MODULE", module)

    assert toolchain.cache_folder() != before


def test_a_half_built_toolchain_is_finished_and_not_begun_again(machine: Path):
    folder = toolchain.cache_folder()
    executable(folder / "pulumi")
    (folder / "pulumi-resource-kubernetes.part").write_text("half of it")

    result, _ = programs()

    assert built(machine) == NAMES[1:]
    assert result.kubernetes_plugin.read_text() == "built\n"


def test_two_starts_at_once_build_once(machine: Path):
    go(machine, "sleep 0.2")
    starts = [threading.Thread(target=programs) for _ in range(2)]
    for start in starts:
        start.start()
    for start in starts:
        start.join()

    assert built(machine) == NAMES


def test_a_failed_build_shows_the_end_of_its_output_and_leaves_no_program(machine: Path):
    go(machine, "seq 1 100 >&2; echo 'undefined: thing' >&2; exit 1")

    with pytest.raises(ToolchainError, match="building pulumi failed") as failure:
        programs()

    assert "undefined: thing" in str(failure.value)
    assert "\n  50\n" not in str(failure.value), "the end is wanted, not everything"
    assert not (toolchain.cache_folder() / "pulumi").exists()
    go(machine)
    assert programs()[0].pulumi.exists(), "the next start must work"


def test_a_full_disk_is_named_as_such(machine: Path):
    go(machine, "echo 'write /tmp/x: no space left on device' >&2; exit 1")

    with pytest.raises(ToolchainError, match="the disk is full"):
        programs()


def test_too_little_space_is_noticed_before_anything_is_built(
    machine: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(toolchain, "_LEAST_FREE_BYTES", 10**18)

    with pytest.raises(ToolchainError, match="MB left"):
        programs()

    assert built(machine) == []


def test_a_missing_go_says_what_to_install(machine: Path):
    (machine / "bin" / "go").unlink()
    if any(Path(entry, "go").exists() for entry in ("/usr/bin", "/bin")):
        pytest.skip("Go is part of this system")

    with pytest.raises(ToolchainError, match=r"no `go` on PATH; install Go"):
        programs()


@pytest.mark.usefixtures("machine")
def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))

    with pytest.raises(ToolchainError, match="set XDG_CACHE_HOME"):
        programs()


@pytest.mark.parametrize(
    "name", ["pulumi", "pulumi-resource-kubernetes", "pulumi-resource-aws"], ids=str
)
def test_a_program_on_path_is_taken_and_said(machine: Path, name: str):
    mine = executable(machine / "bin" / name)

    result, message = programs()

    paths = {result.pulumi, result.kubernetes_plugin, result.aws_plugin}
    assert mine in paths
    assert f"{name}: taking the one found at {mine}" in message
    assert name not in built(machine), "nothing is built that the machine has"


@pytest.mark.parametrize(
    "name", ["pulumi", "pulumi-resource-kubernetes", "pulumi-resource-aws"], ids=str
)
def test_own_programs_can_be_forced(machine: Path, name: str):
    mine = executable(machine / "bin" / name)

    result, message = programs(own=True)

    assert mine not in {result.pulumi, result.kubernetes_plugin, result.aws_plugin}
    assert str(mine) not in message
    assert built(machine) == NAMES


def test_the_newest_complete_plugin_of_pulumi_s_folder_is_taken(machine: Path):
    plugins = machine / "pulumi-home" / "plugins"
    for version in ("4.9.0", "4.34.2", "4.100.0"):
        folder = plugins / f"resource-kubernetes-v{version}"
        executable(folder / "pulumi-resource-kubernetes")
    (plugins / "resource-kubernetes-v4.100.0.partial").touch()

    result, _ = programs()

    assert result.kubernetes_plugin == (
        plugins / "resource-kubernetes-v4.34.2" / "pulumi-resource-kubernetes"
    )


def test_without_a_language_host_the_stand_in_gets_the_sdk_s_executor(machine: Path):
    result, message = programs()

    assert result.language_host is None
    assert result.executor.read_text() == "the executor\n"
    assert machine / "cache" in result.executor.parents
    assert "pulumi-language-python: taking the stand-in" in message


@pytest.mark.parametrize("own", [False, True], ids=["machine's", "own"])
@pytest.mark.parametrize(
    "place",
    ["bin", "installation", "pulumi-home/bin", "pulumi-home/plugins/language-python-v3.2.1"],
)
def test_a_real_language_host_is_never_replaced(machine: Path, place: str, own: bool):
    real = executable(machine / place / "pulumi-language-python")
    executor = executable(machine / place / "pulumi-language-python-exec")
    if place == "installation":
        executable(machine / place / "pulumi")
        (machine / "bin" / "pulumi").symlink_to(machine / place / "pulumi")
        own = False

    result, message = programs(own=own)

    assert result.language_host == real
    assert result.executor == executor
    assert f"pulumi-language-python: taking the one found at {real}" in message


def test_the_program_folder_holds_the_real_language_host_or_the_stand_in(machine: Path):
    result, _ = programs()
    folder = program_folder.write(machine / "state" / "bin", result)
    stand_in = (folder / "pulumi-language-python").read_text()
    assert f"-m sandbox.language_host --use-executor {result.executor}" in stand_in

    real = executable(machine / "bin" / "pulumi-language-python")
    executable(machine / "bin" / "pulumi-language-python-exec")
    program_folder.write(folder, programs()[0])

    assert (folder / "pulumi-language-python").readlink() == real


def test_the_sandbox_s_own_folder_on_path_is_not_mistaken_for_the_machine_s(
    machine: Path, monkeypatch: pytest.MonkeyPatch
):
    own = machine / "state" / "bin"
    executable(own / "pulumi-resource-aws")
    (own / MARKER).touch()
    monkeypatch.setenv("PATH", f"{own}{os.pathsep}{os.environ['PATH']}")

    assert programs()[0].aws_plugin is None


def test_without_a_terminal_a_long_build_says_so_now_and_then(
    machine: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(toolchain, "_QUIET_REPORT_SECONDS", 0.1)
    go(machine, "sleep 0.35")

    _, message = programs()

    assert "building pulumi: about 3 min 41 s the first time" in message
    assert message.count("building pulumi: 0 min 0 s of about") >= 2


@pytest.mark.usefixtures("machine")
def test_on_a_terminal_a_bar_shows_the_time():
    output = io.StringIO()

    toolchain.programs(console=Console(file=output, force_terminal=True, width=120))

    assert "building pulumi" in output.getvalue()
    assert "0:00:0" in output.getvalue()
