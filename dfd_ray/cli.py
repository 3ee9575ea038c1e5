"""The command line: `dfd-ray <job>`. Argument handling, one-line errors, the summary; nothing else."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import resources
from typing import TYPE_CHECKING, Any

from dfd_ray import __version__
from dfd_ray.config import Config, describe_fields, load_config, parse_config
from dfd_ray.errors import RESUMES, ConfigurationError, DfdError
from dfd_ray.runtime.terminal import say, warn
from dfd_ray.store.storage import absolute_uri, exists, join, read_bytes, refusal, write_bytes

if TYPE_CHECKING:
    from dfd_ray.store.run import Run
    from dfd_ray.store.summary import Summary

JOBS: dict[str, tuple[str, tuple[str, ...]]] = {
    "index": ("find the videos and their labels; write the manifest", ("index",)),
    "preprocess": ("sample frames, find and cut out the faces", ("preprocess", "resources")),
    "embed": ("turn every face into a vector", ("embed", "resources")),
    "analyze": ("map and cluster the vectors: PCA, t-SNE, HDBSCAN", ("analyze", "resources")),
    "train": ("train a real/fake classifier for every held-out fold", ("train", "resources")),
    "evaluate": ("score every video by a model that never saw it", ("evaluate", "resources")),
    "predict": ("score new videos", ("predict", "resources")),
    "report": ("write the page of the run", ("report",)),
    "pipeline": ("all of the above but predict, from a folder of videos to the page", ()),
    "demo": ("make a small labelled corpus and run the pipeline on it", ()),
    "retry-errors": ("read the failed videos again and replace their rows", ("preprocess", "resources")),
    "export": ("write the faces for other tools", ()),
    "explore": ("open all faces of the map in embedding-atlas, an interactive viewer", ()),
}
"""Each job's purpose, and the sections of the configuration that its help lists."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a job; return 0 when its table is complete, 2 for what the user can mend, 130 when interrupted."""
    options = _parser().parse_args(arguments)
    try:
        if options.job == "plan":
            return _plan(options)
        config = _resolve(options)
        with _held(options, config):
            for summary in _run(options, config):
                _print_summary(summary)
    except DfdError as error:
        warn(f"dfd-ray {options.job}: {'; '.join([' '.join(str(error).split()), *getattr(error, '__notes__', [])])}")
        return 2
    except OSError as error:
        reason = refusal(error)
        if reason is None:
            raise
        warn(f"dfd-ray {options.job}: {reason}; {RESUMES}")
        return 2
    except KeyboardInterrupt:
        warn(f"dfd-ray {options.job}: interrupted; the same command resumes where it stopped")
        return 130
    return 0


def _plan(options: argparse.Namespace) -> int:
    """Print what a corpus would cost on a cluster; runs nothing."""
    from dfd_ray.pipelines.plan import describe_plan, make_plan, parse_measured

    config = load_config(options.config, options.set)
    measured = parse_measured(options.measured)
    plan = make_plan(config, options.videos, options.real, options.cpus, options.gpus, measured)
    print("\n".join(describe_plan(plan, options.cpu_price, options.gpu_price)))
    return 0


def _held(options: argparse.Namespace, config: Config) -> AbstractContextManager[None]:
    """Return what keeps other jobs from writing where this one writes; several may read a run at once."""
    if options.job in ("export", "explore"):
        return nullcontext()
    from dfd_ray.store.lock import exclusive

    if options.job == "predict":
        return exclusive(_predictions_folder(options, config), create=True)
    return exclusive(str(config.run), create=options.job in ("index", "pipeline", "demo"))


def _predictions_folder(options: argparse.Namespace, config: Config) -> str:
    return absolute_uri(options.out or join(str(config.run), "predict"))


def _run(options: argparse.Namespace, config: Config) -> Iterable[Summary]:
    from dfd_ray.store.run import Run

    run = Run(str(config.run), config)
    if options.job == "predict":
        from dfd_ray.pipelines.predict import predict

        out = _predictions_folder(options, config)
        yield from _saved([predict(run, options.videos, out)], out, config)
    elif options.job == "export":
        from dfd_ray.pipelines.export import export

        yield export(run, absolute_uri(options.out), options.format)
    elif options.job == "explore":
        yield _job("explore")(run)
    elif options.job == "retry-errors":
        from dfd_ray.pipelines.retry_errors import retry_errors

        yield from _saved([retry_errors(run, options.reason)], run.location, config)
    elif options.job in ("pipeline", "demo"):
        yield from _saved(_job(options.job)(run), run.location, config)
    else:
        yield from _saved([_job(options.job)(run)], run.location, config)


def _job(name: str) -> Callable[[Run], Any]:
    """Return the job's function; its module, and what that imports, is loaded only now."""
    import importlib

    job: Callable[[Run], Any] = getattr(importlib.import_module(f"dfd_ray.pipelines.{name}"), name)
    return job


