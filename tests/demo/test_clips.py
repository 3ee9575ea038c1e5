from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
import numpy.typing as npt
import pytest

from dfd_ray.demo import make_demo_corpus
from dfd_ray.demo.clip_plan import REALS, SIZES, plan_clips
from dfd_ray.demo.fakes import draw_face_mask, match_colours


@pytest.fixture(scope="module")
def facts(demo_corpus: Path) -> dict[str, dict[str, Any]]:
    """The metadata of all parts, by path."""
    return {
        f"{part.parent.name}/{name}": fact
        for part in sorted(demo_corpus.glob("*/metadata.json"))
        for name, fact in json.loads(part.read_text()).items()
    }


@pytest.fixture(scope="module")
def methods(demo_corpus: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((demo_corpus / ".demo.json").read_text())["methods"]
    return found


def pictures(path: Path) -> npt.NDArray[np.uint8]:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_it_is_laid_out_as_dfdc_is_and_tells_how_fakes_were_made(
    demo_corpus: Path, facts: dict[str, dict[str, Any]], methods: dict[str, str]
) -> None:
    assert len({path.split("/")[0] for path in facts}) == 2
    assert set(facts) == {str(path.relative_to(demo_corpus)) for path in demo_corpus.glob("*/*.mp4")}
    for path, fact in facts.items():
        assert set(fact) == {"label", "split", "original", "method"}
        assert fact["method"] == (methods[path] if methods[path] in ("face_swap", "self_blend") else None)
        if fact["label"] == "FAKE":
            source = facts[f"{path.split('/')[0]}/{fact['original']}"]
            assert (source["label"], source["original"]) == ("REAL", None)


def test_it_has_the_clips_that_it_promises(facts: dict[str, dict[str, Any]], methods: dict[str, str]) -> None:
    assert Counter(methods.values()) == {
        "real": 7, "face_swap": 14, "self_blend": 14, "no_face": 1, "truncated": 1, "empty": 1,
    }  # fmt: skip
    assert set(methods) == set(facts)
    assert len({person for person, _ in REALS}) == 3


def test_good_clips_are_h264_of_several_sizes_and_two_to_four_seconds(demo_corpus: Path, methods: dict[str, str]) -> None:
    sizes = set()
    for path, method in methods.items():
        if method in ("truncated", "empty"):
            continue
        with av.open(str(demo_corpus / path)) as container:
            stream = container.streams.video[0]
            assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
            assert 2 <= stream.frames / float(stream.average_rate) <= 4
            sizes.add((stream.width, stream.height))
    assert sizes == set(SIZES)
    assert {width > height for width, height in sizes} == {True, False}


def test_the_broken_ones_are_broken(demo_corpus: Path, methods: dict[str, str]) -> None:
    broken = {method: demo_corpus / path for path, method in methods.items()}
    assert broken["empty"].stat().st_size == 0
    assert broken["truncated"].stat().st_size > 10_000
    with pytest.raises(av.error.InvalidDataError):
        av.open(str(broken["truncated"]))


def test_fakes_differ_from_their_original_in_the_face_and_only_there(
    demo_corpus: Path, facts: dict[str, dict[str, Any]], methods: dict[str, str]
) -> None:
    from dfd_ray.faces.detector import FaceDetector

    detector = FaceDetector()
    for method in ("face_swap", "self_blend"):
        path = next(path for path, made in methods.items() if made == method)
        original = f"{path.split('/')[0]}/{facts[path]['original']}"
        real, fake = (pictures(demo_corpus / one)[20].astype(int) for one in (original, path))
        x1, y1, x2, y2 = detector.detect([real.astype(np.uint8)])[0].boxes[0].astype(int)
        inside = np.zeros(real.shape[:2], bool)
        inside[y1:y2, x1:x2] = True
        outside = ~inside
        outside[y1 - 40 : y2 + 40, x1 - 40 : x2 + 40] = False
        difference = np.abs(real - fake).mean(axis=2)
        assert difference[inside].mean() > 3 * difference[outside].mean(), method
        assert difference[outside].mean() < 4, method


def test_the_plan_is_the_same_for_the_same_seed() -> None:
    assert plan_clips(1) == plan_clips(1)
    assert plan_clips(1) != plan_clips(2)


def test_a_corpus_that_is_there_is_left_alone(demo_corpus: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in demo_corpus.rglob("*")}
    assert make_demo_corpus(demo_corpus, progress=lambda done, total: pytest.fail("made again")) == demo_corpus
    assert {path: path.stat().st_mtime_ns for path in demo_corpus.rglob("*")} == before


def test_colours_are_matched_inside_the_mask() -> None:
    random = np.random.default_rng(0)
    source = random.integers(20, 90, (40, 40, 3)).astype(np.uint8)
    target = random.integers(120, 200, (40, 40, 3)).astype(np.uint8)
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 10:30] = 255
    matched = match_colours(source, target, mask)[mask > 0]
    np.testing.assert_allclose(matched.mean(axis=0), target[mask > 0].mean(axis=0), atol=3)


def test_the_mask_holds_the_landmarks_and_leaves_the_border_free() -> None:
    landmarks = np.array([[40, 40], [70, 42], [55, 58], [44, 74], [68, 75]], np.float32)
    mask = draw_face_mask(landmarks, 120, 110)
    assert all(mask[round(float(y)), round(float(x))] == 255 for x, y in landmarks)
    assert not mask[:2].any()
    assert not mask[:, -2:].any()
