from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.capacity import CORES, simulate
from dfd_ray.arguments import PLAN
from dfd_ray.cli import main
from dfd_ray.config import load_config
from dfd_ray.errors import ConfigurationError
from dfd_ray.pipelines.plan import COSTS, PLAIN, WIDE, make_plan, parse_measured

PROJECT = Path(__file__).parents[2]


def result(source: str, benchmark: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((PROJECT / source).read_text())[benchmark]
    return found


def test_every_cost_is_one_that_was_measured() -> None:
    rates = result(PLAIN, "preprocess")["frames_per_second_and_core"]
    assert isinstance(rates, dict)
    known = {("decode", ""): rates["decode"], ("detect", ""): rates["to_rgb, detect, crop, encode"]}
    backbones = result(WIDE, "embed")["backbones"]
    assert isinstance(backbones, dict)
    for name, facts in backbones.items():
        known |= {("embed", f"{name} {kind}"): facts["images_per_cpu_second"][kind] for kind in ("fp32", "bf16")}
    for cost in COSTS:
        assert (PROJECT / cost.source).is_file()
        assert cost.units_per_second == pytest.approx(known[cost.stage, cost.kind], rel=0.005), cost


def test_the_model_agrees_with_the_measured_run_through_ray() -> None:
    measured = result(PLAIN, "preprocess")
    videos, seconds = measured["videos"], measured["seconds"]
    assert isinstance(videos, dict)
    assert isinstance(seconds, dict)
    count = sum(videos.values())
    plan = make_plan(load_config(None, ["embed.backbone=tf_efficientnet_b0"]), count, videos["REAL"] / count, 2, 0, {})
    assert plan.shares[0].units == measured["frames"]
    hours, device = plan.hours_of("preprocess")
    assert device == "CPU"
    assert hours * 3600 == pytest.approx(seconds["ray"], rel=0.15)


def test_the_model_agrees_with_the_measured_embedding_through_ray() -> None:
    ray = result(WIDE, "embed")["ray"]
    assert isinstance(ray, dict)
    rates = ray["faces_per_second"]
    config = load_config(None, [f"embed.backbone={ray['backbone']}", f"embed.precision={ray['precision']}"])
    plan = make_plan(config, 1000, 0.5, 1, 0, {})
    assert plan.shares[2].units / plan.hours_of("embed")[0] / 3600 == pytest.approx(rates["ray"], rel=0.15)


def test_the_plan_and_a_simulation_are_held_to_clusters_of_one_to_four_nodes() -> None:
    measured = result(PLAIN, "capacity")
    results, cores = measured["results"], measured["cores"]
    assert isinstance(results, list)
    assert [one["nodes"] for one in results] == [1, 2, 3, 4]
    for one in results:
        seconds = one["seconds"]
        # Ray's own processes are not in the plan: with a core to spare they cost nothing, else what a small machine has least.
        most = 1.1 if one["nodes"] < cores else 1.6
        for name in ("plan", "simulated"):
            assert 0.9 <= seconds["measured"] / seconds[name] <= most, one


def test_a_simulation_parts_no_task() -> None:
    rows = [{"label": "FAKE"}] * 12
    alone = simulate(rows, 1, {"decode": 8.0}, videos_per_task=4)  # 8 frames a video
    assert alone == pytest.approx(12.0)
    assert simulate(rows, 2, {"decode": 8.0}, videos_per_task=4) == pytest.approx(8.0 / min(1.0, CORES / 2))


def test_twice_the_cores_are_half_the_hours_for_the_same_money() -> None:
    one, two = (make_plan(load_config(), 119154, 0.16, cpus, 0, {}) for cpus in (64, 128))
    assert one.hours == pytest.approx(2 * two.hours)
    assert one.cost(0.05, 0) == pytest.approx(two.cost(0.05, 0))


def test_a_gpu_takes_the_stages_that_were_measured_on_it_and_overlaps_with_decoding() -> None:
    plan = make_plan(load_config(), 1000, 0.16, 10, 2, {"detect": 500, "embed": 1000})
    assert {share.stage: share.device for share in plan.shares} == {"decode": "CPU", "detect": "GPU", "embed": "GPU"}
    decode, detect, _ = plan.shares
    assert plan.hours_of("preprocess") == (max(decode.device_hours / 10, detect.device_hours / 2), "CPU")


@pytest.mark.parametrize(
    ("gpus", "measured", "message"),
    [
        (1, {}, "no stage has been timed on a GPU yet"),
        (1, {"decode": 1.0}, "no stage has been timed on a GPU yet"),
        (0, {"decod": 1.0}, "known stages are decode, detect, embed"),
    ],
)
def test_what_was_not_measured_is_not_made_up(gpus: int, measured: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make_plan(load_config(), 1000, 0.16, 10, gpus, measured)


def test_a_backbone_that_was_not_timed_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match=r"embed by resnet50 fp32 has not been timed \(tf_efficientnet_b7 fp32"):
        make_plan(load_config(None, ["embed.backbone=resnet50"]), 1000, 0.16, 10, 0, {})


@pytest.mark.parametrize(
    ("flag", "value", "wanted"),
    [
        ("--videos", "0", "1 or more"),
        ("--videos", "-5", "1 or more"),
        ("--cpus", "0", "1 or more"),
        ("--gpus", "-1", "0 or more"),
        ("--real", "-0.1", "a share from 0 to 1"),
        ("--real", "16", "a share from 0 to 1"),
        ("--real", "nan", "a share from 0 to 1"),
    ],
)
def test_a_number_that_cannot_be_is_refused_in_one_line(
    flag: str, value: str, wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = {"--videos": "100", "--cpus": "2"} | {flag: value}
    assert main(["plan", *(word for pair in flags.items() for word in pair)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"dfd-ray plan: {flag} {value}: expected {wanted}")
    assert said.count("\n") == 1


@pytest.mark.parametrize("value", ["detect", "detect=", "detect=fast", "detect=0", "detect=-1", "detect=null"])
def test_a_measurement_that_is_no_rate_is_refused(value: str) -> None:
    with pytest.raises(ConfigurationError, match="expected stage=units a second"):
        parse_measured([value])


def test_the_command_prints_hours_cost_and_the_bottleneck(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--videos", "119154", "--cpus", "64", "--cpu-price", "0.05"]) == 0
    said = capsys.readouterr().out
    assert "the bottleneck is embed, on the CPUs" in said
    assert "not in the model: analyze, train, evaluate, starting machines" in said
    assert " of the prices' currency" in said
    assert main(["plan", "--videos", "100", "--cpus", "1", "--gpus", "1"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("example", PLAN.examples)
def test_the_examples_of_its_help_run(example: str) -> None:
    assert main(["plan", *example.split()]) == 0
