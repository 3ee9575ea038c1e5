"""What `dfd-ray` accepts: its jobs, their flags, the help that lists them, and completion scripts for shells."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from dfd_ray import __version__
from dfd_ray.config import Config, describe_fields


class Job(NamedTuple):
    """A job, as its help describes it."""

    purpose: str
    sections: tuple[str, ...]
    """Sections of the configuration that its help lists."""
    examples: tuple[str, str]


RUN = "--run runs/mine"
JOBS = {
    "index": Job(
        "find the videos and their labels; write the manifest",
        ("index",),
        (f"{RUN} --corpus /data/dfdc", "--run s3://bucket/run --corpus s3://bucket/dfdc --set index.folds=10"),
    ),
    "preprocess": Job(
        "sample frames, find and cut out the faces",
        ("preprocess", "resources"),
        (f"{RUN} --corpus /data/dfdc", f"{RUN} --set resources.detect.num_gpus=0.5"),
    ),
    "embed": Job(
        "turn every face into a vector",
        ("embed", "resources"),
        (f"{RUN} --set embed.backbone=tf_efficientnet_lite0", f"{RUN} --set resources.embed.num_gpus=1"),
    ),
    "analyze": Job(
        "map and cluster the vectors: PCA, t-SNE, HDBSCAN",
        ("analyze", "resources"),
        (RUN, f"{RUN} --set analyze.dimensions=2 --set resources.analyze.num_gpus=1"),
    ),
    "train": Job(
        "train a real/fake classifier for every held-out fold",
        ("train", "resources"),
        (f"{RUN} --set train.epochs=10", f"{RUN} --config configs/best.yaml"),
    ),
    "evaluate": Job(
        "score every video by a model that never saw it",
        ("evaluate", "resources"),
        (RUN, f"{RUN} --set evaluate.aggregation=auto"),
    ),
    "report": Job("write the page of the run", ("report",), (RUN, f"{RUN} --set report.max_points=20000")),
    "pipeline": Job(
        "all of the above, from a folder of videos to the page",
        (),
        (f"{RUN} --corpus /data/dfdc", f"{RUN} --corpus /data/dfdc --set train.epochs=3"),
    ),
    "predict": Job(
        "score new videos",
        ("predict", "resources"),
        (f"{RUN} --videos /data/new", f"{RUN} --videos /data/new --out scores --set predict.prior=0.1"),
    ),
    "demo": Job("make a small labelled corpus and run the pipeline on it", (), ("", "--run runs/other --set train.epochs=3")),
    "retry-errors": Job(
        "read the failed videos again and replace their rows",
        ("preprocess", "resources"),
        (RUN, f"{RUN} --reason deadline --set preprocess.video_deadline=600"),
    ),
    "export": Job("write the faces for other tools", (), (f"{RUN} --out faces", f"{RUN} --out faces.parquet --format parquet")),
    "explore": Job(
        "open all faces of the map in embedding-atlas, an interactive viewer", (), (RUN, f"{RUN} --corpus /data/dfdc")
    ),
}
PLAN = Job(
    "reckon hours and cost of a corpus on a cluster; runs nothing",
    (),
    (
        "--videos 119154 --cpus 64 --cpu-price 0.04",
        "--videos 5000 --real 0.5 --cpus 8 --measured detect=20",
    ),
)
GROUPS = {
    "from videos to the page": ("index", "preprocess", "embed", "analyze", "train", "evaluate", "report", "pipeline"),
    "new videos": ("predict",),
    "tools": ("demo", "retry-errors", "export", "explore", "plan"),
}
"""The jobs, as the help groups them."""
SHELLS = ("bash", "zsh", "fish")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Leaves the list of jobs out, since the description has it by groups."""

    def add_argument(self, action: argparse.Action) -> None:
        if not isinstance(action, argparse._SubParsersAction):
            super().add_argument(action)


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line; its help is as wide as the terminal."""
    parser = argparse.ArgumentParser(
        prog="dfd-ray",
        description=_describe_jobs(),
        epilog=_wrap(
            "Start with `dfd-ray demo`. `dfd-ray JOB --help` lists the flags and settings of a job. Most jobs first make "
            "what the run lacks. On a cluster: `ray job submit --working-dir . -- python jobs/JOB.py ...`."
        ),
        formatter_class=_Formatter,
    )
    parser.add_argument("--version", action="version", version=f"dfd-ray {__version__}")
    parser.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=SHELLS,
        help="print a script that completes jobs, flags and settings in a shell",
    )
    jobs = parser.add_subparsers(dest="job", metavar="JOB", required=True)
    for name, job in (JOBS | {"plan": PLAN}).items():
        command = jobs.add_parser(
            name,
            help=job.purpose,
            description=_wrap(f"{job.purpose[0].upper()}{job.purpose[1:]}."),
            epilog=_describe_settings(name, job),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if job is PLAN:
            _add_plan_arguments(command)
        else:
            _add_arguments(command, name)
        command.add_argument(
            "--set", action="append", default=[], metavar="section.field=value", help="change a setting; may be repeated"
        )
    return parser


class _PrintCompletion(argparse.Action):
    """Prints the script for a shell, and ends."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: object, values: object, option_string: object = None
    ) -> None:
        import shtab  # here: no job needs it

        sections = [name for name in Config.model_fields if name not in ("corpus", "run")]
        names = [f"{name}=" for section in sections for name, _, _ in describe_fields(section)]
        ways = {"FILE": shtab.FILE, "FOLDER": shtab.DIRECTORY, "PATH": shtab.FILE}
        ways["section.field=value"] = shtab.cmd(f"printf '%s\\n' {' '.join(names)}")
        [jobs] = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        for job in jobs.choices.values():
            for action in job._actions:
                if way := ways.get(str(action.metavar)):
                    action.complete = way
        print(shtab.complete(parser, str(values)))
        parser.exit()


