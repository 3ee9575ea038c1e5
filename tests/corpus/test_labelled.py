"""Labels of new videos: read, told where they cannot be right, and not counted where the run has learnt from the videos."""

from __future__ import annotations

from pathlib import Path

from dfd_ray.config import load_config
from dfd_ray.corpus.labelled import describe_learnt, find_learnt, read_labelled
from dfd_ray.corpus.manifest import build_manifest, write_manifest
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.tables import with_metadata


def fill(folder: Path, **content: str) -> Path:
    for name, text in content.items():
        path = folder / name.replace("__", "/").replace("_mp4", ".mp4").replace("_csv", ".csv")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_labels_groups_and_methods_are_read_from_a_table(tmp_path: Path) -> None:
    table = "filename,label,original,method\na.mp4,0,,\nb.mp4,1,a.mp4,swap\nc.mp4,,,\ngone.mp4,1,,"
    folder = fill(tmp_path, a_mp4="1", b_mp4="2", c_mp4="3", d_mp4="4", labels_csv=table)
    labelled, notes = read_labelled(str(folder))
    assert labelled is not None
    assert labelled.label == {"a.mp4": "REAL", "b.mp4": "FAKE"}
    assert labelled.group["a.mp4"] == labelled.group["b.mp4"] != labelled.group["c.mp4"]
    assert labelled.method["b.mp4"] == "swap"
    assert notes == []


def test_labels_are_read_from_class_folders_and_data_sets(tmp_path: Path) -> None:
    folders, _ = read_labelled(str(fill(tmp_path / "one", real__a_mp4="1", fake__b_mp4="2")))
    celebrities = fill(tmp_path / "two")
    for name in ("Celeb-real/id0_0001.mp4", "Celeb-synthesis/id0_id1_0001.mp4"):
        (celebrities / name).parent.mkdir(parents=True)
        (celebrities / name).write_text(name)
    data_set, _ = read_labelled(str(celebrities))
    assert folders is not None and data_set is not None
    assert folders.label == {"fake/b.mp4": "FAKE", "real/a.mp4": "REAL"}
    assert sorted(data_set.label.values()) == ["FAKE", "REAL"]
    assert data_set.layout.startswith("Celeb-DF")


def test_a_folder_or_file_without_labels_has_none(tmp_path: Path) -> None:
    folder = fill(tmp_path, a_mp4="1")
    assert read_labelled(str(folder)) == (None, [])
    assert read_labelled(str(folder / "a.mp4")) == (None, [])


def test_labels_that_cannot_be_right_are_told_and_cost_nothing(tmp_path: Path) -> None:
    folder = fill(tmp_path, a_mp4="1", labels_csv="filename,label\na.mp4,REAL\na.mp4,FAKE")
    labelled, [note] = read_labelled(str(folder))
    assert labelled is None
    assert note.startswith("labels are not read: ") and "which label is right?" in note


def test_copies_of_what_a_run_learnt_from_and_their_groups_do_not_count(tmp_path: Path) -> None:
    own = fill(tmp_path / "own", x_mp4="learnt", y_mp4="others")
    run = Run(str(tmp_path / "run"), load_config(None, corpus=str(own)))
    manifest, _ = build_manifest(str(own), run.config)
    write_manifest(run.location, manifest.cast(with_metadata(SCHEMAS["manifest"], "manifest", run.config, corpus=str(own))))
    table = "filename,label,original\na.mp4,REAL,\nb.mp4,FAKE,a.mp4\nc.mp4,REAL,\nd.mp4,FAKE,c.mp4"
    new = fill(tmp_path / "new", a_mp4="learnt", b_mp4="fake 1", c_mp4="LEARNT", d_mp4="fake 2", labels_csv=table)
    labelled, _ = read_labelled(str(new))
    assert labelled is not None
    learnt = find_learnt(run, str(new), labelled)
    assert learnt == ["a.mp4"]
    judged = labelled.leave_out(set(learnt))
    assert judged.label == {"c.mp4": "REAL", "d.mp4": "FAKE"}
    [note] = describe_learnt(learnt, labelled, judged)
    assert note == (
        "1 video of the training corpus found again, such as 'a.mp4': 2 of 4 labelled videos do not count, these and others "
        "of their groups"
    )
    assert describe_learnt([], labelled, labelled) == []
    assert find_learnt(Run(str(tmp_path / "none"), run.config), str(new), labelled) == []
