"""Run the quick tests or the slow ones in some processes side by side, since each test waits for others now and then.

    python .ci/run_tests.py quick|slow [arguments of pytest]

The first part prints as it runs, the others in one piece when all have ended. The exit code is 1 where a test of any failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack


def without(folders: Iterable[str]) -> list[str]:
    """Return the arguments of pytest for all tests but those of some folders."""
    return [f"--ignore={folder}" for folder in folders]


PICTURES = ["tests/video", "tests/faces", "tests/demo", "tests/report"]
CLUSTERS = ["tests/cluster", "tests/slow/test_training.py"]
"""Slow tests that need no Ray but their own."""
PARTS = {
    "quick": (
        ["-m", "not slow and ray"],
        ["-m", "not slow and not ray", *PICTURES],
        ["-m", "not slow and not ray", *without(PICTURES)],
    ),
    "slow": (["-m", "slow", *without(CLUSTERS)], ["-m", "slow", *CLUSTERS]),
}
"""Arguments of pytest for each process; together the processes run every test once."""
# Ray's processes have a niceness of 15, and the tests that use it take longest: at 10, the others left Ray so little that the
# quick tests took twice as long.
NICENESS = {"quick": 19, "slow": 0}
"""Of all parts but the first."""


def main() -> int:
    """Run all parts and return the exit code."""
    which, *arguments = sys.argv[1:]
    first, *others = PARTS[which]
    # Threads of one process would wait for those of the other.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", *arguments]
    with ExitStack() as stack:
        started = []
        for part in others:
            output = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))
            nice = ["nice", "-n", str(NICENESS[which])]
            process = subprocess.Popen([*nice, *command, *part], stdout=output, stderr=subprocess.STDOUT, env=environment)
            started.append((part, process, output))
        codes = [subprocess.run([*command, *first], env=environment, check=False).returncode]
        for part, process, output in started:
            codes.append(process.wait())
            output.seek(0)
            print(f"pytest {' '.join(part)}:", output.read(), sep="\n", flush=True)
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
