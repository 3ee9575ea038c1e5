"""Ask PyPI what is known to be vulnerable in the environment this runs in, and say it; without a network say that, too.

It never fails: what becomes known of a package tomorrow is no fault of today's change.
"""

from __future__ import annotations

import json
import subprocess
import sys

ANSWER_SECONDS = 3
"""Seconds until PyPI has to answer a request."""
SECONDS = 20
"""Seconds that all of it may take."""


def main() -> None:
    """Print a line for each vulnerability, and one for all."""
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--skip-editable",
        "--progress-spinner=off",
        f"--timeout={ANSWER_SECONDS}",
        "--format=json",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        print(f"not audited: PyPI has not answered for all packages in {SECONDS} s")
        return
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"not audited: {(done.stderr.strip().splitlines() or ['pip-audit said nothing'])[-1]}")
        return
    audited = [package for package in packages if "vulns" in package]
    for package in audited:
        for found in package["vulns"]:
            remedy = f"mended in {', '.join(found['fix_versions'])}" if found["fix_versions"] else "not mended yet"
            print(f"vulnerable: {package['name']} {package['version']}: {found['id']}, {remedy}")
    print(f"audited {len(audited)} of {len(packages)} packages" + ("" if audited else ": PyPI cannot be reached"))


if __name__ == "__main__":
    main()
