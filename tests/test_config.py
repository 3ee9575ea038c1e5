from __future__ import annotations

import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dfd_ray.config import LINEAGE, Config, describe_fields, load_config, parse_config
from dfd_ray.errors import ConfigurationError
from dfd_ray.models.backbones import check_name
from dfd_ray.sections import NOT_CONTENT, Section

PROJECT = Path(__file__).parent.parent
CONFIGS = sorted((PROJECT / "configs").glob("*.yaml"))
LEFT_OUT = {
    "video_deadline",
    "decoder_memory_gib",
    "follow_links",
    "batch_size",
    "checkpoint_minutes",
    "tensorboard",
    "mlflow",
    "explain",
}
"""Fields that may be marked NOT_CONTENT: each changes how long or how parallel, never what."""

OTHER_VALUES: dict[str, Any] = {
    "index.folds": 3,
    "index.seed": 1,
    "index.extra_real": "more",
    "index.people": "people.parquet",
    "index.same_person": 0.6,
    "index.missing_files": "keep",
    "index.layout": "none",
    "index.join_people": "all",
    "preprocess.frames_real": 41,
    "preprocess.frames_fake": 9,
    "preprocess.frames_unlabelled": 17,
    "preprocess.margin": 0.5,
    "preprocess.crop_size": 256,
    "preprocess.jpeg_quality": 94,
    "preprocess.smallest_face": 0.1,
    "preprocess.search_every": 3,
    "preprocess.min_probability": 0.8,
    "preprocess.faces_per_frame": 1,
    "preprocess.max_pixels": 1000,
    "preprocess.max_packets": 1000,
    "preprocess.containers": ["mp4"],
    "preprocess.video_deadline": 1.5,
    "preprocess.decoder_memory_gib": 1.5,
    "preprocess.follow_links": True,
    "embed.backbone": "resnet18",
    "embed.weights": "random",
    "embed.image_size": 64,
    "embed.precision": "bf16",
    "embed.batch_size": 3,
    "analyze.components": 3,
    "analyze.whiten": True,
    "analyze.dimensions": 2,
    "analyze.perplexity": 10.0,
    "analyze.iterations": 11,
    "analyze.min_cluster_size": 4,
    "analyze.min_samples": 2,
    "analyze.cluster_on": "tsne",
    "analyze.min_cluster_videos": 7,
    "analyze.thumbnail_size": 32,
    "analyze.seed": 5,
    "analyze.device": "cpu",
    "train.backbone": "resnet18",
    "train.weights": "random",
    "train.image_size": 64,
    "train.folds": [1],
    "train.epochs": 1,
    "train.batch_size": 3,
    "train.accumulate": 2,
    "train.optimiser": "sgd",
    "train.learning_rate": 0.001,
    "train.schedule": "polynomial",
    "train.warmup": 0.2,
    "train.weight_decay": 0.0,
    "train.clip_gradient": 1.0,
    "train.label_smoothing": 0.0,
    "train.dropout": 0.0,
    "train.frozen_layers": 2,
    "train.frozen_epochs": 1,
    "train.freeze_norm": True,
    "train.average": 0.9,
    "train.augmentation": "none",
    "train.balance": True,
    "train.self_blending": 0.5,
    "train.mixup": 0.5,
    "train.precision": "bf16",
    "train.seed": 5,
    "train.workers": 2,
    "train.checkpoint_minutes": 5.0,
    "train.tensorboard": True,
    "train.mlflow": "http://localhost:5000",
    "evaluate.aggregation": "confident",
    "evaluate.calibrate": False,
    "evaluate.clip": 0.02,
    "evaluate.bootstrap": 7,
    "evaluate.seed": 5,
    "evaluate.explain": 3,
}
"""A valid value, other than the default, of every field of the sections that tables depend on."""


def is_content(section: str, name: str) -> bool:
    return type(getattr(Config(), section)).model_fields[name].json_schema_extra != NOT_CONTENT


