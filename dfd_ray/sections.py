"""The sections of the configuration, one a job and one for resources: each field with its default, range, unit and meaning."""

from __future__ import annotations

import math
from typing import Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

T = TypeVar("T")
Device = Literal["auto", "cpu", "cuda"]
NOT_CONTENT: JsonDict = {"content": False}
"""Marks a field that changes how a table is made, not what is in it."""


def setting(default: T, meaning: str, *, content: bool = True, **limits: float) -> T:
    """Return a field; `content` says whether it changes what is in a table, and not only how the table is made."""
    kind = None if content else NOT_CONTENT
    return cast(T, Field(default, description=meaning, json_schema_extra=kind, **limits))  # type: ignore[call-overload]


class Section(BaseModel):
    """Base of every section: it is frozen, and unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)


class Index(Section):
    """Which videos there are, and how they are split into folds."""

    folds: int = setting(5, "cross-validation folds; groups of linked videos are never split", ge=2, le=100)
    seed: int = setting(0, "seed of the split into folds", ge=0)
    extra_real: str | None = setting(
        None,
        "folder of further videos, all taken as REAL: every model trains on them, none scores them; "
        "those that show people of the corpus (by index.people) are left out",
    )
    people: str | None = setting(
        None, "Parquet file of face-recognition vectors (`video_id`, `vector`): groups that show one person are joined"
    )
    same_person: float | None = setting(
        None, "least cosine between two such vectors of the same person; depends on the network", gt=0, lt=1
    )
    layout: Literal[
        "auto", "none", "faceforensics", "celeb_df", "dfdc_preview", "dfdc_test", "fakeavceleb", "class_folders"
    ] = setting(
        "auto",
        "how the corpus is laid out; auto = a data set that is known by its folders, else a table of labels, else folders "
        "named as labels, else bare videos; none = a table or bare videos",
    )
    join_people: Literal["auto", "all", "target", "none"] = setting(
        "auto",
        "whose videos are one group: of all people that a data set names, of the person whose video it is (target), or "
        "none; auto = all, unless that leaves fewer groups than folds and target does not",
    )
    missing_files: Literal["refuse", "keep"] = setting(
        "refuse", "what to do when a file that the metadata name is absent: refuse to index, or keep it as an error row"
    )


class Preprocess(Section):
    """Which frames are decoded, and which faces are cut from them."""

    frames_real: int = setting(40, "frames sampled from a REAL video", ge=1, le=10_000)
    frames_fake: int = setting(8, "frames sampled from a FAKE video (8 to 40 balances DFDC)", ge=1, le=10_000)
    frames_unlabelled: int = setting(
        16, "frames of a video without a label; of a new one, the least of all three", ge=1, le=10_000
    )
    margin: float = setting(0.6, "crop width = face width x (1 + margin), height likewise", ge=0, le=4)
    crop_size: int = setting(240, "pixels; width and height of a stored crop", ge=32, le=1024)
    jpeg_quality: int = setting(95, "JPEG quality of a stored crop; chroma is not subsampled (4:4:4)", ge=1, le=100)
    smallest_face: float = setting(
        1 / 24, "share of the frame's shorter side; smaller faces need not be found (1/24: 45 px at 1080p)", gt=0, le=1
    )
    search_every: int = setting(
        8, "at least one of this many frames of a comb is searched whole; between them, faces are followed", ge=1
    )
    min_probability: float = setting(0.9, "a face with a lower probability by the detector is dropped", ge=0, le=1)
    faces_per_frame: int = setting(2, "most faces kept per frame, the most probable first", ge=1, le=100)
    max_pixels: int = setting(2**25, "pixels; a video with larger frames is refused (2^25: 8192 x 4096)", ge=1)
    max_packets: int = setting(1_000_000, "coded frames; a longer stream is refused", ge=1)
    containers: tuple[str, ...] = setting(
        ("mov", "mp4", "matroska", "webm", "avi", "mpegts", "asf", "flv", "mpeg", "ogg", "gif"),
        "FFmpeg demuxers that may read a video",
    )
    follow_links: bool = setting(False, "read symbolic links that lead out of the corpus", content=False)
    video_deadline: float = setting(120.0, "seconds a video may take to decode", gt=0, content=False)
    decoder_memory_gib: float = setting(
        4.0, "GiB of memory that decoding one video may take (Linux only)", gt=0.1, content=False
    )

    @property
    def most_frames(self) -> int:
        """The most frames sampled from any video, whatever its label."""
        return max(self.frames_real, self.frames_fake, self.frames_unlabelled)

    @property
    def least_frames(self) -> int:
        """The frames sampled from every video that has so many, whatever its label."""
        return min(self.frames_real, self.frames_fake, self.frames_unlabelled)

    @property
    def comb(self) -> int:
        """Frames of a comb: the most that divide the three numbers of frames, so that each label takes whole combs."""
        return math.gcd(self.frames_real, self.frames_fake, self.frames_unlabelled)

    @property
    def shared_combs(self) -> int:
        """Combs that are taken of a video whatever its label."""
        return self.least_frames // self.comb


class Embed(Section):
    """Which network turns a face into a vector."""

    backbone: str = setting("tf_efficientnet_b7", "any timm model name")
    weights: str = setting("auto", "auto | package | hub | random | path of a .safetensors or .pth file")
    image_size: int | None = setting(None, "pixels; null = the backbone's own input size", ge=32, le=1024)
    precision: Literal["auto", "fp32", "bf16"] = setting(
        "auto", "auto = bf16 where the CPU or GPU has it and the vectors stay close to fp32"
    )
    batch_size: int = setting(
        8, "faces embedded, or scored by the classifiers, at once; a CPU embeds two at a time", ge=1, le=4096, content=False
    )


class Analyze(Section):
    """How the embeddings are mapped and clustered."""

    components: int = setting(50, "principal components kept; t-SNE and HDBSCAN work on them", ge=2, le=2560)
    whiten: bool = setting(False, "scale every principal component to unit variance")
    dimensions: Literal[2, 3] = setting(3, "dimensions of the t-SNE map")
    perplexity: float = setting(50.0, "t-SNE's effective number of neighbours", ge=2, le=500)
    iterations: int = setting(750, "iterations of t-SNE", ge=10, le=10_000)
    min_cluster_size: int = setting(15, "faces; HDBSCAN calls smaller groups noise", ge=2)
    min_samples: int | None = setting(None, "HDBSCAN's density neighbours; null = min_cluster_size", ge=1)
    min_cluster_videos: int = setting(5, "videos; smaller groups are noise when the videos' means are clustered", ge=2)
    cluster_on: Literal["pca", "tsne"] = setting(
        "pca", "what faces are clustered on: the components, or the map, which does not keep densities (the report's way)"
    )
    thumbnail_size: int = setting(64, "pixels; width and height of a face shown in the map", ge=16, le=256)
    seed: int = setting(0, "seed of t-SNE", ge=0)
    device: Device = setting(
        "auto",
        "where t-SNE and HDBSCAN run: cuML on cuda (a 3-D map still runs on the CPU), CPU libraries on cpu; "
        "auto = cuda if resources.analyze has a GPU",
    )


class Train(Section):
    """How the classifier is trained."""

    backbone: str = setting("tf_efficientnet_b7", "any timm model name")
    weights: str = setting("auto", "initial weights: auto | package | hub | random | path of a file")
    image_size: int | None = setting(None, "pixels; null = the backbone's own input size", ge=32, le=1024)
    folds: tuple[int, ...] | None = setting(None, "folds held out in turn, one model for each; null = all of them")
    epochs: int = setting(6, "passes over the training faces", ge=1, le=1000)
    batch_size: int = setting(16, "faces per worker and step", ge=1, le=4096)
    accumulate: int = setting(1, "steps whose gradients are averaged into one update of the weights", ge=1, le=1024)
    optimiser: Literal["adamw", "sgd"] = setting("adamw", "AdamW, or SGD with Nesterov's momentum of 0.9")
    learning_rate: float = setting(3e-4, "the optimiser's learning rate at its peak", gt=0, le=10)
    schedule: Literal["cosine", "polynomial"] = setting("cosine", "how the learning rate falls to zero")
    warmup: float = setting(0.1, "share of the updates in which the learning rate rises", ge=0, lt=1)
    weight_decay: float = setting(0.01, "weight decay of the optimiser", ge=0, le=1)
    clip_gradient: float | None = setting(None, "largest norm of the gradient; null = no limit", gt=0)
    label_smoothing: float = setting(0.05, "share of the target that is split evenly between both classes", ge=0, lt=0.5)
    dropout: float = setting(0.2, "dropout before the softmax head", ge=0, lt=1)
    frozen_layers: int = setting(0, "the first groups of layers (timm's) to keep their initial weights", ge=0)
    frozen_epochs: int | None = setting(None, "epochs after which those layers learn as well; null = never", ge=0)
    freeze_norm: bool = setting(False, "batch normalisation keeps its initial means and variances")
    average: float = setting(
        0.0, "decay per step of the moving average of weights that becomes the model; 0 = the last weights", ge=0, lt=1
    )
    augmentation: Literal["none", "report", "best"] = setting(
        "report", "how faces are augmented before the model learns from them"
    )
    balance: bool = setting(False, "show both classes equally often by repeating faces of the rarer one")
    self_blending: float = setting(
        0.0, "share of the FAKE faces shown that are blended from REAL ones, newly each time", ge=0, le=1
    )
    mixup: float = setting(
        0.0, "share of the other FAKE faces shown that are mixed with a REAL one, aligned by the landmarks", ge=0, le=1
    )
    precision: Literal["fp32", "bf16"] = setting("fp32", "precision of the network's arithmetic; weights and loss are fp32")
    seed: int = setting(0, "seed of the initial head, the order of the faces and their augmentation", ge=0)
    workers: int = setting(1, "data-parallel Ray Train workers", ge=1, le=1024)
    checkpoint_minutes: float | None = setting(
        None, "minutes between checkpoints within an epoch; null = only at its end", gt=0, content=False
    )
    tensorboard: bool = setting(False, "also write the metrics for TensorBoard, to RUN/tensorboard", content=False)
    mlflow: str | None = setting(None, "tracking URI of an MLflow server that also gets the metrics", content=False)


class Evaluate(Section):
    """How face scores become the probability of a video, and how that is scored."""

    aggregation: Literal["mean", "mean_logit", "confident", "auto"] = setting(
        "mean", "how face scores become one score per video; auto = the way with the least log loss on the other folds"
    )
    calibrate: bool = setting(
        True, "Platt scaling, fitted on the other folds, or with one fold on the other half; for new videos, model by model"
    )
    clip: float = setting(0.01, "probabilities are clipped to [clip, 1 - clip]", ge=0, lt=0.5)
    bootstrap: int = setting(1000, "bootstrap replicates for the 95 % intervals; groups are resampled", ge=0, le=100_000)
    seed: int = setting(0, "seed of the bootstrap, and of the halves of a single fold", ge=0)
    explain: int = setting(
        0, "videos with the largest errors for which the report shows where the classifier looks", ge=0, le=100, content=False
    )


class Predict(Section):
    """How new videos are scored."""

    fallback_probability: float = setting(0.5, "probability given to a video that is broken or shows no face", ge=0, le=1)
    prior: float | None = setting(
        0.5, "share of FAKE expected among new videos; null = the share among the videos that calibrated", gt=0, lt=1
    )
    explain: int = setting(
        0, "videos, the most probably FAKE first, for which a page shows where the classifiers look", ge=0, le=100
    )


class Report(Section):
    """How much the page shows, so that it stays small for a run of any size."""

    max_points: int = setting(5000, "points drawn in a scatter, sampled evenly by cluster", ge=10, le=50_000)
    sample_videos: int = setting(12, "videos whose faces are shown with their boxes", ge=0, le=100)
    max_rows: int = setting(2000, "rows of the table of predictions", ge=1, le=20_000)
    pictured_rows: int = setting(100, "rows of that table that open to show faces, the largest errors first", ge=0, le=1000)
    clusters: int = setting(8, "largest clusters, each shown as a sheet of faces", ge=0, le=50)


class Pool(Section):
    """What one stage may use of the machine or cluster; it never changes what is computed."""

    num_cpus: float = setting(1.0, "CPUs per task or actor", gt=0)
    num_gpus: float = setting(0.0, "GPUs per task or actor; fractions share one GPU", ge=0)
    min_size: int = setting(1, "least number of actors", ge=1)
    max_size: int | None = setting(None, "most tasks or actors at once; null = as many as the CPUs (GPUs) hold", ge=1)


class Resources(Section):
    """What each stage may use of the machine or cluster; this never changes what is computed."""

    cpus: int | None = setting(None, "CPUs of a Ray started on this machine; null = all of its cores", ge=1)
    object_store_gib: float = setting(2.0, "GiB of shared memory of a Ray started on this machine", gt=0.07)
    extract: Pool = Pool()
    detect: Pool = Pool()
    embed: Pool = Pool()
    analyze: Pool = Pool()
    score: Pool = Pool()
    train: Pool = Pool()
    wait_minutes: float = setting(
        30.0, "minutes without any progress, such as when no node can hold a stage, after which a job ends", gt=0
    )
    videos_per_task: int = setting(4, "videos per task; bounds the memory it takes", ge=1, le=10_000)
    videos_per_file: int = setting(64, "rows per Parquet file; the most work that a crash can lose", ge=1, le=100_000)
