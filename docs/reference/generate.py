"""Write the reference pages that the code itself knows: jobs, configuration and tables.

    python docs/reference/generate.py [--check]

`--check` writes nothing and fails where a page is not what the code says.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path

import pyarrow as pa

from dfd_ray.arguments import JOBS
from dfd_ray.config import Config, describe_fields
from dfd_ray.errors import Reason, Stage, Status
from dfd_ray.store.schemas import COLUMNS, FACE, Column, embedding_face
from dfd_ray.store.tables import WRITER

FOLDER = Path(__file__).parent
NOTICE = "<!-- Made by docs/reference/generate.py from the code: change that, and run `make docs`. -->\n"


def jobs() -> Iterator[str]:
    """Yield the page of the jobs."""
    yield "# Jobs\n"
    yield "`dfd-ray JOB --run FOLDER [--config FILE] [--set section.field=value ...]`, or `python jobs/JOB.py` with the same"
    yield "flags (`jobs/retry_errors.py`). `dfd-ray JOB --help` has those of one job alone. `dfd-ray plan` runs nothing:"
    yield "[Scaling](../scaling.md).\n"
    yield "All jobs but `predict`, `report` and `retry-errors` first make what the run lacks, and say so:"
    yield "`dfd-ray embed --run RUN --corpus FOLDER` on a new run indexes the videos and"
    yield "finds the faces before it embeds them.\n"
    yield "Exit code 0 means that the table is complete, 2 that something has to be mended and is said in one line, 130 that"
    yield "the job was interrupted. The summary is printed last, and kept as `summaries/JOB.json` in the run. What Ray prints"
    yield "goes to `logs/ray.log` in the run (of a run in object storage, to a temporary file). Errors of Ray name it.\n"
    yield "| job | what it does | settings |\n|---|---|---|"
    for name, (purpose, sections, _) in JOBS.items():
        links = ", ".join(f"[`{section}`](configuration.md#{section})" for section in sections)
        yield f"| `{name}` | {purpose} | {links} |"


def configuration() -> Iterator[str]:
    """Yield the page of the settings."""
    yield "# Configuration\n"
    yield "A YAML file of these sections (`--config FILE`), then `--set section.field=value`. Unknown or wrong fields are"
    yield "refused in one line. The resolved configuration is kept as `config.yaml` in the run, and later jobs start from it.\n"
    for section, field in Config.model_fields.items():
        if section in ("corpus", "run"):
            continue
        yield f"## {section}\n\n{(field.annotation.__doc__ or '').strip() if field.annotation else ''}\n"
        yield "| field | default | meaning |\n|---|---|---|"
        for name, default, meaning in describe_fields(section):
            escaped = meaning.replace("|", "\\|")
            yield f"| `{name.removeprefix(f'{section}.')}` | `{default}` | {escaped} |"
        yield ""


def tables() -> Iterator[str]:
    """Yield the page of the tables' columns and of the closed sets in them."""
    yield "# Tables\n"
    yield "Each is a folder of Parquet files in the run. Each file carries the settings that made it and digests of what it was"
    yield "made from, as JSON under the metadata key `dfd_ray`.\n"
    for name, columns in COLUMNS.items():
        yield f"## {name}\n\nWritten by `{WRITER[name]}`.\n"
        yield from describe_columns(columns)
        if nested := {"faces": FACE, "embeddings": embedding_face(0)}.get(name):
            yield "\nEach of `faces`:\n"
            yield from describe_columns(nested)
        yield ""
    for title, values in [("status", Status), ("error_stage", Stage), ("error", Reason)]:
        yield f"## Values of `{title}`\n\n| value | meaning |\n|---|---|"
        yield from (f"| `{value}` | {meaning} |" for value, meaning in zip(values, meanings(values), strict=True))
        yield ""


def describe_columns(columns: Sequence[Column]) -> Iterator[str]:
    """Yield the rows of a table of columns."""
    yield "| column | type | null | meaning |\n|---|---|---|---|"
    for column in columns:
        yield f"| `{column.name}` | {describe_type(column.type)} | {'yes' if column.nullable else 'no'} | {column.meaning} |"


def meanings(values: type[StrEnum]) -> list[str]:
    """Return the sentence that stands below each member in the source."""
    [body] = [node.body for node in ast.parse(inspect.getsource(values)).body if isinstance(node, ast.ClassDef)]
    texts = [node.value.value for node in body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    return [" ".join(str(text).split()) for text in texts[1:]]  # the first is the class's own


def describe_type(kind: pa.DataType) -> str:
    """Return the name of an Arrow type; structs are told apart."""
    if pa.types.is_list(kind):
        return f"list of {describe_type(kind.value_type)}"
    if pa.types.is_fixed_size_list(kind):
        return f"{kind.list_size or 'n'} of {describe_type(kind.value_type)}"
    return "struct" if pa.types.is_struct(kind) else str(kind)


PAGES = {"jobs.md": jobs, "configuration.md": configuration, "tables.md": tables}


def main() -> int:
    """Write or check the pages."""
    stale = []
    for name, page in PAGES.items():
        text = NOTICE + "\n".join(page()) + "\n"
        if "--check" not in sys.argv:
            (FOLDER / name).write_text(text, encoding="utf-8")
        elif (FOLDER / name).read_text(encoding="utf-8") != text:
            stale.append(name)
    if stale:
        print(f"docs/reference: {', '.join(stale)} not as the code has it; run `make docs`", file=sys.stderr)
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
