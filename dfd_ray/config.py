"""One typed model of a run: every setting of every job, with its unit, range, default and meaning.

A configuration is read from YAML (`safe_load`), then changed by `--set section.field=value`, then frozen. Unknown or
wrong fields are refused in one line. What the tables carry in their metadata, and what a resumed job is compared with,
is `Config.content(table)`: the settings that change what a table contains, and nothing else (no paths, no resources).
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from dfd_ray.errors import ConfigurationError
from dfd_ray.sections import NOT_CONTENT, Section, Train

Device = Literal["auto", "cpu", "cuda"]


class Index(Section):
    """Which videos there are, and into which folds they fall."""

    folds: int = Field(5, ge=2, le=100, description="cross-validation folds; groups of linked videos are never split")
    seed: int = Field(0, ge=0, description="seed of the assignment to folds")
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


class Embed(Section):
    """Which network turns a face into a vector."""

    backbone: str = Field("tf_efficientnet_b7", description="any timm model name")
    weights: str = Field("auto", description="auto | package | hub | random | path of a .safetensors or .pth file")
    image_size: int | None = Field(None, ge=32, le=1024, description="pixels; null = the backbone's own input size")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto = bf16 where it is native and close to fp32")
    batch_size: int = Field(8, ge=1, le=4096, description="faces; a CPU embeds two at a time", json_schema_extra=NOT_CONTENT)


class Analyze(Section):
    """How the embeddings are mapped and clustered."""

    components: int = Field(50, ge=2, le=2560, description="principal components kept; t-SNE and HDBSCAN work on them")
    whiten: bool = Field(False, description="scale every principal component to unit variance")
    dimensions: Literal[2, 3] = Field(3, description="of the t-SNE map")
    perplexity: float = Field(50.0, ge=2, le=500, description="t-SNE's effective number of neighbours")
    iterations: int = Field(750, ge=10, le=10_000, description="of t-SNE")
    min_cluster_size: int = Field(15, ge=2, description="faces; smaller groups are noise to HDBSCAN")
    min_samples: int | None = Field(None, ge=1, description="HDBSCAN's density neighbours; null = min_cluster_size")
    thumbnail_size: int = Field(64, ge=16, le=256, description="pixels; of the face shown in the map")
    seed: int = Field(0, ge=0, description="seed of t-SNE")
    device: Device = Field("auto", description="where t-SNE and HDBSCAN run: cuML on cuda, CPU libraries on cpu")


class Evaluate(Section):
    """How faces become the probability of a video, and how that is scored."""

    aggregation: Literal["mean", "mean_logit", "confident"] = Field("mean", description="of face scores into one per video")
    calibrate: bool = Field(True, description="Platt scaling fitted on the other folds")
    clip: float = Field(0.01, ge=0, lt=0.5, description="probabilities are clipped to [clip, 1 - clip]")
    bootstrap: int = Field(1000, ge=0, le=100_000, description="replicates behind the 95 % intervals; groups are resampled")
    seed: int = Field(0, ge=0, description="of the bootstrap")


class Predict(Section):
    """How new videos are scored."""

    fallback_probability: float = Field(0.5, ge=0, le=1, description="given to a video that is broken or shows no face")
    prior: float | None = Field(
        0.5, gt=0, lt=1, description="share of FAKE expected among new videos; null = as among the calibrating ones"
    )


class Report(Section):
    """What the page shows, so that it stays small for a run of any size."""

    max_points: int = Field(5000, ge=10, le=50_000, description="points drawn in a scatter, sampled evenly by cluster")
    sample_videos: int = Field(12, ge=0, le=100, description="videos whose faces are shown with their boxes")
    max_rows: int = Field(2000, ge=1, le=20_000, description="rows of the table of predictions")
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
    videos_per_task: int = Field(4, ge=1, le=10_000, description="videos a task works through; bounds what it holds")
    videos_per_file: int = Field(64, ge=1, le=100_000, description="rows of a Parquet file; work a crash can lose")


class Config(Section):
    """A whole run."""

    corpus: str | None = Field(None, description="folder of videos, a path or an s3:// or gs:// URI")
    run: str | None = Field(None, description="folder of the run's tables, a path or an s3:// or gs:// URI")
    index: Index = Index()
    preprocess: Preprocess = Preprocess()
    embed: Embed = Embed()
    analyze: Analyze = Analyze()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    predict: Predict = Predict()
    report: Report = Report()
    resources: Resources = Resources()

    def content(self, table: str) -> dict[str, Any]:
        """Return the settings that change what `table` contains, as `{"section.field": value}`."""
        return {
            f"{section}.{name}": _jsonable(getattr(getattr(self, section), name))
            for section in LINEAGE[table]
            for name, field in type(getattr(self, section)).model_fields.items()
            if field.json_schema_extra != NOT_CONTENT
        }

    def fingerprint(self, table: str) -> str:
        """Return 16 hexadecimal digits that change when, and only when, `content(table)` does."""
        return hashlib.sha256(json.dumps(self.content(table), sort_keys=True).encode()).hexdigest()[:16]

    def to_yaml(self) -> str:
        """Return the whole resolved configuration as YAML that `load_config` reads back unchanged."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


