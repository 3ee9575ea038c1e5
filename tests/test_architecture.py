"""The house: which room may import which, who may import ray, and that a name means one thing."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfd_ray.arguments import JOBS

PROJECT = Path(__file__).parent.parent
LONGEST_MODULE = 300

ROOMS = (
    *("cli", "arguments", "pipelines", "stages", "runtime", "report", "demo", "verdict", "corpus", "video", "store"),
    *("faces", "models", "analysis", "config", "sections", "errors", "labels", "arrays"),
)
"""From the top of the house to its cellar: a room imports what stands after it, and itself."""
STRANGERS = ({"video", "faces", "models", "analysis"},)
"""Rooms that do not know each other, whatever their order."""
WITH_RAY = {"pipelines", "stages", "runtime"}
INSIDE_RAY = re.compile(r"\bray\.[\w.]*\b_(internal|private)\b|\b_system_config\b")
"""What is not Ray's public interface; one module has all of it."""
ONE_THING = {"embed": {"pipelines", "stages"}, "report": {"pipelines"}, "demo": {"pipelines"}}
"""Names that two rooms, or a room and a module, share because they are one thing there."""


def modules_of(project: Path) -> list[Path]:
    return sorted((project / "dfd_ray").rglob("*.py"))


def room_of(path: Path, project: Path) -> str:
    return path.relative_to(project / "dfd_ray").with_suffix("").parts[0]


def imported_modules(path: Path, project: Path) -> Iterator[str]:
    """Yield every module a file imports, also inside functions and for typing only, with relative names resolved."""
    package = path.relative_to(project).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) + 1 - node.level]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def dotted(path: Path, project: Path) -> str:
    return ".".join(path.relative_to(project).with_suffix("").parts).removesuffix(".__init__")


def faults_of_imports(project: Path) -> list[str]:
    """Say which import goes up, sideways or to ray where it must not, and which modules import each other in a circle."""
    faults = []
    graph: dict[str, set[str]] = {}
    known = {dotted(path, project) for path in modules_of(project)}
    for path in modules_of(project):
        room, here = room_of(path, project), dotted(path, project)
        names = set(imported_modules(path, project))
        graph[here] = {name for name in names & known if name not in (here, "dfd_ray") and not here.startswith(f"{name}.")}
        if room in ("__init__", "__main__"):
            continue
        if room not in ROOMS:
            faults.append(f"{here}: no room of that name is in the house")
            continue
        if room not in WITH_RAY and any(name.split(".")[0] == "ray" for name in names):
            faults.append(f"{here} imports ray")
        for other in {name.split(".")[1] for name in names if name.startswith("dfd_ray.")} & set(ROOMS) - {room}:
            if ROOMS.index(other) < ROOMS.index(room):
                faults.append(f"{here} imports upward: {other}")
            elif any({room, other} <= strangers for strangers in STRANGERS):
                faults.append(f"{here} imports sideways: {other}")
    return faults + [f"{name} imports itself through others" for name in sorted(graph) if name in reached_from(name, graph)]


def faults_of_words(project: Path) -> list[str]:
    """Say which module looks inside Ray, where one alone may."""
    texts = {dotted(path, project): path.read_text(encoding="utf-8") for path in modules_of(project)}
    inside = {name for name, text in texts.items() if INSIDE_RAY.search(text)} - {"dfd_ray.runtime.ray_internals"}
    return [f"{name} looks inside Ray: that belongs in runtime/ray_internals.py" for name in sorted(inside)]


def reached_from(start: str, graph: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = [*graph[start]]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += graph[name]
    return reached


def faults_of_names(project: Path) -> list[str]:
    """Say which name stands for two modules, or for a module and another room, that are not one thing."""
    places: dict[str, set[str]] = defaultdict(set)
    for path in modules_of(project):
        if path.name != "__init__.py":
            places[path.stem].add(room_of(path, project))
    rooms = {path.parent.name for path in modules_of(project) if path.name == "__init__.py"} - {"dfd_ray"}
    return [
        f"{name} stands for two things: in {', '.join(sorted(found))}"
        for name, found in places.items()
        if (len(found) > 1 or name in rooms) and found != ONE_THING.get(name)
    ]


def test_imports_go_down_and_only_three_rooms_know_ray() -> None:
    assert faults_of_imports(PROJECT) == []


def test_one_module_looks_inside_ray() -> None:
    assert faults_of_words(PROJECT) == []


def test_pipelines_print_by_the_terminal_alone() -> None:
    """What `print` prints while a job has Ray goes to Ray's log."""
    calls = {
        dotted(path, PROJECT)
        for path in modules_of(PROJECT)
        if room_of(path, PROJECT) == "pipelines"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name) and node.id == "print"
    }
    assert calls == set()


