# SPDX-License-Identifier: Apache-2.0
"""For every scenario: nothing left over from runs that died, a limit on each test's time, a failure
when a sanitizer complained, and a report of the mesh when a test fails."""
import os
import resource
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
import mesh as scenario  # noqa: E402
from machines import sweep  # noqa: E402

TEST_SECONDS = 90
PATIENCE = int(os.environ.get("RINGMAIN_PATIENCE", "1"))  # more when other tests run beside these


def pytest_configure(config):
    config.addinivalue_line("markers", "seconds(n): the test's own limit of time")
    for lab in sweep():
        print(f"swept what lab {lab} left behind")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        pytest.exit("scenario tests make network namespaces: run them as root", 3)


class OutOfTime(Exception):
    pass


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    marker = item.get_closest_marker("seconds")
    seconds = (marker.args[0] if marker else TEST_SECONDS) * PATIENCE

    def expired(*_):
        raise OutOfTime(f"not finished after {seconds} s")
    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def sanitizers_silent():
    yield
    reports = [text for mesh in list(scenario.LIVE) for text in mesh.sanitizer_reports()]
    if reports:
        pytest.fail("a sanitizer or an assertion complained:\n" + "\n".join(reports)[:8000], pytrace=False)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for mesh in list(scenario.LIVE):
            report.sections += mesh.report()
