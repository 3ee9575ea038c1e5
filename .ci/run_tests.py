"""Run the quick tests or the slow ones in two processes side by side, since most of them wait for another process.

    python .ci/run_tests.py quick|slow [arguments of pytest]

The first half prints as it runs, the other in one piece when both have ended. The exit code is 1 where a test of either failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

APART = ["tests/cluster", "tests/slow/test_training.py"]
"""Slow tests that need no Ray but their own; they take as long as the others together."""
HALVES = {
    "quick": (["-m", "not slow and ray"], ["-m", "not slow and not ray"]),
    "slow": (["-m", "slow", *(f"--ignore={path}" for path in APART)], ["-m", "slow", *APART]),
}
"""Arguments of pytest for the half that prints at once, and for the other."""
# Ray's processes have a niceness of 15. At 0, the quick tests without Ray would leave them no core.
NICENESS = {"quick": 18, "slow": 0}
"""Of the other half."""


def main() -> int:
    """Run both halves and return the exit code."""
    which, *arguments = sys.argv[1:]
    first, second = HALVES[which]
    # Threads of one process would wait for those of the other.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", *arguments]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        nice = ["nice", "-n", str(NICENESS[which])]
        other = subprocess.Popen([*nice, *command, *second], stdout=output, stderr=subprocess.STDOUT, env=environment)
        code = subprocess.run([*command, *first], env=environment, check=False).returncode
        code = other.wait() or code
        output.seek(0)
        print("The other half:", output.read(), sep="\n", flush=True)
    return int(bool(code))


if __name__ == "__main__":
    sys.exit(main())