def test_a_name_stands_for_one_module() -> None:
    assert faults_of_names(PROJECT) == []


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """Build a small house that obeys every rule."""
    files = {
        "__init__": "",
        "verdict/__init__": "",
        "verdict/metrics": "from dfd_ray.errors import DfdError",
        "video/__init__": "",
        "video/decode": "",
        "faces/__init__": "",
        "faces/crop": "",
        "pipelines/__init__": "",
        "pipelines/index": "from dfd_ray.verdict import metrics\nimport ray",
        "errors": "",
    }
    for name, text in files.items():
        path = tmp_path / "dfd_ray" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert faults_of_imports(tmp_path) == faults_of_names(tmp_path) == []
    return tmp_path


@pytest.mark.parametrize(
    ("file", "text", "fault"),
    [
        ("verdict/metrics", "def f():\n    import ray.data", "dfd_ray.verdict.metrics imports ray"),
        ("verdict/metrics", "from dfd_ray.pipelines import index", "dfd_ray.verdict.metrics imports upward: pipelines"),
        ("errors", "from . import verdict", "dfd_ray.errors imports upward: verdict"),
        ("faces/crop", "from ..video import decode", "dfd_ray.faces.crop imports upward: video"),
        ("video/decode", "import dfd_ray.faces.crop", "dfd_ray.video.decode imports sideways: faces"),
        ("attic/box", "", "dfd_ray.attic.box: no room of that name is in the house"),
    ],
)
def test_an_import_that_breaks_a_rule_is_named(house: Path, file: str, text: str, fault: str) -> None:
    path = house / "dfd_ray" / f"{file}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    assert fault in faults_of_imports(house)


@pytest.mark.parametrize(
    "text", ["from ray.train.v2._internal.constants import X", "ray._private.worker", "ray.init(_system_config={})"]
)
def test_a_module_that_looks_inside_ray_is_named(house: Path, text: str) -> None:
    assert faults_of_words(house) == []
    (house / "dfd_ray/pipelines/index.py").write_text(text)
    assert [fault.split()[0] for fault in faults_of_words(house)] == ["dfd_ray.pipelines.index"]


def test_a_circle_of_imports_is_named(house: Path) -> None:
    (house / "dfd_ray/verdict/aggregation.py").write_text("from dfd_ray.verdict.metrics import f")
    (house / "dfd_ray/verdict/metrics.py").write_text("from dfd_ray.verdict.aggregation import g")
    assert faults_of_imports(house) == [
        "dfd_ray.verdict.aggregation imports itself through others",
        "dfd_ray.verdict.metrics imports itself through others",
    ]


@pytest.mark.parametrize("file", ["faces/metrics", "faces/verdict", "pipelines/video"])
def test_a_second_module_of_one_name_is_named(house: Path, file: str) -> None:
    (house / "dfd_ray" / f"{file}.py").write_text("")
    assert [fault.split()[0] for fault in faults_of_names(house)] == [Path(file).name]


IMPORTS = """
import importlib, socket, sys
def refuse(*arguments, **named):
    sys.exit("the network was asked")
socket.socket.connect = socket.getaddrinfo = refuse
import dfd_ray.models
assert "torch" not in sys.modules, "dfd_ray.models alone loads torch"
for name in {names}:
    importlib.import_module(name)
assert "ray" not in sys.modules, "Ray was loaded"
assert not any(name.startswith("openvino_telemetry.") for name in sys.modules), "openvino reports its use"
"""


def test_what_a_notebook_imports_loads_no_ray_and_asks_no_network() -> None:
    """In one process, which the imports take seconds to fill: all modules but those of the rooms that know Ray."""
    names = [
        dotted(path, PROJECT)
        for path in modules_of(PROJECT)
        if room_of(path, PROJECT) not in WITH_RAY and path.stem != "__main__"
    ]
    assert "dfd_ray.models.augment" in names, "albumentations would ask for its newest version"
    environment = {key: value for key, value in os.environ.items() if key != "NO_ALBUMENTATIONS_UPDATE"}
    command = [sys.executable, "-W", "error:Error fetching version:UserWarning", "-c", IMPORTS.format(names=names)]
    done = subprocess.run(command, cwd=PROJECT, env=environment, timeout=300, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_module_is_short_enough_to_be_read_at_once() -> None:
    lengths = {dotted(path, PROJECT): len(path.read_text(encoding="utf-8").splitlines()) for path in modules_of(PROJECT)}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_MODULE} == {}


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    assert not {path.stem for path in modules_of(PROJECT)} & {"utils", "util", "helpers", "common", "misc", "base"}


def test_every_job_can_be_submitted_as_a_file_and_only_calls_the_command_line() -> None:
    files = {path.stem.replace("_", "-"): path for path in (PROJECT / "jobs").glob("*.py") if path.stem != "__init__"}
    assert set(files) == set(JOBS)
    for path in files.values():
        assert {name for name in imported_modules(path, PROJECT) if name.startswith("dfd_ray")} <= {
            "dfd_ray.cli",
            "dfd_ray.cli.main",
        }
