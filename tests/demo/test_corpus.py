"""What the corpus is good for (faces found, fakes faked), and that making it is repeatable and safe."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from dfd_ray.arrays import Image
from dfd_ray.demo import clips, make_demo_corpus
from dfd_ray.demo.clip_plan import BROKEN, PARTS, REALS, plan_clips
from dfd_ray.demo.clips import Shot, make_clip, write_clip
from dfd_ray.demo.fakes import blend_pyramids, draw_face_mask, find_window, self_blend, swap_face
from dfd_ray.demo.folder import MARKER
from dfd_ray.demo.footage import Person, load_people

LOOKED_AT = (0, 25, 50)
"""Frames of each clip in which a face is looked for."""


@pytest.fixture(scope="module")
def marker(demo_corpus: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((demo_corpus / MARKER).read_text())
    return found


@pytest.fixture(scope="module")
def people() -> list[Person]:
    return load_people()


def some_frames(path: Path, wanted: tuple[int, ...]) -> list[Image]:
    with av.open(str(path)) as container:
        decoded = islice(container.decode(video=0), max(wanted) + 1)
        return [frame.to_ndarray(format="rgb24") for i, frame in enumerate(decoded) if i in wanted]


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_marker_names_the_broken_clips(marker: dict[str, Any]) -> None:
    assert {marker[method]: method for method in BROKEN} == {
        path: method for path, method in marker["methods"].items() if method in BROKEN
    }


def test_every_person_has_several_real_clips_and_every_part_both_labels() -> None:
    assert min(Counter(person for person, _ in REALS).values()) >= 2
    assert {(clip.part, clip.label) for clip in plan_clips(0)} == {
        (part, label) for part in range(PARTS) for label in ("REAL", "FAKE")
    }


def test_names_are_unique_and_like_dfdcs() -> None:
    names = [clip.name for clip in plan_clips(0)]
    assert len(set(names)) == len(names)
    assert all(len(name) == 14 and name[:10].isalpha() and name.islower() for name in names)


def test_faces_are_found_in_every_clip_but_one(demo_corpus: Path, marker: dict[str, Any]) -> None:
    from dfd_ray.faces.detector import FaceDetector

    detector = FaceDetector(smallest_face=1 / 8)
    found: dict[str, list[bool]] = {}
    for path, method in marker["methods"].items():
        if method not in ("truncated", "empty"):
            faces = detector.detect(some_frames(demo_corpus / path, LOOKED_AT))
            found[path] = [len(one.boxes) > 0 and one.probabilities[0] > 0.9 for one in faces]
            widths = [one.boxes[0, 2] - one.boxes[0, 0] for one in faces if len(one.boxes)]
            assert min(widths, default=60) >= 60, path
    assert not any(found.pop(marker["no_face"]))
    assert all(any(seen) for seen in found.values())
    assert np.mean(list(found.values())) >= 0.9


def test_clips_have_b_frames(demo_corpus: Path, marker: dict[str, Any]) -> None:
    path = next(path for path, method in marker["methods"].items() if method == "real")
    with av.open(str(demo_corpus / path)) as container:
        kinds = {int(frame.pict_type) for frame in container.decode(video=0)}
    assert kinds == {1, 2, 3}  # I, P and B


def test_every_fake_differs_in_the_face_and_only_there(demo_corpus: Path, marker: dict[str, Any]) -> None:
    from dfd_ray.faces.detector import FaceDetector

    detector = FaceDetector(smallest_face=1 / 8)
    real_paths = [path for path, method in marker["methods"].items() if method == "real"]
    reals = {path: some_frames(demo_corpus / path, (10,))[0] for path in real_paths}
    boxes = {path: detector.detect([real])[0].boxes[0].astype(int) for path, real in reals.items()}
    for clip in plan_clips(0):
        if clip.method in ("face_swap", "self_blend"):
            original = f"dfdc_train_part_{clip.part}/{clip.original}"
            fake = some_frames(demo_corpus / clip.path, (10,))[0]
            difference = np.abs(fake.astype(int) - reals[original]).mean(axis=2)
            x1, y1, x2, y2 = boxes[original]
            reach = (x2 - x1) // 2
            outside = np.ones(difference.shape, bool)
            outside[max(0, y1 - reach) : y2 + reach, max(0, x1 - reach) : x2 + reach] = False
            face = difference[max(0, y1) : y2, max(0, x1) : x2].mean()
            assert face > 1.5 * difference[outside].mean(), clip
            assert difference[outside].mean() < 4, clip


@pytest.mark.parametrize("method", ["real", "face_swap", "self_blend"])
def test_the_same_clip_has_the_same_bytes(method: str, people: list[Person], tmp_path: Path) -> None:
    clip = next(clip for clip in plan_clips(3) if clip.method == method)
    for name in ("once.mp4", "twice.mp4"):
        make_clip(tmp_path / name, clip, people, seed=3)
    assert (tmp_path / "once.mp4").read_bytes() == (tmp_path / "twice.mp4").read_bytes()


@pytest.mark.parametrize(("width", "height"), [(360, 640), (640, 360)])
def test_the_same_pictures_have_the_same_bytes_at_every_width(width: int, height: int, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    texture = random.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    pictures = [np.roll(texture, (3 * number, 5 * number), axis=(0, 1)) for number in range(50)]  # x264 looks 40 ahead
    shot = Shot(width, height, 25, len(pictures), 100.0, 23, seed=0)
    for number in range(4):
        write_clip(tmp_path / f"{number}.mp4", pictures, shot)
        hoard = [np.full(2**18, number, np.uint8) for _ in range(20)]  # so that memory is not as it was
        del hoard
    assert len({(tmp_path / f"{number}.mp4").read_bytes() for number in range(4)}) == 1


def test_manipulations_leave_what_is_far_from_the_face_alone(people: list[Person]) -> None:
    astronaut, hopper = people[:2]
    picture, landmarks = astronaut.take_frame(0)
    for fake in (
        swap_face(picture, landmarks, *hopper.take_frame(0)),
        self_blend(picture, landmarks, np.random.default_rng(0)),
    ):
        changed = (fake != picture).any(axis=2)
        assert changed.any()
        changed[find_window(landmarks, picture)] = False
        assert not changed.any()


def test_blending_by_pyramids_gives_each_side_where_the_weight_is_whole() -> None:
    random = np.random.default_rng(0)
    front, back = (random.integers(0, 255, (67, 45, 3)).astype(np.uint8) for _ in range(2))
    for weight, expected in ((0, back), (1, front)):
        blended = blend_pyramids(front, back, np.full((67, 45), weight, np.float32))
        np.testing.assert_allclose(blended.astype(int), expected, atol=1)


def test_a_mask_can_be_deformed(people: list[Person]) -> None:
    _, landmarks = people[0].take_frame(0)
    bend: npt.NDArray[np.float64] = np.array([[0.0, 0.0], [0.2, 0.0]])
    assert (draw_face_mask(landmarks, 512, 512) != draw_face_mask(landmarks, 512, 512, deform=bend)).any()


def test_a_folder_that_is_no_demo_corpus_is_refused_and_left_alone(tmp_path: Path) -> None:
    root = tmp_path / "mine"
    root.mkdir()
    (root / "thesis.txt").write_text("all of it")
    with pytest.raises(FileExistsError, match="no demo corpus"):
        make_demo_corpus(root)
    assert contents(tmp_path) == {"mine/thesis.txt": b"all of it"}


def test_a_failure_half_way_leaves_things_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    root = tmp_path / "corpus"
    root.mkdir()
    (root / MARKER).write_text(json.dumps({"version": 0, "seed": 0}))
    monkeypatch.setattr(clips, "make_clip", fail)
    monkeypatch.setattr("dfd_ray.demo.footage.load_people", list)
    with pytest.raises(OSError, match="no space"):
        make_demo_corpus(root)
    assert contents(tmp_path) == {f"corpus/{MARKER}": (root / MARKER).read_bytes()}
    with pytest.raises(OSError, match="no space"):
        make_demo_corpus(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_another_seed_or_version_replaces_the_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "make_clip", lambda path, *_: path.touch())
    monkeypatch.setattr("dfd_ray.demo.footage.load_people", list)
    root, calls = tmp_path / "new" / "corpus", []
    make_demo_corpus(root, seed=1, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 38) for done in range(1, 39)]
    first = contents(root)
    make_demo_corpus(root, seed=2)
    assert json.loads((root / MARKER).read_text())["seed"] == 2
    assert set(contents(root)).isdisjoint(path for path in first if path.endswith(".mp4"))
    assert [path.name for path in root.parent.iterdir()] == ["corpus"]


def test_importing_the_package_is_light() -> None:
    heavy = "{'torch', 'cv2', 'av', 'ray', 'facenet_pytorch'}"
    code = f"import sys, dfd_ray.demo; sys.exit(' '.join({heavy} & set(sys.modules)) or 0)"
    subprocess.run([sys.executable, "-c", code], check=True)
