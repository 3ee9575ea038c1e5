"""One typed model of a run: every setting of every job, with its unit, range, default and meaning.

A configuration is read from YAML (`safe_load`), then changed by `--set section.field=value`, then frozen. Unknown or
wrong fields are refused in one line. `Config.content(table)` is what a table carries in its metadata and what a resumed job
is compared with: the settings that change what the table contains, and nothing else, so neither where the run is nor what it
runs on. Of a file that a setting names, such as weights, the name counts here; `store/sources.py` compares the content.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, get_args, get_origin

import yaml
from pydantic import Field, ValidationError

from dfd_ray.errors import ConfigurationError
from dfd_ray.sections import (
    NOT_CONTENT,
    Analyze,
    Embed,
    Evaluate,
    Index,
    Predict,
    Preprocess,
    Report,
    Resources,
    Section,
    Train,
)


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

    def content(self, table: str) -> dict[str, object]:
        """Return the settings that change what `table` contains, as `{"section.field": value}`."""
        return {
            f"{section}.{name}": _to_json(getattr(getattr(self, section), name))
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


def load_config(path: str | Path | None = None, assignments: Iterable[str] = (), **overrides: str | None) -> Config:
    """Read a configuration from a YAML file, apply `section.field=value` assignments, then top-level overrides.

    Overrides that are None are ignored. Raises ConfigurationError, one line, on anything that is not a valid field.
    """
    try:
        text = Path(path).read_text(encoding="utf-8") if path is not None else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--config {path}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from None
    return parse_config(text, str(path), assignments, **overrides)


def parse_config(text: str, source: str, assignments: Iterable[str] = (), **overrides: str | None) -> Config:
    """Read a configuration as `load_config` does, from the YAML itself; `source` names it in errors."""
    values = _parse_yaml(text, source)
    for assignment in assignments:
        _assign(values, assignment)
    values.update({name: value for name, value in overrides.items() if value is not None})
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError(_explain(error)) from None


def has_field(name: str) -> bool:
    """Return whether there is a setting of this name, such as `preprocess.margin`."""
    section, _, field = name.partition(".")
    return section in Config.model_fields and field in type(Config.model_fields[section].default).model_fields


def describe_fields(section: str) -> Iterator[tuple[str, str, str]]:
    """Yield `(section.field, default, meaning)` for every field of a section, `resources.extract.num_cpus` included.

    The meaning of a field that takes one of a few values begins with them.
    """
    yield from _describe(section, Config.model_fields[section].default)


def _describe(prefix: str, defaults: Section) -> Iterator[tuple[str, str, str]]:
    for name, field in type(defaults).model_fields.items():
        value = getattr(defaults, name)
        if isinstance(value, Section):
            yield from _describe(f"{prefix}.{name}", value)
        else:
            choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
            one_of = f"{' | '.join(map(str, choices))}: " if choices else ""
            yield f"{prefix}.{name}", json.dumps(_to_json(value)), one_of + (field.description or "")


def _parse_yaml(text: str, source: str) -> dict[str, object]:
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{source}: not YAML: {' '.join(str(error).split())}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigurationError(f"{source}: expected sections such as 'preprocess:', got a {type(values).__name__}")
    return values


def _assign(values: dict[str, object], assignment: str) -> None:
    key, separator, text = assignment.partition("=")
    if not separator or not key:
        raise ConfigurationError(f"--set {assignment}: expected section.field=value")
    *sections, field = key.split(".")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigurationError(f"--set {assignment}: '{section}' is not a section")
        values = inner
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
    model: type[Section] = Config
    for part in location[:-1]:
        model = type(model.model_fields[part].default)
    names = list(model.model_fields)
    close = difflib.get_close_matches(location[-1], names, n=1, cutoff=0.5)
    return f"; did you mean '{'.'.join([*location[:-1], close[0]])}'?" if close else f"; known: {', '.join(names)}"


def _to_json(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
