from __future__ import annotations

import json
import re
import time
import urllib.request
from pathlib import Path

import pytest

from dfd_ray.errors import Reason
from dfd_ray.runtime import telemetry
from dfd_ray.runtime.telemetry import format_error, observe, observe_left

PROJECT = Path(__file__).parents[2]
DASHBOARD = PROJECT / "deploy" / "grafana.json"
ROWS = [
    {"video_id": "part/a.mp4", "status": "ok", "error": None},
    {"video_id": 'part/"b".mp4', "status": "error", "error_stage": "open", "error": f"{Reason.EMPTY}: no bytes"},
]
OF_RAY = {
    "ray_data_operator_queued_blocks",
    "ray_node_cpu_utilization",
    "ray_node_gpus_utilization",
    "ray_object_store_memory",
}
TAGS_OF_RAY = {"le", "instance", "operator"}


def expressions() -> list[str]:
    return [target["expr"] for panel in json.loads(DASHBOARD.read_text())["panels"] for target in panel["targets"]]


def test_the_dashboard_names_the_metrics_that_there_are() -> None:
    ours = {f"ray_{name}_total" for name in (telemetry.VIDEOS, telemetry.ERRORS, telemetry.BUSY)}
    ours |= {f"ray_{telemetry.DURATION}_bucket", f"ray_{telemetry.LEFT}"}
    assert set(re.findall(r"ray_\w+", " ".join(expressions()))) == ours | OF_RAY


def test_the_dashboard_groups_by_tags_that_there_are() -> None:
    tags = {tag for metric in telemetry.create_metrics().values() for tag in metric.info["tag_keys"]}
    named = {tag.strip() for groups in re.findall(r"by \(([^)]*)\)", " ".join(expressions())) for tag in groups.split(",")}
    assert named - TAGS_OF_RAY == tags - {"status"}


def test_videos_left_have_the_label_of_those_done() -> None:
    rooms = [PROJECT / "dfd_ray" / room for room in ("pipelines", "stages")]
    source = "".join(path.read_text(encoding="utf-8") for room in rooms for path in room.glob("*.py"))
    assert set(telemetry.COUNTING_STAGE) == set(re.findall(r'fill_table\("(\w+)"', source))
    assert set(telemetry.COUNTING_STAGE.values()) == set(re.findall(r'observe\("(\w+)"', source))


def test_an_error_is_a_line_of_json_with_its_video(capfd: pytest.CaptureFixture[str], ray: None) -> None:
    observe("preprocess", ROWS, 2.0)
    [line] = [line for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    facts = json.loads(line)
    assert facts.pop("time") == pytest.approx(time.time(), abs=60)
    assert facts == {
        "stage": "preprocess",
        "video_id": 'part/"b".mp4',
        "reason": "empty",
        "error_stage": "open",
        "error": "empty: no bytes",
    }


def test_an_error_with_line_breaks_stays_one_line() -> None:
    line = format_error("preprocess", {"video_id": "a\nb", "error": "detector: one\ntwo"})
    assert "\n" not in line


@pytest.mark.slow
def test_prometheus_finds_them_on_a_node(ray: None) -> None:
    import ray as ray_module

    @ray_module.remote(num_cpus=0.1)
    def work() -> None:
        observe("preprocess", ROWS, 2.0)
        observe_left("preprocess", 7)
        time.sleep(100)  # a worker that ends at once has told nobody yet; on a busy machine it takes a while

    done = work.remote()
    node = ray_module.nodes()[0]
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    # Other tests on the same Ray show the names, too: the values are this one's.
    wanted = [rf"^{name}\{{" for name in set(re.findall(r"ray_dfd_\w+", " ".join(expressions())))]
    wanted += [r'ray_dfd_errors_total\{.*reason="empty".*stage="preprocess".*\} [1-9]']
    wanted += [r'ray_dfd_videos_left\{.*stage="preprocess".*\} 7']
    deadline = time.monotonic() + 90
    while True:
        with urllib.request.urlopen(address, timeout=30) as answer:
            text = answer.read().decode()
        missing = [one for one in wanted if not re.search(one, text, re.MULTILINE)]
        if not missing:
            break
        assert time.monotonic() < deadline, (missing, text[:2000])
        time.sleep(1)
    ray_module.cancel(done, force=True)
