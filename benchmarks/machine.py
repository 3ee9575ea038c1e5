"""The machine of a measurement, and the file that keeps it."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
ANALYSIS = ("scikit-learn", "hdbscan", "fast-hdbscan", "openTSNE")
PACKAGES = ("ray", "torch", "openvino", "av", "opencv-python-headless", "facenet-pytorch", "timm", "pyarrow", *ANALYSIS)
EXTENSIONS = ("amx_tile", "avx512f", "avx2")
"""Instruction sets that decide a network's speed, the best first, as the flags in /proc/cpuinfo name them."""


def describe_machine() -> dict[str, Any]:
    """Return the processor, its best instruction set, its cores, the memory in GiB, Python's and the packages' versions."""
    processor, extension = platform.processor() or platform.machine(), ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        text = cpuinfo.read_text()
        names = re.findall(r"model name\s*: (.+)", text)
        processor = names[0] if names else processor
        extension = next((name for name in EXTENSIONS if f" {name} " in text.replace("\n", " ")), "")
    return {
        "processor": processor,
        "instructions": extension,
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def name_machine(machine: dict[str, Any]) -> str:
    """Return the name of the file of a machine's results."""
    words = f"{machine['processor']} {machine['instructions']} {machine['cores']} cores"
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def keep_result(name: str, result: Mapping[str, object]) -> None:
    """Print a result as JSON, and add it to this machine's `benchmarks/results/<machine>.json`."""
    machine = describe_machine()
    arguments = [Path(word).name if os.sep in word else word for word in sys.argv[1:]]
    entry = {"command": " ".join(["python -m", f"benchmarks.{name}", *arguments]), "machine": machine, **result}
    path = RESULTS / f"{name_machine(machine)}.json"
    path.parent.mkdir(exist_ok=True)
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps(kept | {name: entry}, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(entry, indent=2))
