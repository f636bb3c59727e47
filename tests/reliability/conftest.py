"""Prints what became of the killed steps."""

import pytest

KILLS = pytest.StashKey[list[str]]()


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> list[str]:
    """Lines of the table that is printed at the end."""
    return request.config.stash.setdefault(KILLS, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(KILLS, []):
        terminalreporter.line(line)
