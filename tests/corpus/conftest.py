"""Trees of files that are written for a test, and what `index` makes of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dfd_ray.config import load_config
from dfd_ray.corpus.manifest import build_manifest, read_videos
from dfd_ray.errors import DfdError


class Indexed(NamedTuple):
    """The rows of a manifest by id, the notes, and the layout in words."""

    rows: dict[str, dict[str, Any]]
    notes: list[str]
    layout: str

    def column(self, name: str) -> dict[str, Any]:
        return {video_id: row[name] for video_id, row in self.rows.items()}

    def notes_on(self, words: str) -> list[str]:
        return [note for note in self.notes if words in note]


@pytest.fixture
def plant(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes files: of bytes of their own, or with a text or JSON."""

    def write(*names: str, at: str = "corpus", **_: None) -> Path:
        root = tmp_path / at
        root.mkdir(parents=True, exist_ok=True)
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(name)
        return root

    return write


@pytest.fixture
def write_text() -> Callable[[Path, str, object], None]:
    """Return a function that writes a text, or anything else as JSON, under a name in a folder."""

    def write(root: Path, name: str, content: object) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")

    return write


@pytest.fixture
def index_tree() -> Callable[..., Indexed]:
    """Return a function that indexes a folder with changes of settings."""

    def index(root: Path, *changes: str) -> Indexed:
        config = load_config(None, changes)
        read = read_videos(str(root), config)
        manifest, notes = build_manifest(str(root), config, read=read)
        assert not [note for note in notes if "\n" in note]
        return Indexed({row["video_id"]: row for row in manifest.to_pylist()}, notes, read.layout)

    return index


@pytest.fixture
def refuse_tree(index_tree: Callable[..., Indexed]) -> Callable[..., str]:
    """Return a function that gives the line by which a folder is refused."""

    def refuse(root: Path, *changes: str) -> str:
        with pytest.raises(DfdError) as refused:
            index_tree(root, *changes)
        said = str(refused.value)
        assert "\n" not in said
        assert len(said) < 1000
        return said

    return refuse