LINEAGE: dict[str, tuple[str, ...]] = {
    "manifest": ("index",),
    "faces": ("index", "preprocess"),
    "embeddings": ("index", "preprocess", "embed"),
    "projection": ("index", "preprocess", "embed", "analyze"),
    "models": ("index", "preprocess", "train"),
    "scores": ("index", "preprocess", "train"),
    "predictions": ("index", "preprocess", "train", "evaluate"),
}
"""The sections each table's content depends on: its own and those of the tables it is made from."""


def load_config(path: str | Path | None = None, assignments: Iterable[str] = (), **overrides: Any) -> Config:
    """Read a configuration from a YAML file, apply `section.field=value` assignments, then top-level overrides.

    Overrides that are None are ignored. Raises ConfigurationError, one line, on anything that is not a valid field.
    """
    try:
        text = Path(path).read_text(encoding="utf-8") if path is not None else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--config {path}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from None
    return parse_config(text, str(path), assignments, **overrides)


def parse_config(text: str, source: str, assignments: Iterable[str] = (), **overrides: Any) -> Config:
    """Do as `load_config` does, with the YAML itself; `source` names it in errors."""
    values = _parse_yaml(text, source)
    for assignment in assignments:
        _assign(values, assignment)
    values.update({name: value for name, value in overrides.items() if value is not None})
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError(_explain(error)) from None


def describe_fields(section: str) -> Iterator[tuple[str, str, str]]:
    """Yield `(section.field, default, meaning)` for every field of a section, `resources.extract.num_cpus` included."""
    yield from _describe(Config.model_fields[section].annotation, section, Config.model_fields[section].default)


def _describe(model: Any, prefix: str, default: Section) -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        value = getattr(default, name)
        if isinstance(value, Section):
            yield from _describe(type(value), f"{prefix}.{name}", value)
        else:
            yield f"{prefix}.{name}", json.dumps(_jsonable(value)), field.description or ""


def _parse_yaml(text: str, source: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{source}: not YAML: {' '.join(str(error).split())}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigurationError(f"{source}: expected sections such as 'preprocess:', got a {type(values).__name__}")
    return values


def _assign(values: dict[str, Any], assignment: str) -> None:
    key, separator, text = assignment.partition("=")
    if not separator or not key:
        raise ConfigurationError(f"--set {assignment}: expected section.field=value")
    *sections, field = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ConfigurationError(f"--set {assignment}: '{section}' is not a section")
    try:
        values[field] = yaml.safe_load(text)
    except yaml.YAMLError:
        values[field] = text


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown field '{name}'{_suggest([str(part) for part in first['loc']])}"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    message = first["msg"][0].lower() + first["msg"][1:]
    return f"{name} = {first['input']!r}: {message}{more}"


def _suggest(location: list[str]) -> str:
    model: Any = Config
    for part in location[:-1]:
        model = type(model.model_fields[part].default)
    names = list(model.model_fields)
    close = difflib.get_close_matches(location[-1], names, n=1, cutoff=0.5)
    return f"; did you mean '{'.'.join([*location[:-1], close[0]])}'?" if close else f"; known: {', '.join(names)}"


def _jsonable(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
