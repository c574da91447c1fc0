"""Settings of every test."""

import functools
import gc

import botocore.loaders
import botocore.session
import pytest
from hypothesis import settings

# A busy machine takes longer than Hypothesis allows for one example; time has tests of its own.
settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")

# Sessions of a process share one loader and with it the models of the services, which each would
# read anew: 0.3 s for one look at an account.
botocore.session.create_loader = functools.cache(botocore.loaders.create_loader)

# The modules and the requests of the IAM proof are many objects that stay; each full collection
# would walk them.
gc.set_threshold(100_000, 50, 50)

_LINES = 30
"""Of a failure's report, shown when it happens."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files with long tests first, so that the workers end at about the same time."""
    items.sort(key=lambda item: item.path.parent.name != "engine")


class Failures:
    """Prints each failure at once: a run that is ended early prints no summary."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Show the end of the report of a failed test."""
        if report.failed:
            lines = report.longreprtext.splitlines()[-_LINES:]
            heading = f"FAILED {report.nodeid} ({report.when}, {report.duration:.0f} s)"
            self._terminal.write_line("\n".join(["", heading, *lines]))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Show failures in the process that prints, which is no worker."""
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None and not hasattr(session.config, "workerinput"):
        session.config.pluginmanager.register(Failures(terminal), "failures")
