"""plan: the hours and money that a corpus costs on a cluster, estimated from measurements, and the bottleneck.

The model is simple. Every stage has a cost per unit (a sampled frame, a face). All cores and GPUs are busy. Stages of one job
on different devices overlap; jobs follow each other. The model leaves out starting machines, Ray's own processes and a slow
network.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from dfd_ray.config import Config
from dfd_ray.errors import ConfigurationError

PLAIN = "benchmarks/results/amd-epyc-avx2-2-cores.json"
WIDE = "benchmarks/results/amd-epyc-avx512f-2-cores.json"
FACES_A_FRAME = 1.1
"""1,075 faces in 968 sampled frames of FaceForensics++ and DeepFakeDetection (`python -m benchmarks.detection`)."""
LEFT_OUT = ("analyze", "train", "evaluate")
"""Jobs that are left out: their time does not follow from the number of frames and faces alone."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The measured speed of a stage on one core."""

    stage: str
    kind: str
    """Backbone and precision; empty where there is only one way."""
    units_per_second: float
    """Sampled frames (decode, detect) or faces (embed) per core and second."""
    machine: str
    source: str


COSTS = (
    Cost("decode", "", 27.76, "AMD EPYC without AVX-512", PLAIN),
    Cost("detect", "", 38.69, "AMD EPYC without AVX-512", PLAIN),
    Cost("embed", "tf_efficientnet_b7 fp32", 6.04, "AMD EPYC with AVX-512", WIDE),
    Cost("embed", "tf_efficientnet_b7 bf16", 10.88, "AMD EPYC with AVX-512", WIDE),
    Cost("embed", "tf_efficientnet_b0 fp32", 61.6, "AMD EPYC with AVX-512", WIDE),
    Cost("embed", "tf_efficientnet_b0 bf16", 92.2, "AMD EPYC with AVX-512", WIDE),
    Cost("embed", "tf_efficientnet_lite0 fp32", 76.5, "AMD EPYC with AVX-512", WIDE),
)
"""All on a CPU: no stage has been timed on a GPU. Clips of 480p to 1080p; faces of 240 x 240 pixels."""


@dataclass(frozen=True, slots=True)
class Share:
    """A stage's part of the work."""

    stage: str
    units: int
    device: str
    """`CPU` or `GPU`."""
    device_hours: float
    source: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A corpus on a cluster."""

    shares: tuple[Share, ...]
    cpus: int
    gpus: int

    def hours_of(self, job: str) -> tuple[float, str]:
        """Return the hours of a job and its slower device: stages on one device add up, the two devices overlap."""
        stages = ("decode", "detect") if job == "preprocess" else (job,)
        work = {"CPU": 0.0, "GPU": 0.0}
        for share in self.shares:
            if share.stage in stages:
                work[share.device] += share.device_hours
        hours = {"CPU": work["CPU"] / self.cpus, "GPU": work["GPU"] / self.gpus if self.gpus else 0.0}
        device = max(hours, key=lambda name: hours[name])
        return hours[device], device

    @property
    def hours(self) -> float:
        """The hours of all jobs in the model."""
        return sum(self.hours_of(job)[0] for job in ("preprocess", "embed"))

    def cost(self, cpu_price: float, gpu_price: float) -> float:
        """Return the cost of the whole cluster for as long as it runs; prices are per hour of a core and of a GPU."""
        return self.hours * (self.cpus * cpu_price + self.gpus * gpu_price)


def make_plan(config: Config, videos: int, real: float, cpus: int, gpus: int, measured: Mapping[str, float]) -> Plan:
    """Estimate the cost of `videos`, of which the share `real` is REAL.

    `measured` has the user's own units per second and device, by stage; GPUs take the stages in it. Raises ConfigurationError
    for GPUs without such a figure, a backbone that was not measured, and an impossible number.
    """
    for name, value, least in (("videos", videos, 1), ("cpus", cpus, 1), ("gpus", gpus, 0)):
        if value < least:
            raise ConfigurationError(f"--{name} {value}: expected {least} or more")
    if not 0 <= real <= 1:
        raise ConfigurationError(f"--real {real:g}: expected a share from 0 to 1, such as 0.16")
    for name in measured.keys() - {"decode", "detect", "embed"}:
        raise ConfigurationError(f"--measured {name}=...: known stages are decode, detect, embed")
    if gpus and not measured.keys() & {"detect", "embed"}:
        raise ConfigurationError(
            "--gpus: no stage has been timed on a GPU yet, so there is nothing to estimate from; run the jobs on a sample and "
            "give their speed: --measured detect=FRAMES_A_SECOND --measured embed=FACES_A_SECOND, of one GPU"
        )
    settings = config.preprocess
    frames = round(videos * (real * settings.frames_real + (1 - real) * settings.frames_fake))
    units = {"decode": frames, "detect": frames, "embed": round(frames * min(FACES_A_FRAME, settings.faces_per_frame))}
    return Plan(tuple(_share(stage, units[stage], config, gpus, measured) for stage in units), cpus, gpus)


def _share(stage: str, units: int, config: Config, gpus: int, measured: Mapping[str, float]) -> Share:
    if stage in measured:
        device = "GPU" if gpus and stage != "decode" else "CPU"
        return Share(stage, units, device, units / measured[stage] / 3600, "your own measurement")
    kind = ""
    if stage == "embed":
        precision = "fp32" if config.embed.precision == "auto" else config.embed.precision
        kind = f"{config.embed.backbone} {precision}"
    found = [cost for cost in COSTS if (cost.stage, cost.kind) == (stage, kind)]
    if not found:
        known = ", ".join(cost.kind for cost in COSTS if cost.stage == stage)
        raise ConfigurationError(
            f"{stage} by {kind} has not been timed ({known} have): --measured {stage}=UNITS_A_SECOND of one core"
        )
    return Share(stage, units, "CPU", units / found[0].units_per_second / 3600, f"{found[0].machine}, {found[0].source}")


def parse_measured(values: Iterable[str]) -> dict[str, float]:
    """Return `stage=units_per_second` assignments; ConfigurationError for anything else."""
    measured = {}
    for value in values:
        stage, _, number = value.partition("=")
        try:
            measured[stage] = float(json.loads(number))
        except (ValueError, TypeError):
            measured[stage] = 0.0
        if not 0 < measured[stage] < float("inf"):
            raise ConfigurationError(f"--measured {value}: expected stage=units a second, such as detect=400")
    return measured


def describe_plan(plan: Plan, cpu_price: float, gpu_price: float) -> Iterator[str]:
    """Yield the plan as lines to print."""
    for share in plan.shares:
        units = f"{share.units:,} {'faces' if share.stage == 'embed' else 'frames'}"
        yield f"{share.stage:<12}{units:>19}{share.device_hours:>10,.1f} {share.device}-hours  ({share.source})"
    for job in ("preprocess", "embed"):
        hours, device = plan.hours_of(job)
        yield f"{job:<12}{hours:>12,.1f} hours, bound by the {device}s"
    longest = max(plan.shares, key=lambda share: share.device_hours / (plan.cpus if share.device == "CPU" else plan.gpus))
    yield f"{'all':<12}{plan.hours:>12,.1f} hours; the bottleneck is {longest.stage}, on the {longest.device}s"
    if cpu_price or gpu_price:
        yield f"{'cost':<12}{plan.cost(cpu_price, gpu_price):>12,.0f} of the prices' currency"
    yield f"not in the model: {', '.join(LEFT_OUT)}, starting machines, Ray's own processes, a slow network"
