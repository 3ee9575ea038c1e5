"""The sections of the configuration, one a job and one for resources: each field with its default, range, unit and meaning."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

Device = Literal["auto", "cpu", "cuda"]
NOT_CONTENT: JsonDict = {"content": False}
"""Marks a field that changes how a table is made, not what is in it."""


class Section(BaseModel):
    """Base of every section: it is frozen, and unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)


class Index(Section):
    """Which videos there are, and how they are split into folds."""

    folds: int = Field(5, ge=2, le=100, description="cross-validation folds; groups of linked videos are never split")
    seed: int = Field(0, ge=0, description="seed of the split into folds")
    extra_real: str | None = Field(
        None,
        description="folder of further videos, all taken as REAL: every model trains on them, none scores them; "
        "those that show people of the corpus (by index.people) are left out",
    )
    people: str | None = Field(
        None,
        description="Parquet file of face-recognition vectors (`video_id`, `vector`): groups that show one person are joined",
    )
    same_person: float | None = Field(
        None, gt=0, lt=1, description="least cosine between two such vectors of the same person; depends on the network"
    )
    missing_files: Literal["refuse", "keep"] = Field(
        "refuse",
        description="what to do when a file that the metadata name is absent: refuse to index, or keep it as an error row",
    )


class Preprocess(Section):
    """Which frames are decoded, and which faces are cut from them."""

    frames_real: int = Field(40, ge=1, le=10_000, description="frames sampled from a REAL video")
    frames_fake: int = Field(8, ge=1, le=10_000, description="frames sampled from a FAKE video (8 to 40 balances DFDC)")
    frames_unlabelled: int = Field(16, ge=1, le=10_000, description="frames sampled from a video without a label")
    margin: float = Field(0.6, ge=0, le=4, description="crop width = face width x (1 + margin), height likewise")
    crop_size: int = Field(240, ge=32, le=1024, description="pixels; width and height of a stored crop")
    jpeg_quality: int = Field(95, ge=1, le=100, description="JPEG quality of a stored crop; chroma is not subsampled (4:4:4)")
    smallest_face: float = Field(
        1 / 24,
        gt=0,
        le=1,
        description="share of the frame's shorter side; smaller faces need not be found (1/24: 45 px at 1080p)",
    )
    search_every: int = Field(
        8, ge=1, description="at least one of this many sampled frames is searched whole; between them, faces are followed"
    )
    min_probability: float = Field(0.9, ge=0, le=1, description="a face with a lower probability by the detector is dropped")
    faces_per_frame: int = Field(2, ge=1, le=100, description="most faces kept per frame, the most probable first")
    max_pixels: int = Field(2**25, ge=1, description="pixels; a video with larger frames is refused (2^25: 8192 x 4096)")
    max_packets: int = Field(1_000_000, ge=1, description="coded frames; a longer stream is refused")
    containers: tuple[str, ...] = Field(
        ("mov", "mp4", "matroska", "webm", "avi", "mpegts"), description="FFmpeg demuxers that may read a video"
    )
    follow_links: bool = Field(
        False, description="read symbolic links that lead out of the corpus", json_schema_extra=NOT_CONTENT
    )
    video_deadline: float = Field(120.0, gt=0, description="seconds a video may take to decode", json_schema_extra=NOT_CONTENT)
    decoder_memory_gib: float = Field(
        4.0, gt=0.1, description="GiB of memory that decoding one video may take (Linux only)", json_schema_extra=NOT_CONTENT
    )

    @property
    def most_frames(self) -> int:
        """The most frames sampled from any video, whatever its label."""
        return max(self.frames_real, self.frames_fake, self.frames_unlabelled)


class Embed(Section):
    """Which network turns a face into a vector."""

    backbone: str = Field("tf_efficientnet_b7", description="any timm model name")
    weights: str = Field("auto", description="auto | package | hub | random | path of a .safetensors or .pth file")
    image_size: int | None = Field(None, ge=32, le=1024, description="pixels; null = the backbone's own input size")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto = bf16 where the CPU or GPU has it and the vectors stay close to fp32"
    )
    batch_size: int = Field(
        8,
        ge=1,
        le=4096,
        description="faces embedded, or scored by the classifiers, at once; a CPU embeds two at a time",
        json_schema_extra=NOT_CONTENT,
    )


