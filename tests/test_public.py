"""What others build on: a name, command or flag that comes or goes does so on purpose, with an entry in the changelog."""

from __future__ import annotations

import argparse
import importlib
import re
from pathlib import Path

import pytest

from dfd_ray.arguments import create_parser
from dfd_ray.config import Config
from dfd_ray.errors import Reason, Status
from dfd_ray.store.schemas import COLUMNS

ROOT = Path(__file__).parents[1]
EXPORTS = {
    "dfd_ray.analysis": "NOISE PCA ClusterResult Leak Moments TsneResult choose_device cluster_hdbscan embed_tsne find_leaks "
    "neighbour_preservation noise_share purity silhouette stability trustworthiness",
    "dfd_ray.demo": "make_demo_corpus",
    "dfd_ray.report": "build_report",
    "dfd_ray.video": "Frame Stream Video choose_frames decode_video walk_packets",
}
DOCUMENTED = """
dfd_ray.video.decode dfd_ray.video.frame dfd_ray.video.sampling
dfd_ray.faces.detector dfd_ray.faces.following dfd_ray.faces.crop
dfd_ray.models.backbones dfd_ray.models.classifier dfd_ray.models.augment
dfd_ray.verdict.aggregation dfd_ray.verdict.calibration dfd_ray.verdict.metrics
dfd_ray.analysis.pca dfd_ray.analysis.tsne dfd_ray.analysis.clusters
dfd_ray.analysis.quality dfd_ray.errors
"""
JOB = "--run --config --set"
COMMANDS = dict.fromkeys(
    ("index", "preprocess", "embed", "analyze", "train", "evaluate", "report", "pipeline", "explore"), f"{JOB} --corpus"
) | {
    "demo": JOB,
    "predict": f"{JOB} --videos --out",
    "retry-errors": f"{JOB} --corpus --reason",
    "export": f"{JOB} --corpus --out --format",
    "plan": "--videos --cpus --gpus --real --cpu-price --gpu-price --measured --config --set",
}
SECTIONS = "corpus run index preprocess embed analyze train evaluate predict report resources"
TABLES = "manifest faces embeddings scores projection predictions"
STATUSES = "ok no_face error in_training"
REASONS = (
    "missing empty unreadable not_a_video no_video_stream no_frames broken_stream cut_short too_large deadline memory crash "
)
REASONS += "outside detector"


def test_the_packages_that_say_what_they_export_are_these() -> None:
    saying = {path.parent for path in (ROOT / "dfd_ray").rglob("__init__.py") if "__all__" in path.read_text(encoding="utf-8")}
    assert {".".join(path.relative_to(ROOT).parts) for path in saying} == set(EXPORTS)


@pytest.mark.parametrize("package", EXPORTS)
def test_a_package_exports_these_names(package: str) -> None:
    module = importlib.import_module(package)
    assert sorted(module.__all__) == sorted(EXPORTS[package].split())
    assert all(hasattr(module, name) for name in module.__all__)


def test_the_documented_modules_are_these_and_can_be_imported() -> None:
    page = (ROOT / "docs/reference/api.md").read_text(encoding="utf-8")
    assert re.findall(r"^::: (\S+)$", page, re.MULTILINE) == DOCUMENTED.split()
    for name in DOCUMENTED.split():
        importlib.import_module(name)


def test_the_commands_and_their_flags_are_these() -> None:
    [jobs] = [action for action in create_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    found = {
        name: {flag for action in job._actions for flag in action.option_strings} - {"-h", "--help"}
        for name, job in jobs.choices.items()
    }
    flags = {flag for action in create_parser()._actions for flag in action.option_strings}
    assert flags == {"-h", "--help", "--version", "--print-completion"}
    assert found == {name: set(flags.split()) for name, flags in COMMANDS.items()}


def test_the_sections_tables_statuses_and_reasons_are_these() -> None:
    assert set(Config.model_fields) == set(SECTIONS.split())
    assert set(COLUMNS) == set(TABLES.split())
    assert {status.value for status in Status} == set(STATUSES.split())
    assert {reason.value for reason in Reason} == set(REASONS.split())