def all_sections(model: type[Section]) -> Iterator[type[Section]]:
    yield model
    for field in model.model_fields.values():
        if isinstance(field.default, Section):
            yield from all_sections(type(field.default))


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return path


def test_assignments_win_over_the_file_and_overrides_win_over_both(tmp_path: Path) -> None:
    path = write(tmp_path, "corpus: from-file\nrun: from-file\npreprocess: {margin: 0.5, crop_size: 200}\n")
    config = load_config(path, ["preprocess.margin=0.7", "run=from-set", "corpus=from-set"], corpus="given", run=None)
    assert config.preprocess.margin == 0.7
    assert config.preprocess.crop_size == 200
    assert config.preprocess.frames_real == 40
    assert (config.corpus, config.run) == ("given", "from-set")


def test_the_last_assignment_of_a_field_wins() -> None:
    assert load_config(None, ["index.folds=3", "index.folds=4"]).index.folds == 4


def test_no_file_gives_the_defaults() -> None:
    assert load_config() == Config()


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "# nothing yet\n")) == Config()


@pytest.mark.parametrize(
    ("assignment", "section", "field", "value"),
    [
        ("train.folds=[0, 2]", "train", "folds", (0, 2)),
        ("train.folds=null", "train", "folds", None),
        ("train.learning_rate=1e-4", "train", "learning_rate", 1e-4),
        ("analyze.whiten=true", "analyze", "whiten", True),
        ("embed.weights=/a/b=c.pth", "embed", "weights", "/a/b=c.pth"),
        ("preprocess.containers=[mp4, avi]", "preprocess", "containers", ("mp4", "avi")),
    ],
)
def test_an_assignment_is_read_as_yaml_and_typed(assignment: str, section: str, field: str, value: Any) -> None:
    assert getattr(getattr(load_config(None, [assignment]), section), field) == value


