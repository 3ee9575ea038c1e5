"""People by vectors of a face-recognition network: groups of videos that show the same person become one group."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.cluster.hierarchy import DisjointSet

from dfd_ray.analysis.identity import number_people
from dfd_ray.arrays import Float32Array
from dfd_ray.errors import CorpusError, RunError
from dfd_ray.store.storage import describe_storage_error, open_location
from dfd_ray.store.tables import open_file


def join_people(video_ids: list[str], groups: list[str], location: str, same_person: float) -> tuple[list[str], str]:
    """Return each video's group (n,) after joining those that show the same person, and a remark on the result.

    `video_ids` and `groups` (n,) are of the same videos. The Parquet file has the columns `video_id` and `vector`, with a row
    for each face or each person of a video. Two vectors are of the same person if their cosine is `same_person` or more, or
    if a chain of such pairs joins them. Videos without a row keep their group; rows of other videos are ignored. Raises
    CorpusError, one line, if the file cannot be used.
    """
    group_of = dict(zip(video_ids, groups, strict=True))
    names, vectors = read_people(location)
    ours = np.array([name in group_of for name in names])
    if not ours.any():
        raise CorpusError(f"index.people = {location}: no video of it is in the corpus; it has names such as '{names[0]}'")
    shown = [name for name in names if name in group_of]
    links = DisjointSet(groups)
    first: dict[int, str] = {}
    for person, name in zip(number_people(vectors[ours], same_person).tolist(), shown, strict=True):
        links.merge(first.setdefault(person, group_of[name]), group_of[name])
    joined = {member: min(subset) for subset in links.subsets() for member in subset}
    result = [joined[group] for group in groups]
    largest = Counter(result).most_common(1)[0][1]
    return result, (
        f"{len(set(shown))} of {len(groups)} videos have a vector in {location}: of {len(set(groups))} groups "
        f"{len(set(result))} are left, the largest of {largest} videos"
    )


def read_people(location: str) -> tuple[list[str], Float32Array]:
    """Return the names (n,) and vectors (n, d) of the file; CorpusError unless the vectors are finite and not zero."""
    filesystem, path = open_location(location)
    try:
        with open_file(path, filesystem) as file:
            table = file.read(columns=["video_id", "vector"])
        names = table.column("video_id").cast(pa.string()).to_pylist()
        column = table.column("vector").combine_chunks()
        lengths = pc.list_value_length(column).unique().to_pylist()
        values = pc.list_flatten(column).cast(pa.float32())
    except FileNotFoundError:
        raise CorpusError(f"index.people = {location}: there is no such file") from None
    except (OSError, RunError) as error:
        raise CorpusError(f"index.people = {location}: {describe_storage_error(error)}") from None
    except (KeyError, ValueError, pa.ArrowException) as error:
        said = " ".join(str(error).split())
        raise CorpusError(f"index.people = {location}: expected Parquet with the columns video_id and vector: {said}") from None
    if None in names:
        raise CorpusError(f"index.people = {location}: a row names no video")
    if len(lengths) != 1 or not lengths[0]:
        raise CorpusError(f"index.people = {location}: expected vectors of one length, got lengths {lengths[:5]}")
    vectors = values.to_numpy(zero_copy_only=False).reshape(-1, lengths[0])
    unfit = np.flatnonzero(~np.isfinite(vectors).all(axis=1) | ~vectors.any(axis=1))
    if len(unfit):
        raise CorpusError(f"index.people = {location}: a vector of '{names[unfit[0]]}' is zero, or holds NaN or infinity")
    return names, vectors
