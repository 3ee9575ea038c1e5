"""What `index` says of a corpus that is not as it was when it was indexed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dfd_ray.cli import main
from dfd_ray.config import load_config
from dfd_ray.corpus import changes
from dfd_ray.corpus.changes import digest_groups
from dfd_ray.pipelines import retry_errors
from dfd_ray.runtime import resumable_table
from dfd_ray.runtime.resumable_table import is_complete
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.tables import METADATA_KEY, with_metadata


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Index a corpus with further videos and a file of people; the same command then does nothing."""
    part = tmp_path / "corpus" / "part"
    part.mkdir(parents=True)
    (tmp_path / "more").mkdir()
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        (part / name).write_text(name)
    (part / "c.mp4").write_text("")
    (tmp_path / "more" / "x.mp4").write_text("x")
    write_labels(tmp_path)
    write_people(tmp_path, 1.0)
    settings = [f"index.extra_real={tmp_path / 'more'}", f"index.people={tmp_path / 'people.parquet'}", "index.same_person=0.8"]
    flags = [part for setting in settings for part in ("--set", setting)]
    command = ["index", "--run", str(tmp_path / "run"), "--corpus", str(tmp_path / "corpus"), *flags]
    assert main(command) == 0
    capsys.readouterr()
    assert main(command) == 0
    assert "already complete; nothing done" in capsys.readouterr().out
    return command


def write_labels(folder: Path, label: str = "FAKE", original: str = "a.mp4", method: str = "swap", group: str = "g") -> None:
    rows = [f"a.mp4,REAL,,,{group}", f"b.mp4,{label},{original},{method},", "c.mp4,REAL,,,h"]
    (folder / "corpus" / "part" / "labels.csv").write_text("\n".join(["filename,label,original,method,group", *rows]))


def write_people(folder: Path, value: float) -> None:
    pq.write_table(pa.table({"video_id": ["part/a.mp4"], "vector": [[value, 0.5]]}), folder / "people.parquet")


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "label": (
        lambda at: write_labels(at, label="REAL"),
        "the labels of 1 of 3 videos differ, such as part/b.mp4: REAL, was FAKE",
    ),
    "original": (lambda at: write_labels(at, original="c.mp4"), "the originals of 1 of 3 videos differ, such as part/b.mp4"),
    "method": (lambda at: write_labels(at, method="blend"), "the methods of 1 of 3 videos differ"),
    "group": (lambda at: write_labels(at, group="other"), "its labels name other groups"),
    "size": (lambda at: (at / "corpus/part/a.mp4").write_text("longer"), "part/a.mp4: 6, was 5; delete"),
    "further": (lambda at: (at / "more/y.mp4").write_text("y"), "index.extra_real holds other videos"),
    "people": (lambda at: write_people(at, 2.0), "index.people holds other vectors"),
}


def test_videos_that_were_deleted_to_save_space_are_a_note(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "corpus/part/a.mp4").unlink()
    assert main(command) == 0
    assert "1 of 3 videos are listed and not there, such as 'part/a.mp4'" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "more")
    assert main(command) == 0
    assert "more is not there, so whether it has changed is not known" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("change", CHANGES)
