"""The sections of the configuration, one a job and one of resources: every field with its default, range, unit and meaning."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Device = Literal["auto", "cpu", "cuda"]
NOT_CONTENT: dict[str, Any] = {"content": False}
"""Marks a field that changes how a table is made, not what is in it."""


class Section(BaseModel):
    """Base of every section: frozen, and unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)


class Index(Section):
    """Which videos there are, and into which folds they fall."""

    folds: int = Field(5, ge=2, le=100, description="cross-validation folds; groups of linked videos are never split")
    seed: int = Field(0, ge=0, description="seed of the assignment to folds")
    extra_real: str | None = Field(
        None,
        description="folder of further videos, all taken for REAL: trained on in every fold, never held out, never scored; "
        "those that show people of the corpus, as index.people knows them, are left out",
    )
    people: str | None = Field(
        None,
        description="Parquet file of face-recognition vectors (`video_id`, `vector`): groups that show one person become one",
    )
    same_person: float | None = Field(
        None, gt=0, lt=1, description="cosine of two such vectors from which they are of one person; depends on the network"
    )
    missing_files: Literal["refuse", "keep"] = Field(
        "refuse", description="a file named by the metadata that is absent: refuse to index, or keep it as an error row"
    )


class Preprocess(Section):
    """Which frames are decoded, and which faces are cut from them."""

    frames_real: int = Field(40, ge=1, le=10_000, description="frames sampled from a REAL video")
    frames_fake: int = Field(8, ge=1, le=10_000, description="frames sampled from a FAKE video (8 to 40 balances DFDC)")
    frames_unlabelled: int = Field(16, ge=1, le=10_000, description="frames sampled from a video without a label")
    margin: float = Field(0.6, ge=0, le=4, description="crop width = face width x (1 + margin), height likewise")
    crop_size: int = Field(240, ge=32, le=1024, description="pixels; width and height of a stored crop")
    jpeg_quality: int = Field(95, ge=1, le=100, description="of a stored crop; chroma is not subsampled (4:4:4)")
    smallest_face: float = Field(
        1 / 24,
        gt=0,
        le=1,
        description="of the frame's shorter side; smaller faces need not be found (1/24: 45 px at 1080p)",
    )
    search_every: int = Field(
        8, ge=1, description="of so many sampled frames one is searched whole, or more; between, faces are followed"
    )
    min_probability: float = Field(0.9, ge=0, le=1, description="detector's probability below which a face is dropped")
    faces_per_frame: int = Field(2, ge=1, le=100, description="most faces kept of one frame, the most probable first")
    max_pixels: int = Field(2**25, ge=1, description="pixels; a larger frame is refused (2^25: 8192 x 4096)")
    max_packets: int = Field(1_000_000, ge=1, description="coded frames; a longer stream is refused")
    containers: tuple[str, ...] = Field(
        ("mov", "mp4", "matroska", "webm", "avi", "mpegts"), description="FFmpeg demuxers a video may be read with"
    )
    follow_links: bool = Field(
        False, description="read symbolic links that lead out of the corpus", json_schema_extra=NOT_CONTENT
    )
    video_deadline: float = Field(120.0, gt=0, description="seconds a video may take to decode", json_schema_extra=NOT_CONTENT)
    decoder_memory_gib: float = Field(
        4.0, gt=0.1, description="GiB of memory that decoding one video may take (Linux)", json_schema_extra=NOT_CONTENT
    )

    @property
    def most_frames(self) -> int:
        """The most frames that are sampled from any video, whatever its label."""
        return max(self.frames_real, self.frames_fake, self.frames_unlabelled)


