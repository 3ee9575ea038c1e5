"""The cluster files, against Ray's own schema and commands and KubeRay's published fields; no cloud is asked."""

from __future__ import annotations

import copy
import json
import re
import shlex
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import start

from dfd_ray import __version__
from dfd_ray.arguments import JOBS
from dfd_ray.config import load_config

PROJECT = Path(__file__).parent.parent.parent
LAUNCHED = ("cluster.yaml", "deploy/onprem.yaml")
PINNED = next(
    line.removeprefix("ray==") for line in (PROJECT / "constraints.txt").read_text().splitlines() if line.startswith("ray==")
)


def read(name: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((PROJECT / name).read_text(encoding="utf-8"))
    return values


def start_options(command: str) -> dict[str, Any]:
    """Return what Ray's own command line makes of a `ray start`; it refuses options that it does not have."""
    command = string.Template(command).safe_substitute(RAY_HEAD_IP="10.0.0.1")
    words = shlex.split(command)
    assert words[:2] == ["ray", "start"]
    return dict(start.make_context("ray start", words[2:]).params)


def ray_starts() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each `ray start` of every file, as `(file, options)`."""
    for name in LAUNCHED:
        for kind in ("head", "worker"):
            stop, command = read(name)[f"{kind}_start_ray_commands"]
            assert stop == "ray stop"
            yield f"{name} {kind}", start_options(command)
    cluster = read("deploy/rayjob.yaml")["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        kind = group.get("groupName", "head")
        flags = [f"--{name}={value}" for name, value in group["rayStartParams"].items()]
        yield f"deploy/rayjob.yaml {kind}", start_options(shlex.join(["ray", "start", *flags]))


@pytest.mark.parametrize("name", LAUNCHED)
def test_ray_up_takes_the_file(name: str) -> None:
    validate_config(prepare_config(read(name)))


@pytest.mark.parametrize("name", LAUNCHED)
@pytest.mark.parametrize(("field", "value"), [("idle_timeout", 10), ("max_workers", "many"), ("provider", {})])
def test_ray_up_would_refuse_a_wrong_field(name: str, field: str, value: Any) -> None:
    config = prepare_config(read(name)) | {field: value}
    with pytest.raises(jsonschema.ValidationError):
        validate_config(config)


def test_no_machine_type_is_without_bounds() -> None:
    config = read("cluster.yaml")
    workers = {name: kind for name, kind in config["available_node_types"].items() if name != config["head_node_type"]}
    assert {name: kind["min_workers"] for name, kind in workers.items()} == {"cpu": 0, "gpu": 1}
    assert config["max_workers"] == sum(kind["max_workers"] for kind in workers.values())
    assert workers["cpu"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert config["idle_timeout_minutes"] > 0


def test_the_options_of_every_ray_start_exist_and_bound_the_object_store() -> None:
    starts = dict(ray_starts())
    assert len(starts) == 7
    for where, options in starts.items():
        assert options["object_store_memory"], where
        assert options["object_spilling_directory"], where


def test_heads_take_no_work() -> None:
    heads = {where: options for where, options in ray_starts() if where.endswith(" head")}
    assert len(heads) == 3
    assert {where: options["num_cpus"] for where, options in heads.items()} == dict.fromkeys(heads, 0)
    config = read("cluster.yaml")
    assert config["available_node_types"][config["head_node_type"]]["resources"] == {"CPU": 0}


@pytest.mark.parametrize("name", LAUNCHED)
def test_a_token_is_asked_for_and_the_dashboard_is_not_open(name: str) -> None:
    config = read(name)
    assert "--env RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    assert config["file_mounts"] == {"/home/ray/.ray/auth_token": "~/.ray/auth_token"}
    head = start_options(config["head_start_ray_commands"][1])
    assert head["dashboard_host"] == "127.0.0.1"
    assert head["ray_client_server_port"] is None


def test_the_firewall_lets_in_ssh_alone_and_not_from_everywhere() -> None:
    rules = read("cluster.yaml")["provider"]["security_group"]["IpPermissions"]
    assert [(rule["FromPort"], rule["ToPort"]) for rule in rules] == [(22, 22)]
    for rule in rules:
        assert rule["IpRanges"]
        for addresses in rule["IpRanges"]:
            assert int(addresses["CidrIp"].split("/")[1]) >= 16


def test_machines_guard_their_disks_and_their_credentials() -> None:
    for name, kind in read("cluster.yaml")["available_node_types"].items():
        node = kind["node_config"]
        assert node["MetadataOptions"]["HttpTokens"] == "required", name
        assert all(disk["Ebs"]["Encrypted"] for disk in node["BlockDeviceMappings"]), name
        assert set(node["IamInstanceProfile"]) == {"Arn"}, name


def test_kuberay_has_every_field_of_the_job() -> None:
    schema = json.loads((PROJECT / "tests/cluster/rayjob.schema.json").read_text())
    job = read("deploy/rayjob.yaml")
    jsonschema.validate(job, schema)
    wrong = copy.deepcopy(job)
    wrong["spec"]["backOffLimit"] = wrong["spec"].pop("backoffLimit")
    with pytest.raises(jsonschema.ValidationError, match="backOffLimit"):
        jsonschema.validate(wrong, schema)


def test_the_job_scales_resumes_and_holds_secrets_by_reference() -> None:
    spec = read("deploy/rayjob.yaml")["spec"]
    cluster = spec["rayClusterSpec"]
    assert cluster["enableInTreeAutoscaling"] is True
    assert spec["backoffLimit"] > 0
    assert cluster["authOptions"] == {"mode": "token", "secretName": "dfd-ray-token"}
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    groups = {group["groupName"]: group for group in cluster["workerGroupSpecs"]}
    assert (groups["cpu"]["minReplicas"], groups["gpu"]["minReplicas"]) == (0, 1)
    for group in groups.values():
        pod = group["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert ("nvidia.com/gpu" in pod["containers"][0]["resources"]["limits"]) == (group["groupName"] == "gpu")


def test_the_job_runs_a_command_that_exists_with_a_file_of_the_image() -> None:
    words = shlex.split(read("deploy/rayjob.yaml")["spec"]["entrypoint"])
    assert words[0] == "dfd-ray"
    assert words[1] in JOBS
    inside = Path(words[words.index("--config") + 1]).relative_to("/home/ray/dfd-ray")
    load_config(PROJECT / inside)


def test_one_ray_and_one_image_everywhere() -> None:
    dockerfile = (PROJECT / "deploy/Dockerfile").read_text()
    base = re.search(r"^FROM rayproject/ray:(\S+)-py(\d)(\d+)$", dockerfile, re.MULTILINE)
    assert base is not None
    assert base[1] == PINNED
    assert f"Python {base[2]}.{base[3]}" in (PROJECT / "constraints.txt").read_text().splitlines()[0]
    spec = read("deploy/rayjob.yaml")["spec"]["rayClusterSpec"]
    assert spec["rayVersion"] == PINNED
    image = f"registry.example.com/dfd-ray:{__version__}"
    assert {read(name)["docker"]["image"] for name in LAUNCHED} == {image}
    pods = [group["template"]["spec"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]
    assert {container["image"] for pod in pods for container in pod["containers"]} == {image}
    assert image in dockerfile


def test_the_image_copies_only_what_docker_is_sent() -> None:
    dockerfile = (PROJECT / "deploy/Dockerfile").read_text()
    copied = [word for line in dockerfile.splitlines() if line.startswith("COPY") for word in line.split()[2:-1]]
    ignored, *sent = (PROJECT / "deploy/Dockerfile.dockerignore").read_text().splitlines()[1:-1]
    assert ignored == "*"
    assert sorted(copied) == sorted(line.removeprefix("!") for line in sent)
    assert all((PROJECT / name).exists() for name in copied)


@pytest.mark.parametrize("name", [*LAUNCHED, "deploy/rayjob.yaml", "deploy/Dockerfile"])
def test_no_secret_is_written_down(name: str) -> None:
    text = (PROJECT / name).read_text(encoding="utf-8")
    assert not re.search(
        r"AKIA[0-9A-Z]{16}|BEGIN [A-Z ]*PRIVATE KEY|(secret|token|password)\w*\s*[:=]\s*[\"']?[0-9a-f]{16}", text
    )
