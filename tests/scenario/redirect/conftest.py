# SPDX-License-Identifier: Apache-2.0
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import hosts  # noqa: E402


@pytest.fixture(scope="session")
def cli():
    """The program under test: RINGMAIN, or that of the build directory RINGMAIN_BUILD."""
    build = Path(os.environ.get("RINGMAIN_BUILD", Path(__file__).parents[3] / "build/test"))
    program = Path(os.environ.get("RINGMAIN", build / "src/daemon/ringmain"))
    if not program.exists():
        pytest.exit(f"{program} is missing: ninja -C {build} src/daemon/ringmain", 3)
    return str(program.resolve())


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
