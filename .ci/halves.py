"""Run the tests in two processes side by side, one for each core of a small machine.

    python .ci/halves.py quick|slow [arguments of pytest]

The quick tests that use Ray run beside those that do not, the slow ones of tests/cluster beside the other slow ones.
The first half prints as it runs, the second in one piece at the end. The exit code is 1 where a test of either failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

HALVES = {
    "quick": (["-m", "not slow and ray"], ["-m", "not slow and not ray"]),
    "slow": (["-m", "slow", "--ignore=tests/cluster"], ["-m", "slow", "tests/cluster"]),
}


def main() -> int:
    """Run both and return the exit code."""
    # Threads of one process would wait for those of the other.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    first, second = ([sys.executable, "-m", "pytest", *half, *sys.argv[2:]] for half in HALVES[sys.argv[1]])
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        beside = subprocess.Popen(second, stdout=output, stderr=subprocess.STDOUT, env=environment)
        code = subprocess.run(first, env=environment, check=False).returncode
        code = beside.wait() or code
        output.seek(0)
        print("The other half:", output.read(), sep="\n", flush=True)
    return int(bool(code))


if __name__ == "__main__":
    sys.exit(main())
