"""What the documentation says can be typed: every command parses, every setting exists, every quoted message is in the code."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dfd_ray.arguments import create_parser
from dfd_ray.config import load_config
from dfd_ray.faces.following import find_faces

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")])
COMMANDS = ("dfd-ray", ".venv/bin/dfd-ray", "ray", "make", "python")


def commands() -> list[tuple[str, str]]:
    """Return (page, command) for each line of a bash block that starts with a command of ours, continued lines joined."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words and words[0] in COMMANDS:
                    found.append((str(page.relative_to(ROOT)), shlex.join(words)))
    return found


@pytest.mark.parametrize(("page", "command"), commands())
def test_a_documented_command_is_one_that_exists(page: str, command: str) -> None:
    words = shlex.split(command)
    if words[0] == "ray" and "--" in words:  # what is submitted
        words = words[words.index("--") + 1 :]
    if words[0] == "python" and words[1].startswith("jobs/"):
        assert (ROOT / words[1]).is_file()
        words = ["dfd-ray", Path(words[1]).stem.replace("_", "-"), *words[2:]]
    if words[0].endswith("dfd-ray"):
        if "--help" in words or words[1:] == ["--version"] or words[1] == "--print-completion":
            return
        options = create_parser().parse_args(words[1:])
        config = ROOT / options.config if options.config and not Path(options.config).is_absolute() else options.config
        load_config(config, options.set)
    elif words[0] == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        for target in [word for word in words[1:] if "=" not in word]:
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page}: make has no target {target}"
    elif words[:2] == ["python", "-m"]:
        module = ROOT / words[2].replace(".", "/")
        assert module.with_suffix(".py").is_file() or (module / "__main__.py").is_file()
    elif words[0] == "python":
        assert (ROOT / words[1]).is_file()


WRITTEN = [page for page in PAGES if page.name != "configuration.md"]  # that one names fields within their sections


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_documented_setting_is_a_field(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    sections = "index|preprocess|embed|analyze|train|evaluate|predict|report|resources"
    for name in set(re.findall(rf"`((?:{sections})(?:\.[a-z_]+)+)(?:=[^`]*)?`", text)):
        model = load_config()
        for part in name.split("."):
            assert hasattr(model, part), f"{page}: there is no setting {name}"
            model = getattr(model, part)


def test_the_detector_that_the_extending_page_shows_is_one() -> None:
    page = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    [source] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(source, names)
    pictures = [lambda: np.zeros((90, 160, 3), np.uint8)] * 9
    looks = sorted(find_faces(names["MiddleDetector"](), pictures, search_every=4), key=lambda look: look[0])
    assert [position for position, _, _ in looks] == list(range(9))
    for _, _, faces in looks:
        assert faces.boxes.tolist() == [[40, 22.5, 120, 67.5]]
        assert (faces.landmarks.shape, faces.probabilities.shape) == ((1, 5, 2), (1,))


def test_the_places_that_the_extending_page_names_are_there() -> None:
    page = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    for path in re.findall(r"`(dfd_ray/[a-z_/]+\.py)`", page):
        assert (ROOT / path).is_file(), path
    code = " ".join((ROOT / "dfd_ray" / path).read_text(encoding="utf-8") for path in PLACES)
    for name in ("class Ranking", "def scores", "MEANINGS", "CLUSTER_QUALITIES", "QUALITIES", "class Detect", "FaceDetector("):
        assert name in code, name


PLACES = ("verdict/metrics.py", "report/scores.py", "report/overview.py", "stages/detect.py")


def test_the_reference_pages_are_as_the_code_has_them() -> None:
    check = subprocess.run(
        [sys.executable, str(ROOT / "docs/reference/generate.py"), "--check"], capture_output=True, text=True
    )
    assert check.returncode == 0, check.stderr


def test_the_messages_of_the_troubleshooting_page_are_in_the_code() -> None:
    code = " ".join(path.read_text(encoding="utf-8") for path in (ROOT / "dfd_ray").rglob("*.py"))
    for fragment in [
        "no video in it",
        "videos that the metadata name are absent",
        "was made with {field} = ",
        "was made from other {what} than {run.path('manifest')} has now",
        "has changed since {run.path('manifest')} was made",
        "cannot be had from the Hugging Face hub",
        "training needs REAL and FAKE faces, and there is no {label} one",
        "faces are in fold {fold}",
        "workers, and a task that feeds them",
        "is in use by another job",
        "the loss is {loss} in epoch {epoch}, on faces of {names}",
        "does not score as it did when it was saved",
        "is not complete; run `dfd-ray {WRITER[table]}` first",
        "--set index.missing_files=keep",
    ]:
        assert fragment in code, f"docs/troubleshooting.md quotes {fragment!r}, which no message says"
