"""The columns of every table, each with its type and meaning, and the Arrow schemas made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa


class Column(NamedTuple):
    """A column of a table, or a field of the structs in one."""

    name: str
    type: pa.DataType
    meaning: str
    nullable: bool = True

    @property
    def field(self) -> pa.Field:
        """The Arrow field."""
        return pa.field(self.name, self.type, nullable=self.nullable)


def struct_of(columns: Sequence[Column]) -> pa.DataType:
    """Return the Arrow type of a struct with these fields."""
    return pa.struct([column.field for column in columns])


VIDEO_ID = Column("video_id", pa.string(), "path of the video relative to the corpus, unique across parts", False)
LABEL = Column("label", pa.string(), "REAL, FAKE or null")
GROUP = Column(
    "group",
    pa.string(),
    "of videos linked by an original, a person, a group that the corpus names, or the same bytes; named by the first of them",
)
FOLD = Column("fold", pa.int32(), "null for a video without a label, -1 for one that every model trains on")
STATUS = Column("status", pa.string(), "outcome for the video, see below", False)
ERROR_STAGE = Column("error_stage", pa.string(), "stage that failed, see below; null unless `status` is error")
ERROR = Column("error", pa.string(), "reason (see below), a colon, and the message of the decoder or the file system")
FRAMES_WANTED = Column("frames_wanted", pa.int32(), "frames to sample; all that the file promises where these are fewer")
FRAMES_DECODED = Column("frames_decoded", pa.int32(), "frames that could be read; fewer than wanted where the video breaks off")
FRAME_INDEX = Column("frame_index", pa.int64(), "position in display order among all frames of the stream, from 0")
FACE_INDEX = Column("face_index", pa.int32(), "position within the frame, from 0, the most probable face first")

FACE = [
    FRAME_INDEX,
    Column("time", pa.float64(), "presentation time in seconds"),
    FACE_INDEX,
    Column("box", pa.list_(pa.float32(), 4), "x1, y1, x2, y2 in pixels of the upright frame"),
    Column("landmarks", pa.list_(pa.float32(), 10), "five x, y pairs in the same pixels: eyes, nose, corners of the mouth"),
    Column("probability", pa.float32(), "the detector's probability that this is a face"),
    Column("image", pa.binary(), "the crop, JPEG"),
]


def embedding_face(dimensions: int) -> list[Column]:
    """Return the fields of a face of `embeddings/` for vectors of a length."""
    vector = Column("vector", pa.list_(pa.float16(), dimensions), "the backbone's pooled features of the face")
    return [FRAME_INDEX, FACE_INDEX, vector]


COLUMNS: dict[str, list[Column]] = {
    "manifest": [
        VIDEO_ID,
        Column("uri", pa.string(), "location of the video", False),
        Column("part", pa.string(), "sub-folder of the corpus"),
        LABEL,
        Column(
            "originals",
            pa.list_(pa.string()),
            "ids of the videos that it was made from, the name of one that is not in the corpus; null if none is known",
        ),
        Column("people", pa.list_(pa.string()), "who is in it, if the corpus's metadata say so"),
        Column("method", pa.string(), "how a FAKE video was made, if the corpus's metadata say so"),
        Column("split", pa.string(), "the split in the corpus's metadata; not used"),
        GROUP,
        FOLD,
        Column("bytes", pa.int64(), "size of the file; null if it was absent when indexed"),
    ],
    "faces": [
        VIDEO_ID,
        LABEL,
        GROUP,
        FOLD,
        STATUS,
        ERROR_STAGE,
        ERROR,
        Column("width", pa.int32(), "of the upright picture, in pixels"),
        Column("height", pa.int32(), "of the upright picture, in pixels"),
        Column("fps", pa.float64(), "frames per second, on average"),
        Column("frame_count", pa.int64(), "number of frames of the stream, by counting"),
        Column("codec", pa.string(), "FFmpeg's name of the codec"),
        FRAMES_WANTED,
        FRAMES_DECODED,
        Column("seconds_spent", pa.float64(), "seconds of decoding and detection"),
        Column(
            "sampled",
            pa.list_(pa.list_(pa.int64())),
            "`frame_index` of the frames that were searched, with or without a face: a list for each comb, in the order in "
            "which combs are taken; empty if none could be decoded",
        ),
        Column("faces", pa.list_(struct_of(FACE)), "faces found in the sampled frames, in the order of the frames", False),
    ],
    "embeddings": [
        VIDEO_ID,
        # With `embedding_face` for a backbone's vectors in place of these: see `embeddings_schema`.
        Column("faces", pa.list_(struct_of(embedding_face(0))), "a vector for every face of `faces/`, in its order", False),
    ],
    # Between the faces and the predictions, so that predictions can be recomputed without a network.
    "scores": [
        VIDEO_ID,
        STATUS,
        ERROR_STAGE,
        ERROR,
        *(
            column._replace(meaning=f"{column.meaning}; null of `evaluate`, see `faces/`")
            for column in (FRAMES_WANTED, FRAMES_DECODED)
        ),
        Column(
            "log_odds", pa.list_(pa.float32()), "log-odds of FAKE, one per face; where several models scored, their mean", False
        ),
        Column(
            "log_odds_by_model",
            pa.list_(pa.list_(pa.float32())),
            "the same of each model, in the order of the folds that they never saw; null where one model scored",
        ),
    ],
    "projection": [
        VIDEO_ID,
        FRAME_INDEX._replace(nullable=False),
        FACE_INDEX._replace(nullable=False),
        LABEL,
        Column("pca", pa.list_(pa.float32()), "principal components of the vector, the largest variance first"),
        Column("x", pa.float32(), "coordinate on the t-SNE map"),
        Column("y", pa.float32(), "coordinate on the t-SNE map"),
        Column("z", pa.float32(), "coordinate on the t-SNE map; null if it has two dimensions"),
        Column("cluster", pa.int32(), "HDBSCAN cluster of the face, from 0; -1 = noise"),
        Column("membership", pa.float32(), "strength of membership in the cluster, 0 to 1"),
        Column("video_cluster", pa.int32(), "HDBSCAN cluster of the video, by its mean components, from 0; -1 = noise"),
        Column("thumbnail", pa.binary(), "the face, JPEG"),
    ],
    "predictions": [
        VIDEO_ID,
        LABEL,
        FOLD,
        Column("probability", pa.float64(), "probability of FAKE, calibrated and clipped"),
        Column("raw_probability", pa.float64(), "probability of FAKE, as aggregated from the faces"),
        Column("faces_used", pa.int32(), "number of faces that the probability is made from", False),
        STATUS,
    ],
}

SCHEMAS: dict[str, pa.Schema] = {
    table: pa.schema([column.field for column in columns]) for table, columns in COLUMNS.items() if table != "embeddings"
}


def embeddings_schema(dimensions: int) -> pa.Schema:
    """Return the schema of `embeddings/` for vectors of a length."""
    face = struct_of(embedding_face(dimensions))
    return pa.schema([VIDEO_ID.field, pa.field("faces", pa.list_(face), nullable=False)])