class Analyze(Section):
    """How the embeddings are mapped and clustered."""

    components: int = Field(50, ge=2, le=2560, description="principal components kept; t-SNE and HDBSCAN work on them")
    whiten: bool = Field(False, description="scale every principal component to unit variance")
    dimensions: Literal[2, 3] = Field(3, description="dimensions of the t-SNE map")
    perplexity: float = Field(50.0, ge=2, le=500, description="t-SNE's effective number of neighbours")
    iterations: int = Field(750, ge=10, le=10_000, description="iterations of t-SNE")
    min_cluster_size: int = Field(15, ge=2, description="faces; HDBSCAN calls smaller groups noise")
    min_samples: int | None = Field(None, ge=1, description="HDBSCAN's density neighbours; null = min_cluster_size")
    min_cluster_videos: int = Field(
        5, ge=2, description="videos; smaller groups are noise when the videos' means are clustered"
    )
    cluster_on: Literal["pca", "tsne"] = Field(
        "pca",
        description="what faces are clustered on: the components, or the map, which does not keep densities (the report's way)",
    )
    thumbnail_size: int = Field(64, ge=16, le=256, description="pixels; width and height of a face shown in the map")
    seed: int = Field(0, ge=0, description="seed of t-SNE")
    device: Device = Field(
        "auto",
        description="where t-SNE and HDBSCAN run: cuML on cuda (a 3-D map still runs on the CPU), CPU libraries on cpu; "
        "auto = cuda if resources.analyze has a GPU",
    )


class Train(Section):
    """How the classifier is trained."""

    backbone: str = Field("tf_efficientnet_b7", description="any timm model name")
    weights: str = Field("auto", description="initial weights: auto | package | hub | random | path of a file")
    image_size: int | None = Field(None, ge=32, le=1024, description="pixels; null = the backbone's own input size")
    folds: tuple[int, ...] | None = Field(None, description="folds held out in turn, one model for each; null = all of them")
    epochs: int = Field(6, ge=1, le=1000, description="passes over the training faces")
    batch_size: int = Field(16, ge=1, le=4096, description="faces per worker and step")
    accumulate: int = Field(1, ge=1, le=1024, description="steps whose gradients are averaged into one update of the weights")
    optimiser: Literal["adamw", "sgd"] = Field("adamw", description="AdamW, or SGD with Nesterov's momentum of 0.9")
    learning_rate: float = Field(3e-4, gt=0, le=10, description="the optimiser's learning rate at its peak")
    schedule: Literal["cosine", "polynomial"] = Field("cosine", description="how the learning rate falls to zero")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the updates in which the learning rate rises")
    weight_decay: float = Field(0.01, ge=0, le=1, description="weight decay of the optimiser")
    clip_gradient: float | None = Field(None, gt=0, description="largest norm of the gradient; null = no limit")
    label_smoothing: float = Field(
        0.05, ge=0, lt=0.5, description="share of the target that is split evenly between both classes"
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout before the softmax head")
    frozen_layers: int = Field(0, ge=0, description="the first groups of layers (timm's) to keep their initial weights")
    frozen_epochs: int | None = Field(None, ge=0, description="epochs after which those layers learn as well; null = never")
    freeze_norm: bool = Field(False, description="batch normalisation keeps its initial means and variances")
    average: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="decay per step of the moving average of weights that becomes the model; 0 = the last weights",
    )
    augmentation: Literal["none", "report", "best"] = Field(
        "report", description="how faces are augmented before the model learns from them"
    )
    balance: bool = Field(False, description="show both classes equally often by repeating faces of the rarer one")
    self_blending: float = Field(
        0.0, ge=0, le=1, description="share of the FAKE faces shown that are blended from REAL ones, newly each time"
    )
    mixup: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the other FAKE faces shown that are mixed with a REAL one, aligned by the landmarks",
    )
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="precision of the network's arithmetic; weights and loss are fp32"
    )
    seed: int = Field(0, ge=0, description="seed of the initial head, the order of the faces and their augmentation")
    workers: int = Field(1, ge=1, le=1024, description="data-parallel Ray Train workers")
    checkpoint_minutes: float | None = Field(
        None,
        gt=0,
        description="minutes between checkpoints within an epoch; null = only at its end",
        json_schema_extra=NOT_CONTENT,
    )
    tensorboard: bool = Field(
        False, description="also write the metrics for TensorBoard, to RUN/tensorboard", json_schema_extra=NOT_CONTENT
    )
    mlflow: str | None = Field(
        None, description="tracking URI of an MLflow server that also gets the metrics", json_schema_extra=NOT_CONTENT
    )


