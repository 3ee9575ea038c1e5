"""export: the faces in a form that other tools read.

faces ──flatten──▶ an image folder, WebDataset shards, or one flat Parquet file
"""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq

from dfd_ray.errors import ConfigurationError, RunError
from dfd_ray.labels import LABELS
from dfd_ray.runtime.resumable_table import require
from dfd_ray.store.run import Run
from dfd_ray.store.storage import absolute_uri, delete_file, delete_folder, exists, join, write_bytes, write_whole
from dfd_ray.store.summary import Summary, time_job
from dfd_ray.store.tables import flatten_faces, iterate_batches

FORMATS = ("folder", "webdataset", "parquet")
VIDEO_COLUMNS = ["video_id", "label", "group", "fold"]
FACES_PER_SHARD = 5_000
"""Faces of a WebDataset shard: about 100 MB."""


@time_job
def export(run: Run, out: str, form: str) -> Summary:
    """Write every face to `out` in one of `FORMATS`; RunError if `out` exists. Leaves nothing there when it fails."""
    check_target(out, form)
    require(run, "faces")
    write = {"folder": write_folder, "webdataset": write_webdataset, "parquet": write_parquet}[form]
    try:
        faces = write(run, out)
    except BaseException:  # part of an export looks like a whole one
        delete_folder(out)
        delete_file(out)
        raise
    return Summary("export", absolute_uri(out), rows=faces, ok=faces, details={"format": form})


def check_target(out: str, form: str) -> None:
    """Raise ConfigurationError for an unknown form, RunError if `out` exists: before hours of work, not after."""
    if form not in FORMATS:
        raise ConfigurationError(f"--format {form}: expected {', '.join(FORMATS)}")
    if exists(out):
        raise RunError(f"--out {out} is there already")


def write_folder(run: Run, out: str) -> int:
    """Write `<out>/<label>/<video>_<frame>_<face>.jpg`, as torchvision's ImageFolder reads it."""
    count = 0
    for face in iterate_faces(run):
        label = face["label"] or "unlabelled"
        if label not in (*LABELS, "unlabelled"):  # it names a folder, and a label made by others could lead out of `out`
            raise RunError(f"{run.path('faces')}: a video has the label {label!r}; expected REAL or FAKE")
        write_bytes(join(out, label, f"{name_face(face)}.jpg"), face["image"])
        count += 1
    return count


def write_webdataset(run: Run, out: str) -> int:
    """Write `<out>/faces-NNNNNN.tar`: for each face a `.jpg`, and a `.json` of its other columns."""
    faces, count = iterate_faces(run), 0
    while batch := list(itertools.islice(faces, FACES_PER_SHARD)):
        write_bytes(join(out, f"faces-{count // FACES_PER_SHARD:06d}.tar"), pack_tar(batch))
        count += len(batch)
    return count


def pack_tar(faces: list[dict[str, Any]]) -> bytes:
    """Return a tar archive of faces."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for face in faces:
            facts = {key: value for key, value in face.items() if key != "image"}
            for suffix, data in [("jpg", face["image"]), ("json", json.dumps(facts).encode())]:
                info = tarfile.TarInfo(f"{name_face(face)}.{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def write_parquet(run: Run, out: str) -> int:
    """Write one Parquet file with a row per face; it gets its name only when it is whole."""
    count, writer = 0, None
    with write_whole(out) as sink:
        try:
            for batch in iterate_batches(run.location, "faces"):
                faces = flatten_faces(batch, VIDEO_COLUMNS).replace_schema_metadata(None)
                writer = writer or pq.ParquetWriter(sink, faces.schema, compression="zstd")
                writer.write_table(faces)
                count += len(faces)
            if writer:
                writer.close()
        except BaseException:
            if writer:
                writer.is_open = False  # or it would write its footer as it is destroyed, to a file that is closed by then
            raise
    return count


def iterate_faces(run: Run) -> Iterator[dict[str, Any]]:
    """Yield every face with its video's columns."""
    for batch in iterate_batches(run.location, "faces"):
        yield from flatten_faces(batch, VIDEO_COLUMNS).to_pylist()


def name_face(face: dict[str, Any]) -> str:
    """Return a file name, unique among all faces, without a folder or a dot in it."""
    video = face["video_id"].replace("%", "%25").replace("/", "%2F").replace(".", "%2E")
    return f"{video}_{face['frame_index']:06d}_{face['face_index']}"
