"""Run the quick tests in three processes side by side, since each test waits for others now and then.

    python .ci/quick_tests.py [arguments of pytest]

The first part prints as it runs, the others in one piece when all have ended. The exit code is 1 where a test of any failed.
The slow tests are not run so: they wait for deaths, with time limits.
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
QUICK = ["-m", "not slow and not ray"]
PARTS = (["-m", "not slow and ray"], [*QUICK, *PICTURES], [*QUICK, *without(PICTURES)])
"""Arguments of pytest for each process; together the processes run every test once."""
# Ray's processes have a niceness of 15, and the tests that use it take longest: at 10, the others left Ray too little.
NICENESS = 19
"""Of all parts but the first."""


def main() -> int:
    """Run all parts and return the exit code."""
    first, *others = PARTS
    # Threads of one process would wait for those of the other.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", *sys.argv[1:]]
    with ExitStack() as stack:
        started = []
        for part in others:
            output = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))
            nice = ["nice", "-n", str(NICENESS)]
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