class Evaluate(Section):
    """How face scores become the probability of a video, and how that is scored."""

    aggregation: Literal["mean", "mean_logit", "confident", "auto"] = Field(
        "mean",
        description="how face scores become one score per video; auto = the way with the least log loss on the other folds",
    )
    calibrate: bool = Field(
        True, description="Platt scaling fitted on the other folds; with one fold, each half is calibrated by the other"
    )
    clip: float = Field(0.01, ge=0, lt=0.5, description="probabilities are clipped to [clip, 1 - clip]")
    bootstrap: int = Field(
        1000, ge=0, le=100_000, description="bootstrap replicates for the 95 % intervals; groups are resampled"
    )
    seed: int = Field(0, ge=0, description="seed of the bootstrap, and of the halves of a single fold")
    explain: int = Field(
        0,
        ge=0,
        le=100,
        description="videos with the largest errors for which the report shows where the classifier looks",
        json_schema_extra=NOT_CONTENT,
    )


class Predict(Section):
    """How new videos are scored."""

    fallback_probability: float = Field(
        0.5, ge=0, le=1, description="probability given to a video that is broken or shows no face"
    )
    prior: float | None = Field(
        0.5,
        gt=0,
        lt=1,
        description="share of FAKE expected among new videos; null = the share among the videos that calibrated",
    )
    explain: int = Field(
        0, ge=0, le=100, description="videos, the most probably FAKE first, for which a page shows where the classifiers look"
    )


class Report(Section):
    """How much the page shows, so that it stays small for a run of any size."""

    max_points: int = Field(5000, ge=10, le=50_000, description="points drawn in a scatter, sampled evenly by cluster")
    sample_videos: int = Field(12, ge=0, le=100, description="videos whose faces are shown with their boxes")
    max_rows: int = Field(2000, ge=1, le=20_000, description="rows of the table of predictions")
    pictured_rows: int = Field(
        100, ge=0, le=1000, description="rows of that table that open to show faces, the largest errors first"
    )
    clusters: int = Field(8, ge=0, le=50, description="largest clusters, each shown as a sheet of faces")


class Pool(Section):
    """What one stage may use of the machine or cluster; it never changes what is computed."""

    num_cpus: float = Field(1.0, gt=0, description="CPUs per task or actor")
    num_gpus: float = Field(0.0, ge=0, description="GPUs per task or actor; fractions share one GPU")
    min_size: int = Field(1, ge=1, description="least number of actors")
    max_size: int | None = Field(None, ge=1, description="most tasks or actors at once; null = as many as the CPUs (GPUs) hold")


class Resources(Section):
    """What each stage may use of the machine or cluster; this never changes what is computed."""

    cpus: int | None = Field(None, ge=1, description="CPUs of a Ray started on this machine; null = all of its cores")
    object_store_gib: float = Field(2.0, gt=0.07, description="GiB of shared memory of a Ray started on this machine")
    extract: Pool = Pool()
    detect: Pool = Pool()
    embed: Pool = Pool()
    analyze: Pool = Pool()
    score: Pool = Pool()
    train: Pool = Pool()
    wait_minutes: float = Field(
        30.0, gt=0, description="minutes without any progress, such as when no node can hold a stage, after which a job ends"
    )
    videos_per_task: int = Field(4, ge=1, le=10_000, description="videos per task; bounds the memory it takes")
    videos_per_file: int = Field(64, ge=1, le=100_000, description="rows per Parquet file; the most work that a crash can lose")
