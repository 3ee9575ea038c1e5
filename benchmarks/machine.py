"""What a measurement was made on, and where it is kept."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

ANALYSIS = ("scikit-learn", "hdbscan", "fast-hdbscan", "openTSNE")
PACKAGES = ("ray", "torch", "openvino", "av", "opencv-python-headless", "facenet-pytorch", "timm", "pyarrow", *ANALYSIS)


def describe_machine() -> dict[str, Any]:
    """Return the processor, its cores, the memory in GiB, Python's and the packages' versions."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        processor = names[0] if names else processor
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def report(name: str, result: dict[str, Any]) -> None:
    """Print a result as JSON and keep it in `benchmarks/results/<name>.json`."""
    text = json.dumps({"benchmark": name, "machine": describe_machine(), **result}, indent=2)
    path = Path(__file__).parent / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")
    print(text)