class Embed(Section):
    """Which network turns a face into a vector."""

    backbone: str = Field("tf_efficientnet_b7", description="any timm model name")
    weights: str = Field("auto", description="auto | package | hub | random | path of a .safetensors or .pth file")
    image_size: int | None = Field(None, ge=32, le=1024, description="pixels; null = the backbone's own input size")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto = bf16 where it is native and close to fp32")
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
    dimensions: Literal[2, 3] = Field(3, description="of the t-SNE map")
    perplexity: float = Field(50.0, ge=2, le=500, description="t-SNE's effective number of neighbours")
    iterations: int = Field(750, ge=10, le=10_000, description="of t-SNE")
    min_cluster_size: int = Field(15, ge=2, description="faces; smaller groups are noise to HDBSCAN")
    min_samples: int | None = Field(None, ge=1, description="HDBSCAN's density neighbours; null = min_cluster_size")
    min_cluster_videos: int = Field(5, ge=2, description="videos; smaller groups are noise where videos' means are clustered")
    cluster_on: Literal["pca", "tsne"] = Field(
        "pca",
        description="what faces are clustered on: the components, or the map, which keeps no densities (the report's way)",
    )
    thumbnail_size: int = Field(64, ge=16, le=256, description="pixels; of the face shown in the map")
    seed: int = Field(0, ge=0, description="seed of t-SNE")
    device: Device = Field(
        "auto",
        description="where t-SNE and HDBSCAN run: cuML on cuda (a 3-D map on the CPU all the same), CPU libraries on cpu; "
        "auto = cuda where resources.analyze has a GPU",
    )


class Train(Section):
    """How the classifier is trained."""

    backbone: str = Field("tf_efficientnet_b7", description="any timm model name")
    weights: str = Field("auto", description="initial weights: auto | package | hub | random | path of a file")
    image_size: int | None = Field(None, ge=32, le=1024, description="pixels; null = the backbone's own input size")
    folds: tuple[int, ...] | None = Field(None, description="folds held out in turn, a model each; null = all of them")
    epochs: int = Field(6, ge=1, le=1000, description="passes over the training faces")
    batch_size: int = Field(16, ge=1, le=4096, description="faces a worker and step")
    accumulate: int = Field(1, ge=1, le=1024, description="steps whose gradients are averaged into one update of the weights")
    optimiser: Literal["adamw", "sgd"] = Field("adamw", description="AdamW, or SGD with Nesterov's momentum of 0.9")
    learning_rate: float = Field(3e-4, gt=0, le=10, description="of the optimiser at its peak")
    schedule: Literal["cosine", "polynomial"] = Field("cosine", description="how the learning rate falls to zero")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the updates in which the learning rate rises")
    weight_decay: float = Field(0.01, ge=0, le=1, description="of the optimiser")
    clip_gradient: float | None = Field(None, gt=0, description="largest norm of the gradient; null = as it comes")
    label_smoothing: float = Field(0.05, ge=0, lt=0.5, description="share of the target that both classes get alike")
    dropout: float = Field(0.2, ge=0, lt=1, description="before the softmax head")
    frozen_layers: int = Field(0, ge=0, description="first groups of layers (timm's) that keep their initial weights")
    frozen_epochs: int | None = Field(None, ge=0, description="epochs after which those layers learn, too; null = never")
    freeze_norm: bool = Field(False, description="batch normalisation keeps its initial means and variances")
    average: float = Field(
        0.0, ge=0, lt=1, description="decay a step of the moving average of the weights that becomes the model; 0 = the last"
    )
    augmentation: Literal["none", "report", "best"] = Field(
        "report", description="what is done to faces before they are learnt from"
    )
    balance: bool = Field(False, description="show both classes equally often, by repeating faces of the rarer one")
    self_blending: float = Field(
        0.0, ge=0, le=1, description="share of the FAKE faces shown that are made, each time anew, of REAL ones"
    )
    mixup: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the other FAKE faces shown that are mixed with a REAL one, laid on it by the landmarks",
    )
    precision: Literal["fp32", "bf16"] = Field("fp32", description="of the network's arithmetic; weights and loss are fp32")
    seed: int = Field(0, ge=0, description="of the initial head, the order of the faces and their augmentation")
    workers: int = Field(1, ge=1, le=1024, description="data-parallel Ray Train workers")
    checkpoint_minutes: float | None = Field(
        None,
        gt=0,
        description="minutes between checkpoints within an epoch; null = at its end only",
        json_schema_extra=NOT_CONTENT,
    )
    tensorboard: bool = Field(
        False, description="write the metrics for TensorBoard, to RUN/tensorboard, too", json_schema_extra=NOT_CONTENT
    )
    mlflow: str | None = Field(
        None, description="tracking URI of an MLflow that is told the metrics, too", json_schema_extra=NOT_CONTENT
    )


