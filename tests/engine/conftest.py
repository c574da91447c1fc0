"""Real programs for the tests that need them, started once per session and always ended."""

import signal
from collections.abc import Iterator

import pytest
from lightkube import Client, KubeConfig

from sandbox import toolchain
from sandbox.kubernetes.control_plane import ControlPlane
from sandbox.proofs.secret_search import SecretSearch
from sandbox.session import Sandbox
from sandbox.toolchain import Programs

# A shell starts what it puts in the background with interrupts ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def programs() -> Programs:
    return toolchain.programs()


@pytest.fixture(scope="session")
def control_plane(
    programs: Programs, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """A bare API server: `.kubeconfig` (all powers), `.operator_kubeconfig`, `.url`."""
    plane = ControlPlane.start(tmp_path_factory.mktemp("control-plane"), programs, with_parent=True)
    yield plane
    plane.stop()


@pytest.fixture
def kubernetes(control_plane: ControlPlane) -> Iterator[Client]:
    """A client with all powers on the bare API server."""
    with Client(config=KubeConfig.from_file(control_plane.kubeconfig)) as client:
        yield client


@pytest.fixture(scope="session")
def sandbox(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Everything up: AWS, CAST AI, the furnished cluster; `.stack(...)` runs the engine on it."""
    started = Sandbox.start(
        tmp_path_factory.mktemp("sandbox"),
        programs,
        # The stand-in reports every second, so that its silence may show soon.
        options={"castai": {"online_window": 10}},
        with_parent=True,
    )
    yield started
    plain = SecretSearch.over(started).plain()
    started.stop()
    assert plain == [], "one of the runs on this sandbox let a secret out"
