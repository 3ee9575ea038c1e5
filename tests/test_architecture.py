from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfd_ray.cli import JOBS

PROJECT = Path(__file__).parent.parent
PACKAGE = PROJECT / "dfd_ray"
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST_MODULE = 300

FOUNDATION = {"tables", "schemas", "config", "sections", "errors", "storage", "remote_file"}
PURE = {"video", "faces", "models", "analysis", "report"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "sections": set(),
    "config": {"errors", "sections"},
    "remote_file": set(),
    "storage": {"errors", "remote_file"},
    "schemas": set(),
    "tables": {"config", "errors", "storage"},
    "capacity": {"config", "errors"},
    **{part: {part} | FOUNDATION for part in PURE},
    "demo": {"demo", "faces"} | FOUNDATION,
    "pipelines": {"pipelines", "demo"} | PURE | FOUNDATION,
    "cli": {"pipelines", "capacity"} | FOUNDATION,
    "__init__": set(),
}
"""A part of dfd_ray, and the parts that it may import: one direction, nothing sideways."""


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_modules(path: Path) -> Iterator[str]:
    """Yield every module a file imports, also inside functions and for typing only, with relative names resolved."""
    package = path.relative_to(PROJECT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) + 1 - node.level]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def imported_parts(path: Path) -> set[str]:
    parts = {name.split(".")[1] for name in imported_modules(path) if name.startswith("dfd_ray.")}
    return parts & set(MAY_IMPORT)


def name_of(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def test_every_part_of_the_package_has_its_place() -> None:
    assert {part_of(path) for path in MODULES} <= set(MAY_IMPORT)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_what_lies_below_it(path: Path) -> None:
    assert imported_parts(path) <= MAY_IMPORT[part_of(path)]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_pipelines_import_ray(path: Path) -> None:
    imports_ray = any(name.split(".")[0] == "ray" for name in imported_modules(path))
    assert not imports_ray or part_of(path) == "pipelines"


def test_imports_are_found_wherever_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "dfd_ray" / "video" / "probe.py"
    module.parent.mkdir(parents=True)
    module.write_text("from ..faces import crop\nfrom dfd_ray import models\ndef f():\n    import ray.data\n")
    monkeypatch.setitem(globals(), "PROJECT", tmp_path)
    assert imported_parts(module) == {"faces", "models"}
    assert "ray.data" in set(imported_modules(module))


@pytest.mark.parametrize("parts", ["video, dfd_ray.faces", "models", "analysis", "report"])
def test_the_pure_parts_load_without_ray(parts: str) -> None:
    code = f"import sys, dfd_ray.{parts}; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, timeout=120, check=False).returncode == 0


def test_all_modules_of_the_pure_parts_load_without_ray() -> None:
    pure = [path for path in MODULES if part_of(path) in PURE | FOUNDATION and path.name != "__init__.py"]
    names = [".".join(path.relative_to(PROJECT).with_suffix("").parts) for path in pure]
    code = f"import importlib, sys; [importlib.import_module(name) for name in {names}]; sys.exit('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, timeout=120, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_short_enough_to_be_read_at_once(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    assert not [path for path in MODULES if path.stem in {"utils", "util", "helpers", "common", "misc", "base"}]


@pytest.mark.parametrize("job", sorted(JOBS))
def test_every_job_can_be_submitted_as_a_file(job: str) -> None:
    assert (PROJECT / "jobs" / f"{job.replace('-', '_')}.py").is_file()


def test_there_is_no_file_for_a_job_that_does_not_exist() -> None:
    files = {path.stem.replace("_", "-") for path in (PROJECT / "jobs").glob("*.py") if path.stem != "__init__"}
    assert files == set(JOBS)


def test_a_submitted_job_only_calls_the_command_line() -> None:
    for path in (PROJECT / "jobs").glob("*.py"):
        imported = {name for name in imported_modules(path) if name.startswith("dfd_ray.")}
        assert {name.split(".")[1] for name in imported} <= {"cli", "pipelines"}, path.name


def test_openvino_reports_to_nobody() -> None:
    code = "import dfd_ray.faces.nets, sys; sys.exit(any(name.startswith('openvino_telemetry.') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, timeout=300, check=False).returncode == 0
