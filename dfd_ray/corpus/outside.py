"""Tables in a folder whose names are found outside of it alone: told, or refused where that is another split."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from dfd_ray.corpus.data_set import SPLITS
from dfd_ray.corpus.label_files import LabelFile
from dfd_ray.corpus.spellings import clean_path, fold, remove_suffix
from dfd_ray.corpus.wording import count_of, show
from dfd_ray.errors import CorpusError
from dfd_ray.store.storage import join


def describe_outside(corpus: str, tables: list[LabelFile]) -> list[str]:
    """Return a note for each table whose names are found outside of its folder, and are no paths from the corpus.

    CorpusError, one line, if one is in a folder of another split than the video: many data sets number the videos of each
    split anew, so it is about videos that are not there.
    """
    notes = []
    for table in tables:
        outside = list(list_outside(table))
        for name, path in outside:
            ours, theirs = (splits_of(folder) for folder in (table.folder, posixpath.dirname(path)))
            if ours and theirs and not ours & theirs:
                raise CorpusError(
                    f"{join(corpus, table.path)}: {show(name)} is not in {show(table.folder)}, and {show(path)} is of another "
                    "split; move the table to the videos that it is about, or give their paths in the corpus"
                )
        if outside:
            name, path = outside[0]
            notes.append(
                f"{show(table.path)} names {count_of(len(outside), 'video')} outside of its folder, such as {show(path)} "
                f"by {show(name)}"
            )
    return notes


def list_outside(table: LabelFile) -> Iterator[tuple[str, str]]:
    """Yield each name of a table in a folder, with the video outside of that which it means, unless it is the path to that."""
    for name, found in zip(table.names, table.found, strict=True):
        cleaned = remove_suffix(fold(clean_path(name) or ""))
        for path in found:
            whole = "/" in cleaned and cleaned == remove_suffix(fold(path))
            if table.folder and not path.startswith(f"{table.folder}/") and not whole:
                yield name, path


def splits_of(folder: str) -> set[str]:
    """Return the splits that the words in a folder's path mean."""
    return {SPLITS[word] for word in re.findall(r"[a-z]+", folder.lower()) if word in SPLITS}