def test_an_assignment_reaches_two_levels_down() -> None:
    assert load_config(None, ["resources.detect.num_gpus=0.25"]).resources.detect.num_gpus == 0.25


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("preprocess: {margn: 0.5}", ["preprocess.margn", "did you mean 'preprocess.margin'"]),
        ("preproces: {margin: 0.5}", ["preproces", "did you mean 'preprocess'"]),
        ("predict: {zzz: 1}", ["predict.zzz", "known: fallback_probability, prior"]),
        ("resources: {detect: {num_gpu: 1}}", ["resources.detect.num_gpu", "resources.detect.num_gpus"]),
        ("preprocess: {margin: wide}", ["preprocess.margin", "'wide'", "number"]),
        ("preprocess: {margin: -0.1}", ["preprocess.margin", "-0.1", "greater than or equal to 0"]),
        ("preprocess: {margin: .nan}", ["preprocess.margin", "nan", "finite"]),
        ("preprocess: {crop_size: 239.5}", ["preprocess.crop_size", "239.5", "integer"]),
        ("preprocess: {jpeg_quality: 101}", ["preprocess.jpeg_quality", "101", "less than or equal to 100"]),
        ("embed: {precision: int4}", ["embed.precision", "'int4'", "'auto', 'fp32' or 'bf16'"]),
        ("analyze: {dimensions: 4}", ["analyze.dimensions", "4", "2 or 3"]),
        ("index: 5", ["index", "5"]),
        ("index: null", ["index", "None"]),
        ("train: {folds: zero}", ["train.folds", "'zero'"]),
        ("index: {folds: 1}\ntrain: {epochs: 0}", ["index.folds", "1", "and 1 more"]),
    ],
)
def test_a_wrong_field_is_refused_in_one_line_that_names_it(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_config(write(tmp_path, text))
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("assignment", ["preprocess.margin", "=3", "", "corpus.deep=1", "index.folds.x=1"])
def test_an_assignment_that_is_none_is_refused_in_one_line(tmp_path: Path, assignment: str) -> None:
    path = write(tmp_path, "corpus: here\nindex: {folds: 3}\n")
    with pytest.raises(ConfigurationError) as caught:
        load_config(path, [assignment])
    assert "--set" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[1, 2]", "just words", "a: b: c", "\t- {", "index: [\n"])
def test_a_file_that_is_no_mapping_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"run\.yaml") as caught:
        load_config(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"absent\.yaml: No such file"):
        load_config(tmp_path / "absent.yaml")


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(b"\xff\xfe\x80")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        load_config(path)


@pytest.mark.parametrize("where", ["file", "assignment"])
def test_a_python_tag_is_refused_and_runs_nothing(tmp_path: Path, where: str) -> None:
    canary = tmp_path / "canary"
    tag = f"!!python/object/apply:os.system ['touch {canary}']"
    with pytest.raises(ConfigurationError):
        if where == "file":
            load_config(write(tmp_path, f"embed: {{batch_size: {tag}}}\n"))
        else:
            load_config(None, [f"embed.batch_size={tag}"])
    assert not canary.exists()


@settings(deadline=None, derandomize=True)
@given(
    margin=st.floats(0, 4),
    rate=st.floats(0, 10, exclude_min=True),
    folds=st.none() | st.lists(st.integers(0, 99), max_size=4).map(tuple),
    weights=st.text(st.characters(codec="utf-8"), max_size=20),
    whiten=st.booleans(),
    corpus=st.none() | st.text(st.characters(codec="utf-8"), max_size=20),
)
def test_yaml_written_is_read_back_unchanged(
    margin: float, rate: float, folds: tuple[int, ...] | None, weights: str, whiten: bool, corpus: str | None
) -> None:
    config = Config.model_validate(
        {
            "corpus": corpus,
            "preprocess": {"margin": margin},
            "train": {"folds": folds, "learning_rate": rate},
            "embed": {"weights": weights},
            "analyze": {"whiten": whiten},
        }
    )
    again = parse_config(config.to_yaml(), "memory")
    assert again == config
    assert all(again.fingerprint(table) == config.fingerprint(table) for table in LINEAGE)


def test_the_yaml_written_names_every_field() -> None:
    written = yaml.safe_load(Config().to_yaml())
    assert set(written) == set(Config.model_fields)
    assert set(written["preprocess"]) == set(type(Config().preprocess).model_fields)


@pytest.mark.parametrize("section", [None, "preprocess", "resources"])
def test_a_configuration_cannot_be_changed(section: str | None) -> None:
    config = Config()
    model, field = (getattr(config, section), "margin" if section == "preprocess" else "cpus") if section else (config, "run")
    with pytest.raises(ValidationError, match="frozen"):
        setattr(model, field, 1)


def test_every_model_of_a_run_is_frozen_and_forbids_unknown_fields() -> None:
    for model in all_sections(Config):
        assert model.model_config["frozen"], model
        assert model.model_config["extra"] == "forbid", model


def test_the_other_values_below_cover_every_field_that_tables_depend_on() -> None:
    sections = {section for lineage in LINEAGE.values() for section in lineage}
    fields = {f"{section}.{name}" for section in sections for name in type(getattr(Config(), section)).model_fields}
    assert set(OTHER_VALUES) == fields


@pytest.mark.parametrize(
    ("table", "sections"),
    [
        ("manifest", {"index"}),
        ("faces", {"index", "preprocess"}),
        ("embeddings", {"index", "preprocess", "embed"}),
        ("projection", {"index", "preprocess", "embed", "analyze"}),
        ("models", {"index", "preprocess", "train"}),
        ("scores", {"index", "preprocess", "train"}),
        ("predictions", {"index", "preprocess", "train", "evaluate"}),
    ],
)
def test_a_table_depends_on_its_own_section_and_those_before_it(table: str, sections: set[str]) -> None:
    assert {field.split(".")[0] for field in Config().content(table)} == sections


@pytest.mark.parametrize("field", sorted(OTHER_VALUES))
def test_a_fingerprint_changes_when_and_only_when_a_content_field_of_the_table_does(field: str) -> None:
    section, name = field.split(".")
    before, after = Config(), Config.model_validate({section: {name: OTHER_VALUES[field]}})
    assert before != after
    for table, sections in LINEAGE.items():
        expected = section in sections and is_content(section, name)
        assert (before.fingerprint(table) != after.fingerprint(table)) == expected, table
        assert (field in before.content(table)) == expected, table


@pytest.mark.parametrize("table", sorted(LINEAGE))
@pytest.mark.parametrize(
    "values",
    [
        {"corpus": "elsewhere", "run": "s3://elsewhere"},
        {"resources": {"cpus": 3, "object_store_gib": 1.0, "videos_per_task": 9, "videos_per_file": 9}},
        {"resources": {"detect": {"num_cpus": 2, "num_gpus": 0.5, "min_size": 2, "max_size": 3}}},
        {"report": {"max_points": 10}},
        {"predict": {"fallback_probability": 0.4}},
    ],
)
def test_no_fingerprint_changes_with_paths_resources_or_the_page(table: str, values: dict[str, Any]) -> None:
    assert Config.model_validate(values).fingerprint(table) == Config().fingerprint(table)


@pytest.mark.parametrize("table", sorted(LINEAGE))
def test_a_fingerprint_is_sixteen_hexadecimal_digits(table: str) -> None:
    fingerprint = Config().fingerprint(table)
    assert len(fingerprint) == 16
    assert int(fingerprint, 16) >= 0


@settings(deadline=None, derandomize=True)
@given(st.permutations(["index", "preprocess", "embed", "analyze"]))
def test_a_fingerprint_does_not_depend_on_the_order_of_the_sections(order: list[str]) -> None:
    other = {section: {"seed": 3} if section in ("index", "analyze") else {} for section in order}
    reference = {section: other[section] for section in sorted(other)}
    assert Config.model_validate(other).fingerprint("projection") == Config.model_validate(reference).fingerprint("projection")


def test_only_known_fields_are_left_out_of_the_content() -> None:
    sections = {section for lineage in LINEAGE.values() for section in lineage}
    left_out = {
        name for section in sections for name in type(getattr(Config(), section)).model_fields if not is_content(section, name)
    }
    assert left_out == LEFT_OUT


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_a_configuration_that_is_shipped_loads_and_says_something(path: Path) -> None:
    assert load_config(path) != Config()


def test_the_readme_lists_the_configurations_that_are_shipped() -> None:
    assert [path.name for path in CONFIGS] == ["best.yaml", "demo.yaml", "dfdc.yaml", "local.yaml", "winner.yaml"]
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert all(f"(configs/{path.name})" in readme for path in CONFIGS)


def test_the_winner_s_recipe_asks_for_weights_that_there_are() -> None:
    config = load_config(PROJECT / "configs" / "winner.yaml")
    assert config.embed.backbone == config.train.backbone
    check_name(config.train.backbone)


def test_every_field_has_a_description() -> None:
    for model in all_sections(Config):
        for name, field in model.model_fields.items():
            if not isinstance(field.default, Section):
                assert field.description, f"{model.__name__}.{name}"


def test_the_described_fields_of_a_section_are_its_fields_with_their_defaults() -> None:
    described = {name: default for name, default, _ in describe_fields("preprocess")}
    assert set(described) == {f"preprocess.{name}" for name in type(Config().preprocess).model_fields}
    assert described["preprocess.frames_real"] == "40"
    assert "resources.detect.num_gpus" in {name for name, _, _ in describe_fields("resources")}
    meanings = {name: meaning for name, _, meaning in describe_fields("train")}
    assert meanings["train.augmentation"].startswith("none | report | best: ")


@pytest.mark.parametrize("section", ["index", "preprocess", "embed", "analyze", "train", "evaluate", "predict", "report"])
def test_a_number_has_bounds(section: str) -> None:
    for name, field in type(getattr(Config(), section)).model_fields.items():
        kinds = {field.annotation, *typing.get_args(field.annotation)}
        if kinds & {int, float} and typing.get_origin(field.annotation) not in (tuple, typing.Literal):
            assert field.metadata, f"{section}.{name}"
