"""Which data set a corpus is: the layouts that are known, tried in a fixed order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from dfd_ray.corpus import celeb_df, class_folders, dfdc_preview, dfdc_test, faceforensics, fakeavceleb
from dfd_ray.corpus.data_set import DataSet, Tree, describe_place, key_of, list_folders
from dfd_ray.corpus.label_files import find_candidates, is_about_videos, match_rows
from dfd_ray.corpus.records import read_records
from dfd_ray.corpus.spellings import Spellings
from dfd_ray.corpus.wording import show
from dfd_ray.errors import CorpusError
from dfd_ray.store.storage import join

LEVELS = 5
"""Folders above the corpus in which a data set is looked for that the corpus is only a part of."""
TABLES = "--set index.layout=none reads tables of labels, or takes bare videos"


class Layout(NamedTuple):
    """A data set's layout: its name in `index.layout`, what people call it, what makes it known, and how it is read."""

    setting: str
    name: str
    needs: str
    parts: frozenset[str]
    """Names of folders in it, as `key_of` gives them."""
    find: Callable[[Tree], str | None]
    """Returns the folder that holds it, None if it is not there."""
    read: Callable[[Tree, str], DataSet]


CLASS_FOLDERS = Layout(
    "class_folders",
    class_folders.NAME,
    "folders real and fake, or original and manipulated, or 0 and 1, side by side",
    class_folders.PARTS,
    class_folders.find,
    class_folders.read,
)
DATA_SETS = (
    Layout(
        "faceforensics",
        faceforensics.NAME,
        "original_sequences/ and manipulated_sequences/, or a folder of a method with videos such as 000_003.mp4",
        faceforensics.PARTS,
        faceforensics.find,
        faceforensics.read,
    ),
    Layout(
        "celeb_df",
        celeb_df.NAME,
        "folders Celeb-real and Celeb-synthesis",
        celeb_df.PARTS,
        celeb_df.find,
        celeb_df.read,
    ),
    Layout(
        "dfdc_preview",
        dfdc_preview.NAME,
        "a dataset.json with target_id and swapped_id",
        dfdc_preview.PARTS,
        dfdc_preview.find,
        dfdc_preview.read,
    ),
    Layout(
        "fakeavceleb",
        fakeavceleb.NAME,
        "folders such as RealVideo-RealAudio and FakeVideo-FakeAudio",
        fakeavceleb.PARTS,
        fakeavceleb.find,
        fakeavceleb.read,
    ),
)


def read_data_set(tree: Tree, setting: str) -> DataSet | None:
    """Return the data set that a corpus is, or the one that `index.layout` names; None if it is none that is known.

    CorpusError, one line, if it is two, a part of one, holds also videos that a table of labels names, or is not the one that
    the setting names. Tables that are not read are told in the notes.
    """
    if setting == "auto":
        found = [(layout, folder) for layout in DATA_SETS if (folder := layout.find(tree)) is not None]
        if len(found) > 1:
            said = " and ".join(f"{layout.name}{describe_place(folder)}" for layout, folder in found)
            raise CorpusError(
                f"--corpus {tree.corpus}: it holds {said}; --corpus is one of them, "
                f"or --set index.layout={found[0][0].setting} takes that one alone"
            )
    else:
        asked = [layout for layout in (*DATA_SETS, CLASS_FOLDERS) if layout.setting == setting]
        found = [(layout, folder) for layout in asked if (folder := layout.find(tree)) is not None]
        if asked and not found:
            raise CorpusError(f"index.layout = {setting}: {tree.corpus} holds no {asked[0].name}, which has {asked[0].needs}")
    if not found:
        return None
    layout, folder = found[0]
    data_set = layout.read(tree, folder)
    if len({entry.label for entry in data_set.entries}) == 1 and setting == "auto":
        refuse_part(tree.corpus)
    tables = list_tables(tree, data_set)
    if setting == "auto":
        refuse_two(tree, layout, data_set, tables)
    notes = [*data_set.notes, *describe_tables(data_set, tables)]
    return replace(data_set, notes=notes, lists=data_set.lists | set(tables))


