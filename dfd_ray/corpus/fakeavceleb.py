"""FakeAVCeleb: videos of which the picture, the voice, both or neither is fake. The picture alone is judged."""

from __future__ import annotations

import csv
import io
import posixpath
import re
from dataclasses import dataclass

from dfd_ray.corpus.cells import is_nothing
from dfd_ray.corpus.data_set import (
    DataSet,
    Tree,
    describe_one_label,
    describe_place,
    find_holder,
    place_videos,
    split_of,
    stem_of,
)
from dfd_ray.corpus.listing import VIDEO_SUFFIXES, Entry
from dfd_ray.corpus.records import read_text
from dfd_ray.corpus.spellings import clean_path
from dfd_ray.corpus.wording import count_of, show
from dfd_ray.errors import CorpusError
from dfd_ray.store.storage import join

NAME = "FakeAVCeleb"
CATEGORY = re.compile(r"(real|fake)video[-_ ]?(real|fake)audio", re.IGNORECASE)
PARTS = frozenset(f"{picture}video-{voice}audio" for picture in ("real", "fake") for voice in ("real", "fake"))
TABLE = "meta_data.csv"
PERSON = re.compile(r"id\d+", re.IGNORECASE)
NEEDED = ("source", "target1", "target2", "method")

Key = tuple[str, str, str]
"""Category, the folder that the video is in, and its name without suffix; in lower case."""


@dataclass(frozen=True, slots=True)
class Row:
    """What the table says of a video: its name there, whose it is, whose face or voice was put in, and how."""

    name: str
    people: tuple[str, ...]
    method: str | None


def find(tree: Tree) -> str | None:
    """Return the folder that holds the data set, None if no folder is called as one of its categories."""
    return find_holder(place_videos(tree, key_of_path), lambda folder: CATEGORY.fullmatch(folder) is not None)


def read(tree: Tree, folder: str) -> DataSet:
    """Return the videos with the label of their pictures and their people; CorpusError for a table that cannot be right."""
    placed = place_videos(tree, key_of_path)
    tables = [path for path in tree.others if posixpath.basename(path).casefold() == TABLE]
    read_tables = [read_table(join(tree.corpus, path)) for path in tables]
    rows = {key: row for found, _ in read_tables for key, row in found.items()}
    nameless = [line for _, lines in read_tables for line in lines]
    entries = [make_entry(path, key, rows.get(key)) for path, key in placed.items()]
    notes = describe_one_label(NAME, entries)
    if nameless:
        notes.append(f"{TABLE}: rows that name no video: {len(nameless)}, such as {show(nameless[0])}")
    known = set(placed.values())
    if absent := [row.name for key, row in rows.items() if key not in known]:
        notes.append(
            f"{TABLE} names {len(absent)} of {count_of(len(rows), 'video')} that are not there, such as {show(absent[0])}"
        )
    unnamed = [path for path, key in placed.items() if key not in rows]
    if rows and unnamed:
        notes.append(
            f"{TABLE} does not name {len(unnamed)} of {count_of(len(placed), 'video')}, such as {show(unnamed[0])}: "
            "their labels and people are from folders and names"
        )
    said = f"{NAME}{describe_place(folder)}"
    if voices := sum(key[0] == "realvideo-fakeaudio" for key in placed.values()):
        said += (
            f"; {count_of(voices, 'video')} of RealVideo-FakeAudio {'is' if voices == 1 else 'are'} REAL: the picture is judged"
        )
    return DataSet(NAME, entries, said if tables else f"{said}; without {TABLE}", notes, frozenset(tables))


def key_of_path(path: str) -> Key | None:
    """Return what a video is known by, None if it is in no folder of a category; the innermost says what it is."""
    folders = path.split("/")[:-1]
    match = next((match for match in map(CATEGORY.fullmatch, reversed(folders)) if match), None)
    if match is None:
        return None
    above = [one for one in folders if one.casefold() != "videos"]
    return f"{match[1]}video-{match[2]}audio".casefold(), above[-1].casefold(), stem_of(path).casefold()


def make_entry(path: str, key: Key, row: Row | None) -> Entry:
    """Return a video as an entry: `FakeVideo` is a FAKE picture, `RealVideo` a REAL one, whatever its voice."""
    fake = key[0].startswith("fake")
    people = (row.people if row else ()) or tuple(dict.fromkeys(PERSON.findall(path)))
    return Entry(
        path,
        posixpath.dirname(path) or None,
        label="FAKE" if fake else "REAL",
        people=people,
        swapped=people[1:],
        split=split_of(path),
        method=row.method if row and fake else None,
    )


def read_table(location: str) -> tuple[dict[Key, Row], list[str]]:
    """Return the rows of the table by video, and those that name none; CorpusError if it is no such table.

    Its header calls the file's name `path` and the folder nothing, or has no name for the folder at all. So the two are known
    by what they look like. A video may be there twice, with two methods: its first row counts.
    """
    text = read_text(location)
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if any(line)]
    except csv.Error as error:
        raise CorpusError(f"{location}: {error}; expected CSV") from None
    header = [name.strip().casefold() for name in lines[0]] if lines else []
    if not set(NEEDED) <= set(header):
        raise CorpusError(f"{location}: its columns are {show(','.join(header))}; expected {', '.join(NEEDED)}")
    rows, nameless = dict[Key, Row](), list[str]()
    for line in lines[1:]:
        cells = [cell.strip() for cell in line]
        said = dict(zip(header, cells, strict=False))
        name = next((cell for cell in reversed(cells) if cell.casefold().endswith(VIDEO_SUFFIXES)), "")
        folders = [cell for cell in cells if cell != name and any(map(CATEGORY.fullmatch, parts_of(cell)[:-1]))]
        path = clean_path("/".join([*(folders[:1] or [said.get("type", ""), said.get("source", "")]), name]))
        key = key_of_path(path or "")
        if name and path is not None and key is not None:
            rows.setdefault(key, make_row(path, said))
        else:
            nameless.append(",".join(line))
    return rows, nameless


def make_row(path: str, cells: dict[str, str]) -> Row:
    """Return what the cells of a row say; `target2` holds a number as often as a person."""
    named = [cells.get(column, "") for column in ("source", "target1", "target2")]
    people = [name for name in named if not is_nothing(name) and not name.isdecimal()]
    method = cells.get("method", "")
    return Row(path, tuple(dict.fromkeys(people)), None if is_nothing(method) else method)


def parts_of(cell: str) -> list[str]:
    """Return the parts of a path in a cell."""
    return cell.replace("\\", "/").split("/")