def _resolve(options: argparse.Namespace) -> Config:
    """Return the configuration: the file given, else the one saved with the run, then what the command line says."""
    run = absolute_uri(options.run)
    saved = join(run, "config.yaml")
    corpus = getattr(options, "corpus", None)
    overrides = {"run": run, "corpus": absolute_uri(corpus) if corpus else None}
    if options.config is not None:
        config = load_config(options.config, options.set, **overrides)
    elif exists(saved):
        config = parse_config(read_bytes(saved).decode(), saved, options.set, **overrides)
    elif options.job == "demo":
        settings = resources.files("dfd_ray.demo").joinpath("demo.yaml")
        config = parse_config(settings.read_text(encoding="utf-8"), "demo.yaml", options.set, **overrides)
    else:
        config = load_config(None, options.set, **overrides)
    if options.job in ("index", "pipeline") and config.corpus is None:
        raise ConfigurationError("--corpus FOLDER is needed: a folder of videos, such as DFDC's parts")
    return config


def _saved(summaries: Iterable[Summary], run: str, config: Config) -> Iterable[Summary]:
    """Keep each summary, and the configuration that made it, with the run."""
    for summary in summaries:
        if not summary.did_nothing:
            summary.save(run)
            if summary.job != "report":  # which shows what is there, whatever it was told
                write_bytes(join(run, "config.yaml"), config.to_yaml().encode())
        yield summary


def _print_summary(summary: Summary) -> None:
    say(f"\n{summary.job}")
    lines = summary.lines()
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        say(f"  {name:<{width}}  {value}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dfd-ray",
        description="Deepfake detection at scale, on a laptop or a Ray cluster.",
        epilog="Start with `dfd-ray demo`; `dfd-ray JOB --help` lists the settings of a job. On a cluster: "
        "`ray job submit --working-dir . -- python jobs/JOB.py ...`.",
    )
    parser.add_argument("--version", action="version", version=f"dfd-ray {__version__}")
    jobs = parser.add_subparsers(dest="job", metavar="JOB", required=True)
    for name, (purpose, sections) in JOBS.items():
        job = jobs.add_parser(
            name,
            help=purpose,
            description=purpose[0].upper() + purpose[1:] + ".",
            epilog=_settings(sections),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        _add_arguments(job, name)
    _add_plan(jobs.add_parser("plan", help="reckon hours and cost of a corpus on a cluster; runs nothing"))
    return parser


def _add_plan(plan: argparse.ArgumentParser) -> None:
    plan.description = "Reckon hours, cost and the bottleneck of preprocess and embed, from what was measured. Runs nothing."
    plan.add_argument("--videos", required=True, type=int, metavar="N", help="videos of the corpus; DFDC has 119154")
    plan.add_argument("--cpus", required=True, type=int, metavar="N", help="cores of the whole cluster")
    plan.add_argument("--gpus", default=0, type=int, metavar="N", help="GPUs of the whole cluster (0)")
    plan.add_argument("--real", default=0.16, type=float, metavar="SHARE", help="share of REAL videos (0.16, as DFDC's)")
    plan.add_argument("--cpu-price", default=0.0, type=float, metavar="PRICE", help="of a core and hour")
    plan.add_argument("--gpu-price", default=0.0, type=float, metavar="PRICE", help="of a GPU and hour")
    plan.add_argument(
        "--measured",
        action="append",
        default=[],
        metavar="stage=RATE",
        help="units a second of one core or GPU, measured by you",
    )
    plan.add_argument("--config", metavar="FILE", help="YAML; frames, backbone and precision are taken from it")
    plan.add_argument("--set", action="append", default=[], metavar="section.field=value", help="change a setting")


def _add_arguments(job: argparse.ArgumentParser, name: str) -> None:
    job.add_argument(
        "--run",
        required=name != "demo",
        default="runs/demo" if name == "demo" else None,
        metavar="FOLDER",
        help="the run's tables, a path or URI",
    )
    job.add_argument("--config", metavar="FILE", help="YAML; default: the configuration saved with the run, if any")
    job.add_argument(
        "--set", action="append", default=[], metavar="section.field=value", help="change a setting; may be repeated"
    )
    if name not in ("predict", "demo"):
        job.add_argument("--corpus", metavar="FOLDER", help="the videos, a path or URI")
    if name == "predict":
        job.add_argument("--videos", required=True, metavar="FOLDER", help="new videos, a path or URI")
        job.add_argument("--out", metavar="FOLDER", help="where predictions/ and submission.csv go (RUN/predict)")
    if name == "export":
        job.add_argument("--out", required=True, metavar="PATH", help="a new folder, or file for parquet")
        job.add_argument("--format", default="folder", help="folder, webdataset or parquet (default: folder)")
    if name == "retry-errors":
        job.add_argument("--reason", action="append", default=[], help="only errors of this reason; may be repeated")


def _settings(sections: tuple[str, ...]) -> str:
    if not sections:
        return "settings: every section of the configuration; see the other jobs' help and configs/"
    rows = [row for section in sections for row in describe_fields(section)]
    width = max(len(name) for name, _, _ in rows)
    lines = [f"  {name:<{width}}  {meaning} [{default}]" for name, default, meaning in rows]
    return "settings, for --set [default]:\n" + "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