def read_class_folders(tree: Tree) -> tuple[DataSet | None, list[str]]:
    """Return the videos in class folders, None if there are none, and a note on one without its other half.

    CorpusError if they are beside a data set without its labels.
    """
    dfdc_preview.refuse_without_table(tree)
    folder = class_folders.find(tree)
    if folder is not None:
        return class_folders.read(tree, folder), []
    return None, class_folders.describe_lone(tree)


def list_tables(tree: Tree, data_set: DataSet) -> list[str]:
    """Return the tables that may hold labels and that are not the data set's own."""
    candidates, _, _ = find_candidates([*tree.videos, *tree.others])
    return [path for path in candidates if path not in data_set.lists]


def describe_tables(data_set: DataSet, tables: list[str]) -> list[str]:
    """Return a note on the tables that are not read, since the data set says the labels."""
    if not tables:
        return []
    more = f" (and {len(tables) - 1} more)" if len(tables) > 1 else ""
    return [f"labels are those of {data_set.name}; {show(tables[0])}{more} is not read: {TABLES}"]


def refuse_two(tree: Tree, layout: Layout, data_set: DataSet, tables: list[str]) -> None:
    """Raise CorpusError if other videos have labels, from a table or class folders: then there are two layouts."""
    known = {entry.video_id for entry in data_set.entries} | data_set.aside
    left = replace(tree, videos=[path for path in tree.videos if path not in known])

    def holds(folder: str) -> bool:
        return any(path.startswith(f"{folder}/") for path in known)

    # Of a pair of class folders beside a data set, one may be called as a folder of that, and the other not.
    apart = [pair.above for pair in class_folders.find_pairs(tree) if not all(map(holds, class_folders.pair_paths(pair)))]
    folder = next(iter(apart), class_folders.find(left))
    if folder is not None:
        raise CorpusError(
            f"--corpus {tree.corpus}: it holds {layout.name} and class folders of other videos{describe_place(folder)}; "
            f"--corpus is one of them, or --set index.layout={layout.setting} takes {layout.name} alone"
        )
    spellings = Spellings([*tree.videos, *tree.others] if tables else [])
    for path in tables:
        others = [video for video in list_labelled(tree, path, spellings) if video not in known]
        if others := [one for one in others if not layout.parts & set(map(key_of, one.split("/")))]:
            raise CorpusError(
                f"--corpus {tree.corpus}: it holds {layout.name}, and {show(path)} has labels of other videos, such as "
                f"{show(others[0])}; --corpus is one of them, or --set index.layout={layout.setting} takes {layout.name} alone"
            )


def list_labelled(tree: Tree, path: str, spellings: Spellings) -> list[str]:
    """Return the videos that a table has labels of; none if it cannot be read or has no labels."""
    try:
        records = read_records(join(tree.corpus, path))
    except CorpusError:
        return []
    table = records and match_rows(tree.corpus, path, records, spellings, alone=False)
    return [one for found in table.found for one in found] if table and is_about_videos(table) else []


def refuse_incomplete(tree: Tree) -> None:
    """Raise CorpusError if bare videos are only a part of a data set, whose labels are above."""
    dfdc_test.refuse_part(tree.corpus)
    refuse_part(tree.corpus)


def refuse_part(corpus: str) -> None:
    """Raise CorpusError if the corpus is only a part of a data set, which is in a folder above."""
    folders = corpus.rstrip("/").split("/")
    for number in range(len(folders) - 1, max(len(folders) - 1 - LEVELS, 0), -1):
        name, above = folders[number], "/".join(folders[:number])
        for layout in DATA_SETS:
            if key_of(name) in layout.parts and len(list_folders(above) & layout.parts) > 1:
                raise CorpusError(
                    f"--corpus {corpus}: it is only a part of {layout.name}; --corpus is {above}. "
                    "--set index.layout=none takes the part, without labels"
                )
