# SPDX-License-Identifier: Apache-2.0
"""These scenarios need a ringmain with a state process."""
import subprocess
from pathlib import Path

from mesh import BINARY

known = Path(BINARY).exists() and "apply" in subprocess.run([BINARY, "help"], text=True, stdout=subprocess.PIPE).stdout
collect_ignore = [] if known else ["test_discovery.py", "test_health.py", "test_objects.py", "test_outage.py",
                                   "test_silence.py", "test_failover.py", "test_connection.py"]