def test_index_says_what_has_changed_in_one_line(
    command: list[str], tmp_path: Path, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    do, said = CHANGES[change]
    do(tmp_path)
    assert main(command) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error
    assert f"delete {tmp_path / 'run' / 'manifest'} and run `dfd-ray index` again" in error
    shutil.rmtree(tmp_path / "run" / "manifest")
    assert main([*command, "--set", "index.missing_files=keep"]) == 0, "that mends it"


def test_a_new_video_and_one_that_is_gone_are_named(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "corpus" / "part" / "labels.csv"
    (labels.parent / "d.mp4").write_text("d")
    labels.write_text(labels.read_text() + "\nd.mp4,REAL,,,")
    assert main(command) == 2
    assert "1 of 4 videos are new, such as part/d.mp4" in capsys.readouterr().err
    labels.write_text("filename,label\na.mp4,REAL\nb.mp4,FAKE")
    assert main(command) == 2
    assert "1 of 3 videos are gone, such as part/c.mp4" in capsys.readouterr().err


def test_labels_that_are_only_written_otherwise_are_no_change(command: list[str], tmp_path: Path) -> None:
    labels = tmp_path / "corpus" / "part" / "labels.csv"
    header, *rows = labels.read_text().splitlines()
    labels.write_text("\n".join([header.upper(), *reversed(rows)]) + "\n\n")
    assert main(command) == 0


def test_a_new_video_that_no_table_names_is_told(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "corpus" / "part" / "d.mp4").write_text("d")
    assert main(command) == 0
    assert "left out: 1 video that no table names, such as 'part/d.mp4'" in " ".join(capsys.readouterr().out.split())


WRITTEN_OTHERWISE = {
    "original": ["a.mp4;c.mp4", "c.mp4;a.mp4"],
    "absent original": ["gone/z.mp4;a.mp4", "a.mp4;.\\gone//Z.MP4"],
    "person": ["x;y", "y;x"],
    "group": ["x;y", "y;x"],
}


def write_corpus(folder: Path, column: str, cell: str) -> list[str]:
    """Write three videos, of which a table says something of one; return the command that indexes them."""
    (folder / "corpus").mkdir(exist_ok=True)
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        (folder / "corpus" / name).write_text(name)
    (folder / "corpus" / "labels.csv").write_text(f"filename,label,{column}\na.mp4,0,\nb.mp4,1,{cell}\nc.mp4,0,\n")
    return ["index", "--run", str(folder / "run"), "--corpus", str(folder / "corpus")]


@pytest.mark.parametrize("case", WRITTEN_OTHERWISE)
def test_names_in_another_order_or_spelling_are_no_change(
    tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    column, (one, other) = case.removeprefix("absent "), WRITTEN_OTHERWISE[case]
    assert main(write_corpus(tmp_path, column, one)) == 0
    assert main(write_corpus(tmp_path, column, other)) == 0
    assert "nothing done" in capsys.readouterr().out
    assert main(write_corpus(tmp_path, column, "q")) == 2


def test_groups_of_a_manifest_of_an_older_version_are_compared_as_they_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = write_corpus(tmp_path, "group", "y;x")
    with monkeypatch.context() as patch:
        patch.setattr(changes, "digest_groups", lambda entries: digest_groups(entries, as_written=True))
        assert main(command) == 0
    assert main(command) == 0
    assert main(write_corpus(tmp_path, "group", "y;z")) == 2


def test_a_corpus_that_is_not_there_any_more_is_told(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(tmp_path / "corpus")
    assert main(command) == 0
    assert "is not there, so whether it has changed is not known" in capsys.readouterr().out


def test_a_manifest_of_an_older_version_is_not_compared(command: list[str], tmp_path: Path) -> None:
    path = tmp_path / "run" / "manifest" / "part-0.parquet"
    rows = pq.read_table(path)
    stored = json.loads(rows.schema.metadata[METADATA_KEY])
    del stored["made_from"]
    pq.write_table(rows.replace_schema_metadata({METADATA_KEY: json.dumps(stored)}), path)
    write_labels(tmp_path, label="REAL")
    assert main(command) == 0


def test_a_file_that_was_mended_is_for_retry_errors_and_then_the_corpus_is_as_the_manifest_says(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(str(tmp_path / "run"), load_config(tmp_path / "run" / "config.yaml"))
    rows = pq.read_table(run.path("manifest", "part-0.parquet"), columns=["video_id", "label", "group", "fold"]).to_pylist()
    rows = [{**row, "faces": [], "status": "error" if row["video_id"] == "part/c.mp4" else "no_face"} for row in rows]
    stored = with_metadata(SCHEMAS["faces"], "faces", run.config, made_from=resumable_table.digest_sources(run, "faces"))
    Path(run.path("faces")).mkdir()
    pq.write_table(pa.Table.from_pylist(rows, schema=stored), run.path("faces", "part-0.parquet"))
    (tmp_path / "corpus" / "part" / "c.mp4").write_text("mended")
    assert main(command) == 2
    assert "part/c.mp4: 6, was 0; run `dfd-ray retry-errors` to read those videos again" in capsys.readouterr().err
    retry_errors.note_sizes(run, {"part/c.mp4"})  # as that job does
    assert main(command) == 0
    assert is_complete(run, "faces")
    (tmp_path / "corpus" / "part" / "a.mp4").write_text("another")
    assert main(command) == 2
    assert "part/a.mp4: 7, was 5; delete" in capsys.readouterr().err
