"""Run every benchmark, one after the other, and make the page of their results.

    python -m benchmarks [NAME ...] [--folder CORPUS]

If one fails, the others still run, and it is named at the end. All of them take hours. `python -m benchmarks.ablations` and
`python -m benchmarks.transfer` train for hours more and need other people's videos, so they are not among them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from benchmarks import page

NAMES = [*(name for name in page.SECTIONS if name not in ("ablations", "transfer")), "autoscaling"]
"""The benchmarks of the page, and one that draws a figure for the documentation instead."""
ON_VIDEOS = ("preprocess", "detection", "detectors", "embed", "capacity", "autoscaling")
"""The benchmarks that take a folder of DFDC-shaped parts. Without one they make the demo corpus."""


def main() -> int:
    """Return 1 if a benchmark failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Run benchmarks and make docs/benchmarks.md")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; default all of them")
    parser.add_argument("--folder", help="DFDC-shaped corpus; default the demo's")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(NAMES)):
        parser.error(f"no benchmark is called {', '.join(unknown)}")
    failed = []
    for name in options.names or NAMES:
        print(f"== {name}", flush=True)
        folder = [options.folder] if options.folder and name in ON_VIDEOS else []
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *folder], check=False).returncode:
            failed.append(name)
    page.main()
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
