"""What is kept of the benchmarks, and the page that is made of it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from benchmarks.machine import RESULTS, describe_machine, name_machine
from benchmarks.page import NOTES, PAGE, SECTIONS, format_ratio, make_page

KEPT = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*-cores.json"))]


def test_the_page_is_what_the_results_make() -> None:
    assert PAGE.read_text(encoding="utf-8") == make_page(KEPT), "run `python -m benchmarks.page`"


def test_every_result_is_of_a_benchmark_and_says_how_and_where_it_was_made() -> None:
    assert KEPT
    for path, results in zip(sorted(RESULTS.glob("*-cores.json")), KEPT, strict=True):
        for name, result in results.items():
            assert name in SECTIONS
            assert result["command"].startswith(f"python -m benchmarks.{name}")
            assert f"{name_machine(result['machine'])}.json" == path.name


@pytest.mark.parametrize("name", SECTIONS)
def test_every_section_has_its_benchmark(name: str) -> None:
    assert importlib.util.find_spec(f"benchmarks.{name}")


@pytest.mark.parametrize("path", sorted(NOTES.iterdir()), ids=lambda path: path.name)
def test_every_note_is_on_the_page(path: Path) -> None:
    assert path.stem in {*SECTIONS, "start", "end"}
    assert path.read_text(encoding="utf-8").strip() in PAGE.read_text(encoding="utf-8")


def test_a_ratio_says_how_many_times_better_ours_is() -> None:
    assert format_ratio(2.0, 10.0, less_is_better=True) == "5"
    assert format_ratio(10.0, 2.0) == "5"


def test_this_machine_has_a_name_that_a_file_can_have() -> None:
    assert name_machine(describe_machine()).replace("-", "").isalnum()
