# SPDX-License-Identifier: Apache-2.0
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import hosts  # noqa: E402


def find_cli():
    """The command under test: of the test build, which runs `redirect` alone."""
    build = os.environ.get("RINGMAIN_BUILD", str(Path(__file__).parents[3] / "build"))
    cli = Path(build) / "tests/unit/redirect/redirect_cli"
    if not cli.exists():
        pytest.exit(f"{cli} is missing: ninja -C {build} tests/unit/redirect/redirect_cli", 1)
    return str(cli)


@pytest.fixture(scope="session")
def cli():
    if os.geteuid() != 0:
        pytest.skip("needs root for network namespaces")
    return find_cli()


@pytest.fixture(params=["nft", "legacy"])
def backend(request):
    return request.param


@pytest.fixture
def lab(tmp_path, cli, backend):
    """A machine without rules."""
    made = hosts.Lab(tmp_path, cli, backend)
    yield made
    made.done()


@pytest.fixture
def captured_lab(lab):
    """A machine with the rules in place."""
    lab.up()
    return lab


@pytest.fixture(scope="module", params=["nft", "legacy"])
def shared_lab(request, tmp_path_factory, cli):
    """A machine with the rules in place for tests that only look and connect."""
    made = hosts.Lab(tmp_path_factory.mktemp("shared"), cli, request.param)
    try:
        made.up()
        yield made
    finally:
        made.done()
