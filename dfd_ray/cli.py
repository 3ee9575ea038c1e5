"""The command line, `dfd-ray <job>`: which jobs run, one-line errors, and the printed summary."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from importlib import resources
from typing import TYPE_CHECKING

from dfd_ray.arguments import create_parser, wrap
from dfd_ray.config import Config, load_config, parse_config
from dfd_ray.errors import RESUMES, ConfigurationError, DfdError
from dfd_ray.runtime.terminal import count_columns, is_terminal, quiet_jobs, say, warn
from dfd_ray.store.run import Run
from dfd_ray.store.storage import absolute_uri, describe_refusal, exists, join, read_bytes, write_bytes

if TYPE_CHECKING:
    from dfd_ray.store.summary import Summary

READERS = ("export", "explore")
"""Jobs that write nothing to the run, so that several may read it at once."""
STARTERS = ("index", "pipeline", "demo", "predict", "report", "retry-errors")
"""Jobs that make nothing beforehand: they start from videos, or show and mend what is there."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a job; return 0 when its table is complete, 2 when the user has to mend something, 130 when interrupted."""
    options = create_parser().parse_args(arguments)
    try:
        if options.job == "plan":
            return _plan(options)
        config = _resolve(options)
        with quiet_jobs():
            for summary in _run(options, Run(str(config.run), config)):
                _print_summary(summary)
    except DfdError as error:
        warn(f"dfd-ray {options.job}: {'; '.join([' '.join(str(error).split()), *getattr(error, '__notes__', [])])}")
        return 2
    except OSError as error:
        if (reason := describe_refusal(error)) is None:
            raise
        warn(f"dfd-ray {options.job}: {reason}; {RESUMES}")
        return 2
    except KeyboardInterrupt:
        warn(f"dfd-ray {options.job}: interrupted; the same command resumes where it stopped")
        return 130
    return 0


def _plan(options: argparse.Namespace) -> int:
    """Print what a corpus would cost on a cluster; run nothing."""
    from dfd_ray.pipelines.plan import describe_plan, make_plan, parse_measured

    config = load_config(options.config, options.set)
    measured = parse_measured(options.measured)
    plan = make_plan(config, options.videos, options.real, options.cpus, options.gpus, measured)
    print("\n".join(describe_plan(plan, options.cpu_price, options.gpu_price)))
    return 0


def _run(options: argparse.Namespace, run: Run) -> Iterator[Summary]:
    """Run the jobs that make what this one lacks, then the job itself, and yield each one's summary.

    While a job writes, no other may write to the same folder. A reader holds nothing, and its viewer prints as it likes.
    """
    from dfd_ray.store.lock import lock_run

    job, folder, arguments = options.job, run.location, list[object]()
    if job == "predict":
        folder = absolute_uri(options.out) if options.out else run.path("predict")
        arguments = [options.videos, folder]
    elif job == "export":
        from dfd_ray.pipelines.export import check_target

        out = absolute_uri(options.out)
        check_target(out, options.format)
        arguments = [out, options.format]
    elif job == "retry-errors":
        arguments = [options.reason]
    create = run.config.corpus is not None or job in ("demo", "predict")
    with ExitStack() as held:
        if job not in READERS or _find_missing_tables(job, run):
            held.enter_context(lock_run(folder, create))
            if job not in STARTERS:
                _tell_of_changed_corpus(job, run)
            if tables := _find_missing_tables(job, run):
                from dfd_ray.runtime.session import shared_session

                held.enter_context(shared_session())
                yield from _make_tables(tables, job, run)
        if job not in READERS:
            yield from _save(_run_job(job, run, *arguments), folder, run.config)
    if job in READERS:
        yield from _run_job(job, run, *arguments)


def _tell_of_changed_corpus(job: str, run: Run) -> None:
    from dfd_ray.pipelines.prerequisites import describe_changed_corpus

    if said := describe_changed_corpus(run):
        warn(f"dfd-ray {job}: {said}. This job goes on with the manifest as it is")


def _make_tables(tables: list[str], job: str, run: Run) -> Iterator[Summary]:
    """Say which jobs will run before this one, and run them."""
    from dfd_ray.pipelines.prerequisites import check_ahead
    from dfd_ray.store.tables import WRITER

    makers = [WRITER[table] for table in tables]
    check_ahead([*makers, job], run)
    say(f"{job} needs the {tables[-1]}: running {', '.join([*makers[:-2], ' and '.join(makers[-2:])])} first")
    for maker in makers:
        yield from _save(_run_job(maker, run), run.location, run.config)


def _find_missing_tables(job: str, run: Run) -> list[str]:
    if job in STARTERS:
        return []
    from dfd_ray.pipelines.prerequisites import find_missing_tables

    return find_missing_tables(job, run)


def _run_job(job: str, run: Run, *arguments: object) -> Iterator[Summary]:
    """Run a job and yield its summaries; its module, and what that imports, is loaded only now."""
    name = job.replace("-", "_")
    done = getattr(importlib.import_module(f"dfd_ray.pipelines.{name}"), name)(run, *arguments)
    yield from done if isinstance(done, Iterator) else [done]


def _resolve(options: argparse.Namespace) -> Config:
    """Return the configuration: of the file given, else the one saved with the run, changed by the command line."""
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


def _save(summaries: Iterable[Summary], run: str, config: Config) -> Iterable[Summary]:
    """Keep each summary and the configuration that made it with the run, and yield it."""
    for summary in summaries:
        if not summary.did_nothing:
            summary.save(run)
            if summary.job != "report":  # its settings made none of the tables
                write_bytes(join(run, "config.yaml"), config.to_yaml().encode())
        yield summary


def _print_summary(summary: Summary) -> None:
    say(f"\n{summary.job}")
    lines = summary.lines()
    indent = 4 + max(len(name) for name, _ in lines)
    for name, value in lines:
        first = f"  {name}".ljust(indent)
        # A log has a line a value, to be searched; a terminal has them wrapped.
        width = max(indent + 40, count_columns()) if is_terminal() else sys.maxsize
        say(wrap(value, width, first, " " * indent))


if __name__ == "__main__":
    sys.exit(main())