def _add_plan_arguments(plan: argparse.ArgumentParser) -> None:
    add = plan.add_argument
    add("--videos", required=True, type=int, metavar="N", help="videos of the corpus; DFDC has 119154")
    add("--cpus", required=True, type=int, metavar="N", help="cores of the whole cluster")
    add("--gpus", default=0, type=int, metavar="N", help="GPUs of the whole cluster (default: 0)")
    add("--real", default=0.16, type=float, metavar="SHARE", help="share of REAL videos (default: 0.16, as in DFDC)")
    add("--cpu-price", default=0.0, type=float, metavar="PRICE", help="of one core for one hour")
    add("--gpu-price", default=0.0, type=float, metavar="PRICE", help="of one GPU for one hour")
    rate = "units a second of one core or GPU that you have measured; may be repeated"
    add("--measured", action="append", default=[], metavar="stage=RATE", help=rate)
    add("--config", metavar="FILE", help="YAML; frames, backbone and precision are taken from it")


def _add_arguments(command: argparse.ArgumentParser, name: str) -> None:
    add, demo = command.add_argument, name == "demo"
    place = "folder of the run's tables, a path or URI" + (" (default: runs/demo)" if demo else "")
    add("--run", required=not demo, default="runs/demo" if demo else None, metavar="FOLDER", help=place)
    if name not in ("predict", "demo"):
        add("--corpus", metavar="FOLDER", help="folder of the videos, a path or URI; a run remembers it")
    if name == "predict":
        add("--videos", required=True, metavar="PATH", help="folder of new videos, or one file; a path or URI")
        add("--out", metavar="FOLDER", help="where predictions/ and submission.csv are written (default: RUN/predict)")
    if name == "export":
        add("--out", required=True, metavar="PATH", help="a new folder, or a new file for parquet")
        add("--format", default="folder", help="folder, webdataset or parquet (default: folder)")
    if name == "retry-errors":
        add("--reason", action="append", default=[], help="only errors of this reason; may be repeated")
    add("--config", metavar="FILE", help="YAML (default: the configuration saved with the run, if any)")


def _describe_jobs() -> str:
    known = JOBS | {"plan": PLAN}
    lines = ["Deepfake detection at scale, on a laptop or a Ray cluster."]
    for title, names in GROUPS.items():
        lines += ["", f"{title}:", *_align([(name, known[name].purpose) for name in names], indent=20)]
    return "\n".join(lines)


def _describe_settings(name: str, job: Job) -> str:
    lines = ["settings, for --set section.field=value [default]:", ""] if job.sections else []
    for section in job.sections:
        meaning = str(Config.model_fields[section].annotation.__doc__).strip()
        rows = [(field, f"{text} [{default}]") for field, default, text in describe_fields(section)]
        lines += [_wrap(f"{section}: {meaning[0].lower()}{meaning[1:]}"), *_align(rows, indent=32), ""]
    if name in ("pipeline", "demo"):
        lines += [_wrap("settings: every section of the configuration; see the help of the other jobs, and configs/."), ""]
    return "\n".join([*lines, "examples:", *(f"  dfd-ray {name} {example}".rstrip() for example in job.examples)])


def _align(rows: Sequence[tuple[str, str]], indent: int) -> list[str]:
    """Return rows of name and text as lines: names to the left, texts wrapped beside them."""
    lines: list[str] = []
    for name, text in rows:
        first = f"  {name}".ljust(indent)
        if len(first) > indent:
            lines, first = [*lines, first], " " * indent
        lines += [_wrap(text, first, " " * indent)]
    return lines


def _wrap(text: str, first: str = "", rest: str = "") -> str:
    return wrap(text, max(60, min(shutil.get_terminal_size().columns, 120) - 2), first, rest)


def wrap(text: str, width: int, first: str, rest: str) -> str:
    """Return a text in lines of so many characters, longer words whole, with these indents of the first line and the rest."""
    return textwrap.fill(
        text, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
