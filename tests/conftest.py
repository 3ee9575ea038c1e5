"""What the tests share: one Ray, one demo corpus, one finished run; each is made when first asked for."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from .bucket import Bucket

PROJECT = Path(__file__).parent.parent

CACHE = PROJECT / ".cache" / "tests"
"""What one run of the tests makes and the next one uses: compiled code and the demo corpus."""
os.environ.setdefault("NUMBA_CACHE_DIR", str(CACHE / "numba"))

# A Ray of the tests is on loopback and ends with them: it needs no tokens, and must write none under HOME.
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
os.environ.pop("RAY_ADDRESS", None)

SETTINGS = [
    "index.folds=2",
    "preprocess.frames_real=6",
    "preprocess.frames_fake=3",
    "preprocess.frames_unlabelled=3",
    "embed.backbone=test_efficientnet",
    "embed.weights=random",
    "embed.image_size=64",
    "embed.precision=fp32",
    "analyze.components=8",
    "analyze.perplexity=5",
    "analyze.iterations=60",
    "analyze.min_cluster_size=3",
    "train.backbone=test_efficientnet",
    "train.weights=random",
    "train.image_size=64",
    "train.epochs=1",
    "train.batch_size=8",
    "evaluate.bootstrap=50",
    "resources.videos_per_task=2",
    "resources.videos_per_file=4",
]
"""A run of seconds: few frames, a tiny network without weights."""


DRAWN = [
    *(f"preprocess.{name}" for name in ("crop_size=64", "frames_real=4", "frames_fake=4")),
    *(f"train.{name}" for name in ("backbone=test_efficientnet", "weights=random", "image_size=64", "folds=[0]")),
]
"""The settings of a run that `draw_run` makes."""


@pytest.hookimpl(tryfirst=True)  # before pytest chooses tests by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use Ray. Of the quick ones, run those of the demo first and what else needs its corpus last.

    `make test` runs several processes side by side: one makes the corpus, and the others need not wait for it.
    """
    for item in items:
        if uses(item, "ray"):
            item.add_marker(pytest.mark.ray)
    quick = [item for item in items if not item.get_closest_marker("slow")]
    slow = [item for item in items if item.get_closest_marker("slow")]  # their modules share clusters: they stay in order
    items[:] = [*sorted(quick, key=lambda item: 0 if item.path.parent.name == "demo" else 1 + uses(item, "demo_corpus")), *slow]


def uses(item: pytest.Item, fixture: str) -> bool:
    """Return whether a test needs a fixture, be it through another."""
    return fixture in getattr(item, "fixturenames", ())


def as_flags(settings: list[str]) -> list[str]:
    """Return settings as `--set` arguments."""
    return [part for setting in settings for part in ("--set", setting)]


def make_drawn_run(run: Path, videos: int = 4, faces: int = 4) -> Path:
    """Write `manifest/` and `faces/` of two folds of so many videos of each class, brighter where they are FAKE."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from dfd_ray.config import load_config
    from dfd_ray.faces.crop import encode_jpeg
    from dfd_ray.store.schemas import SCHEMAS
    from dfd_ray.store.tables import with_metadata

    config, random = load_config(None, DRAWN, run=str(run)), np.random.default_rng(0)
    names = ("box", "landmarks", "probability")
    place = ([20.0, 20.0, 60.0, 60.0], [32.0, 36.0, 48.0, 36.0, 40.0, 44.0, 34.0, 52.0, 46.0, 52.0], 1.0)
    rows = []
    for number in range(4 * videos):
        fake, fold = number % 2, number // 2 % 2
        pictures = [random.integers(90 * fake, 90 * fake + 160, (64, 64, 3), dtype=np.uint8) for _ in range(faces)]
        found = [
            {
                "frame_index": i,
                "time": 0.0,
                "face_index": 0,
                "image": encode_jpeg(picture),
                **dict(zip(names, place, strict=True)),
            }
            for i, picture in enumerate(pictures)
        ]
        facts = {"video_id": f"part/{number:02}.mp4", "label": ("REAL", "FAKE")[fake], "group": f"g{number // 2}", "fold": fold}
        rows.append({**facts, "status": "ok", "width": 640, "height": 480, "seconds_spent": 0.0, "faces": found})
    manifest = [{name: row[name] for name in ("video_id", "label", "group", "fold")} | {"uri": "/none"} for row in rows]
    for table, content in (("manifest", manifest), ("faces", rows)):
        (run / table).mkdir(parents=True)
        schema = with_metadata(SCHEMAS[table], table, config)
        for part in range(2):
            pq.write_table(pa.Table.from_pylist(content[part::2], schema=schema), run / table / f"part-{part}.parquet")
    (run / "config.yaml").write_text(config.to_yaml())
    return run


@pytest.fixture(scope="session")
def draw_run() -> Callable[..., Path]:
    """Make a run to train on, of drawn faces: `draw_run(folder, videos=4, faces=4)`."""
    return make_drawn_run


@pytest.fixture(scope="session")
def flags() -> list[str]:
    return as_flags(SETTINGS)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """Put a bucket in memory in the place of every `s3://` URI."""
    from pyarrow.fs import PyFileSystem

    from dfd_ray.store import storage

    made = Bucket()
    monkeypatch.setattr(storage, "open_bucket", lambda name, endpoint: PyFileSystem(made))
    return made


def await_end(processes: list[psutil.Process], patience: float = 60.0) -> list[psutil.Process]:
    """Return the processes that have not ended after so many seconds."""
    until = time.monotonic() + patience
    while processes and time.monotonic() < until:
        time.sleep(0.1)
        processes = [one for one in processes if is_alive(one)]
    return processes


def is_stage(process: psutil.Process) -> bool:
    """Return whether a process is an actor of ours; some of Ray Data's own may hang as they exit, which is theirs to mend."""
    try:
        return any(name in " ".join(process.cmdline()) for name in ("Detect)", "EmbedFaces)", "ScoreFaces)"))
    except psutil.Error:  # it ended as we looked
        return False


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process has not ended; one that has may still wait for its parent to ask how."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="session")
def ray() -> Iterator[None]:
    """Start the one Ray that the suite uses, with its own folder and a fixed size."""
    import ray

    from dfd_ray.runtime.session import HELPER_CPUS, configure_data

    folder = tempfile.mkdtemp(prefix="dfd-ray-", dir="/tmp")  # short: sockets in it may not exceed 107 characters
    ray.init(
        address="local",
        num_cpus=2 + HELPER_CPUS,
        object_store_memory=300 * 2**20,
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=folder,
    )
    configure_data()
    yield
    stages = [process for process in psutil.Process().children(recursive=True) if is_stage(process)]
    ray.shutdown()
    left = await_end(stages)
    shutil.rmtree(folder, ignore_errors=True)
    assert not left, f"these outlived their Ray: {left}"