class Evaluate(Section):
    """How faces become the probability of a video, and how that is scored."""

    aggregation: Literal["mean", "mean_logit", "confident", "auto"] = Field(
        "mean", description="of face scores into one per video; auto = whichever has the least log loss on the other folds"
    )
    calibrate: bool = Field(
        True, description="Platt scaling fitted on the other folds; of one fold, half of it by the other half"
    )
    clip: float = Field(0.01, ge=0, lt=0.5, description="probabilities are clipped to [clip, 1 - clip]")
    bootstrap: int = Field(1000, ge=0, le=100_000, description="replicates behind the 95 % intervals; groups are resampled")
    seed: int = Field(0, ge=0, description="of the bootstrap, and of the halves of a single fold")
    explain: int = Field(
        0,
        ge=0,
        le=100,
        description="videos, those with the largest errors, whose rows of the report show where their classifier looks",
        json_schema_extra=NOT_CONTENT,
    )


class Predict(Section):
    """How new videos are scored."""

    fallback_probability: float = Field(0.5, ge=0, le=1, description="given to a video that is broken or shows no face")
    prior: float | None = Field(
        0.5, gt=0, lt=1, description="share of FAKE expected among new videos; null = as among the calibrating ones"
    )
    explain: int = Field(0, ge=0, le=100, description="videos, the most probably FAKE, shown with where the classifiers look")


class Report(Section):
    """What the page shows, so that it stays small for a run of any size."""

    max_points: int = Field(5000, ge=10, le=50_000, description="points drawn in a scatter, sampled evenly by cluster")
    sample_videos: int = Field(12, ge=0, le=100, description="videos whose faces are shown with their boxes")
    max_rows: int = Field(2000, ge=1, le=20_000, description="rows of the table of predictions")
    pictured_rows: int = Field(
        100, ge=0, le=1000, description="rows of that table that open to pictures of faces, the largest errors first"
    )
    clusters: int = Field(8, ge=0, le=50, description="largest clusters shown as a sheet of faces")


class Pool(Section):
    """What one stage may take of the machine or cluster; never changes what is computed."""

    num_cpus: float = Field(1.0, gt=0, description="CPUs a task or actor")
    num_gpus: float = Field(0.0, ge=0, description="GPUs a task or actor; fractions share one GPU")
    min_size: int = Field(1, ge=1, description="actors kept at least")
    max_size: int | None = Field(None, ge=1, description="tasks or actors at most; null = what the CPUs (GPUs) hold")


class Resources(Section):
    """A pool a stage."""

    cpus: int | None = Field(None, ge=1, description="CPUs of a Ray started on this machine; null = all of its cores")
    object_store_gib: float = Field(2.0, gt=0.07, description="GiB of shared memory of a Ray started on this machine")
    extract: Pool = Pool()
    detect: Pool = Pool()
    embed: Pool = Pool()
    analyze: Pool = Pool()
    score: Pool = Pool()
    train: Pool = Pool()
    wait_minutes: float = Field(
        30.0, gt=0, description="minutes without any progress, as while no node can hold a stage, after which a job is given up"
    )
    videos_per_task: int = Field(4, ge=1, le=10_000, description="videos a task works through; bounds what it holds")
    videos_per_file: int = Field(64, ge=1, le=100_000, description="rows of a Parquet file; work a crash can lose")
