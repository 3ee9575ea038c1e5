"""What the tests share: one Ray, one demo corpus, one finished run; each is made when first asked for."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent

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
    "train.epochs=2",
    "train.batch_size=8",
    "evaluate.bootstrap=50",
    "resources.videos_per_task=2",
    "resources.videos_per_file=4",
]
"""A run of seconds: few frames, a tiny network without weights."""


def as_flags(settings: list[str]) -> list[str]:
    """Return settings as `--set` arguments."""
    return [part for setting in settings for part in ("--set", setting)]


@pytest.fixture(scope="session")
def flags() -> list[str]:
    return as_flags(SETTINGS)


@pytest.fixture(scope="session")
def ray() -> Iterator[None]:
    """Start the one Ray that the suite uses, with its own folder and a fixed size."""
    import ray

    from dfd_ray.pipelines.cluster import HELPER_CPUS, configure_data

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
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def demo_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the whole demo corpus, about a minute; DFD_DEMO_CORPUS may name one that is made already."""
    from dfd_ray.demo import make_demo_corpus

    if made := os.environ.get("DFD_DEMO_CORPUS"):
        return make_demo_corpus(Path(made))
    return make_demo_corpus(tmp_path_factory.mktemp("demo") / "demo-corpus")


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


@pytest.fixture(scope="session")
def real_corpus() -> Path:
    """Find the real clips, which are not part of the project; the test is skipped where they are not."""
    for place in (os.environ.get("DFD_CORPUS"), PROJECT.parent / "shared" / "corpus"):
        if place and Path(place).is_dir():
            return Path(place)
    pytest.skip("the real corpus is not here: set DFD_CORPUS to a folder of DFDC-shaped parts")
