"""`preprocess` on a cluster that has no CPU when it starts: Ray's autoscaler brings nodes, and takes them away again."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.autoscaling import CPUS, autoscaling_cluster, watch
from dfd_ray.cli import main
from dfd_ray.store.tables import read_table

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster() -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="dfd-", dir="/tmp"))  # short: sockets in it may not exceed 107 characters
    try:
        with autoscaling_cluster(folder) as address:
            yield address
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_nodes_come_with_the_work_and_leave_when_it_is_done(cluster: str, small_corpus: Path, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    assert main(["index", "--run", run, "--corpus", str(small_corpus)]) == 0
    looks = watch(cluster, run)
    nodes = [one.nodes for one in looks]
    assert nodes[0] == 0
    assert max(nodes) >= 2
    assert nodes[-1] == 0
    assert max(one.busy for one in looks) > CPUS  # more than one node holds: the pool of actors has grown over them
    manifest, faces = (sorted(read_table(run, table, ["video_id"]).column(0).to_pylist()) for table in ("manifest", "faces"))
    assert faces == manifest