@pytest.fixture(scope="session")
def demo_corpus() -> Path:
    """Make the whole demo corpus, about a minute, or take the one that the same sources made before."""
    from filelock import FileLock

    from dfd_ray.demo import make_demo_corpus

    sources = [path for room in ("demo", "faces") for path in sorted((PROJECT / "dfd_ray" / room).glob("*.py"))]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / "demo-corpus.lock"):
        for stale in CACHE.glob("demo-corpus-*"):
            if stale.name != f"demo-corpus-{digest}":
                shutil.rmtree(stale)
        return make_demo_corpus(CACHE / f"demo-corpus-{digest}")


@pytest.fixture(scope="session")
def clips_with_faces(demo_corpus: Path) -> list[Path]:
    """Return the clips of the demo corpus that are whole and show a face."""
    methods = json.loads((demo_corpus / ".demo.json").read_text())["methods"]
    return [demo_corpus / name for name, method in sorted(methods.items()) if method in ("real", "face_swap", "self_blend")]


@pytest.fixture(scope="session")
def small_corpus(demo_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the demo corpus with one face swap and one self-blend a REAL clip, and the broken ones."""
    methods = json.loads((demo_corpus / ".demo.json").read_text())["methods"]
    root = tmp_path_factory.mktemp("small") / "corpus"
    for part in sorted(demo_corpus.glob("dfdc_train_part_*")):
        facts = json.loads((part / "metadata.json").read_text())
        kept: dict[str, dict[str, str | None]] = {}
        seen: set[tuple[str | None, str]] = set()
        for name, fact in facts.items():
            method = methods[f"{part.name}/{name}"]
            if method in ("face_swap", "self_blend") and (fact["original"], method) in seen:
                continue
            seen.add((fact["original"], method))
            kept[name] = fact
            (root / part.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(part / name, root / part.name / name)
        (root / part.name / "metadata.json").write_text(json.dumps(kept))
    return root


@pytest.fixture(scope="session")
def finished_run(small_corpus: Path, ray: None, flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the whole pipeline once, by the command line's own function."""
    from dfd_ray.cli import main

    run = tmp_path_factory.mktemp("finished") / "run"
    assert main(["pipeline", "--run", str(run), "--corpus", str(small_corpus), *flags]) == 0
    return run


@pytest.fixture(scope="session")
def preprocessed_run(small_corpus: Path, ray: None, flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run `index` and `preprocess` once, undisturbed."""
    from dfd_ray.cli import main

    run = tmp_path_factory.mktemp("preprocessed") / "run"
    assert main(["index", "--run", str(run), "--corpus", str(small_corpus), *flags]) == 0
    assert main(["preprocess", "--run", str(run)]) == 0
    return run


@pytest.fixture
def indexed(small_corpus: Path, flags: list[str], tmp_path: Path) -> str:
    """Index a run that commits every video by itself, so that there are many commits to be killed between."""
    from dfd_ray.cli import main

    run = str(tmp_path / "run")
    one = ["--set", "resources.videos_per_file=1", "--set", "resources.videos_per_task=1"]
    assert main(["index", "--run", run, "--corpus", str(small_corpus), *flags, *one]) == 0
    return run


@pytest.fixture(scope="session")
def near() -> Callable[[Any, float], Any]:
    """Give what equals rows whose numbers differ by no more than an error.

    A death changes which faces share a batch, and on that a network's last bits depend: of float16 in the table of
    embeddings, of float32 in those of scores.
    """

    def widen(value: Any, error: float) -> Any:
        if isinstance(value, dict):
            return {key: widen(item, error) for key, item in value.items()}
        if isinstance(value, list):
            return [widen(item, error) for item in value]
        return pytest.approx(value, rel=error, abs=error) if isinstance(value, float) else value

    return widen


@pytest.fixture(scope="session")
def real_corpus() -> Path:
    """Find the real clips, which are not part of the project; the test is skipped where they are not."""
    for place in (os.environ.get("DFD_CORPUS"), PROJECT.parent / "shared" / "corpus"):
        if place and Path(place).is_dir():
            return Path(place)
    pytest.skip("the real corpus is not here: set DFD_CORPUS to a folder of DFDC-shaped parts")
