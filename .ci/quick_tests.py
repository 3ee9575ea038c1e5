"""Run the quick tests in two processes side by side: those that use Ray, and the others.

    python .ci/quick_tests.py [arguments of pytest]

The first print as they run, the others in one piece when both have ended. The exit code is 1 where a test of either failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile


def main() -> int:
    """Run both and return the exit code."""
    # Threads of one process would wait for those of the other.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", *sys.argv[1:], "-m"]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        # Ray's processes have a niceness of 15. At 0, the other tests would leave them no core, and those with Ray take longer.
        nice = ["nice", "-n", "18"]
        others = subprocess.Popen(
            [*nice, *command, "not slow and not ray"], stdout=output, stderr=subprocess.STDOUT, env=environment
        )
        with_ray = subprocess.run([*command, "not slow and ray"], env=environment, check=False)
        code = others.wait()
        output.seek(0)
        print("The tests without Ray:", output.read(), sep="\n", flush=True)
    return int(bool(code or with_ray.returncode))


if __name__ == "__main__":
    sys.exit(main())
