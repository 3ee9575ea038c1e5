from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest

from dfd_ray.config import Config
from dfd_ray.errors import RunError
from dfd_ray.report import build_report
from dfd_ray.report.page import as_json, list_sections, read_run, render_within, shorten

Page = tuple[str, dict[str, Any]]
HOSTILE = "part_0/<script>alert(1)</script>\"'&.mp4"


def body(page: str) -> str:
    """Return the page without plotly's own source, of which nothing is asserted."""
    parts = re.split(r"(<script>)", page)
    return "".join(part for part in parts if "plotly.js v" not in part[:200])


def text_of(page: str) -> str:
    """Return what a reader sees of the sections, in one line."""
    visible = page[page.index("<body>") : page.index('<script type="application/json"')]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", visible)).split())


def test_every_section_is_there_once_and_in_order(whole_page: Page) -> None:
    page, _ = whole_page
    names = ["run", "balance", "faces", "map", "examples", "training", "scores", "subgroups", "videos", "broken", "settings"]
    assert re.findall(r'<section id="(\w+)">', page) == names
    assert re.findall(r'<a href="#(\w+)">', page[: page.index("<main>")]) == names
    assert "data-absent" not in page


def test_the_first_sentence_is_the_result(whole_page: Page) -> None:
    text = text_of(whole_page[0])
    assert "Over 40 labelled videos, the log loss is 0.432 (95 % interval 0.382 to 0.482)." in text
    assert "The best constant answer gets 0.562: the model knows more than the base rate." in text
    assert "The difference is -0.130 (95 % interval -0.150 to -0.110)." in text
    assert "ROC AUC is 0.876 (95 % interval 0.826 to 0.926). The intervals are rough: they draw from few groups." in text


def test_the_counts_are_those_of_the_tables(whole_page: Page) -> None:
    text = text_of(whole_page[0])
    assert "Videos 40 REAL 10 25 % FAKE 30 75 %" in text
    # Three FAKE videos are broken: ten REAL ones give ten faces each, twenty-seven FAKE ones four.
    assert "Faces 208 REAL 100 48 % FAKE 108 52 %" in text
    assert "37 ok 1 error: broken_stream 1 error: empty 1 no_face" in text
    assert "3 of 40 videos gave no face." in text
    assert "REAL to FAKE is 1 : 3.00 in videos and 1 : 1.08 in faces. A REAL video gives 10 frames and a FAKE one 4." in text


def test_subgroups_stand_in_their_natural_order_beside_what_the_files_give_away(whole_page: Page) -> None:
    text = text_of(whole_page[0])
    assert "has an AUC of 0.654 (95 % interval 0.604 to 0.704)" in text
    assert "has an AUC of 0.512 (95 % interval 0.462 to 0.562)" in text
    resolutions, tones = ["under 480", "720 to 1079", "1080 and more"], ["light", "dark", "unknown"]
    for names in (["part_2", "part_10"], ["blend", "swap"], resolutions, tones):
        rows = [text.index(f" {name} ", text.index("AUC beside chance")) for name in names]
        assert rows == sorted(rows), names
    assert "part_2 * 3 6 0.300 0.250 to 0.350 0.637 -0.337 (95 % interval -0.387 to -0.287) 0.800 0.750 to 0.850" in text
    assert "the network's minus this one is +0.222 (95 % interval 0.172 to 0.272), with the same groups drawn" in text


def test_what_limits_the_scores_is_said_beside_them(whole_page: Page) -> None:
    text = text_of(whole_page[0])
    assert "Judged are 10 REAL and 30 FAKE videos in 10 groups of linked videos." in text
    assert "The intervals are rough: <few> groups." in text
    assert "Log loss minus that of the base rate, on the same videos of each bootstrap sample, is -0.130" in text
    assert "one class only" in text


def test_files_whose_facts_could_not_be_learnt_from_are_told(
    new_run: Callable[..., Path], page_of: Callable[..., Page]
) -> None:
    run = new_run()
    place = run / "evaluation" / "metrics.json"
    metrics = json.loads(place.read_text()) | {"metadata_probe": {"roc_auc": {"value": None, "low": None, "high": None}}}
    place.write_text(json.dumps(metrics))
    assert "(codec, size in bytes and pixels, frames and frame rate) could not be measured" in text_of(page_of(run)[0])
    place.write_text(json.dumps({name: value for name, value in metrics.items() if name != "metadata_probe"}))
    assert "the files alone give away" not in text_of(page_of(run)[0])


def test_the_share_of_faces_that_look_like_another_fold_s_is_told_and_that_there_are_none(
    whole_page: Page, new_run: Callable[..., Path], page_of: Callable[..., Page]
) -> None:
    text = text_of(whole_page[0])
    assert (
        "Of 10,000 labelled faces that were checked, 1,262 (12.62 %) are nearer to a face of another fold "
        "than to any other face of their own video." in text
    )
    assert "There are 21 such pairs; the table shows the 1 with the most faces." in text
    run = new_run(8)
    summary = run / "summaries" / "analyze.json"
    told = json.loads(summary.read_text())
    for looked_up, share in ((500, 0.0), (0, None)):
        told["leaks"] = {"looked_up": looked_up, "faces": 0, "share": share, "pairs": 0, "nearest": []}
        summary.write_text(json.dumps(told))
        text = text_of(page_of(run)[0])
        assert ("Of 500 labelled faces that were checked, 0 (0.00 %) are nearer" in text) == (looked_up > 0)
        assert ("Is the same footage in two folds?" in text) == (looked_up > 0)
        assert "such pair" not in text


def test_what_training_does_to_faces_is_shown(whole_page: Page) -> None:
    page = whole_page[0]
    section = page[page.index('<section id="examples">') : page.index('<section id="training">')]
    assert section.count('src="data:image/jpeg;base64,') == section.count("<img") == 8
    assert "Gauss Noise" in section
    assert "<script" not in section


def test_the_time_of_each_job_and_of_all_is_told(whole_page: Page) -> None:
    text = text_of(whole_page[0])
    assert "The job train took the most. All jobs together took 10 min 28 s." in text  # 0.4 + 93.1 + 120 + 12 + 400 + 2
    assert "preprocess 1 min 33 s 40 0.43 1 no_face, 1 empty, 1 broken_stream" in text


def test_only_settings_that_differ_are_listed(whole_page: Page) -> None:
    text = text_of(whole_page[0])
    assert "preprocess.frames_real 10 40" in text
    assert "5 settings" in text
    assert "analyze.perplexity" not in text
    assert "margin: 0.6" in text  # in the whole configuration at the end


def test_the_demo_says_that_its_numbers_mean_nothing(whole_page: Page) -> None:
    assert "mean nothing about real deepfakes" in text_of(whole_page[0])


def test_a_corpus_that_is_no_demo_gets_no_such_caution(new_run: Callable[..., Path], page_of: Callable[..., Page]) -> None:
    run = new_run()
    index = run / "summaries" / "index.json"
    index.write_text(index.read_text().replace('"demo": true', '"demo": false'))
    assert "demo corpus" not in page_of(run)[0]


def test_a_name_made_to_do_harm_is_text_everywhere(whole_page: Page) -> None:
    page, data = whole_page
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert "<b>moov</b>" not in page
    assert "<i>random</i>" not in page
    assert html.escape(HOSTILE, quote=True).replace("&quot;", "&#34;").replace("&#x27;", "&#39;") in page  # the sampled faces
    assert HOSTILE in data["map-data"]["videos"]
    assert HOSTILE in data["table-data"]["video_id"]
    for island in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.S):
        assert not set(island) & set("<>&\u2028\u2029")


def test_json_survives_what_ends_a_script() -> None:
    value = {"name": "</script><!--<script>&\u2028"}
    text = str(as_json(value))
    assert "<" not in text
    import json

    assert json.loads(text) == value


def test_nothing_is_loaded_from_elsewhere(whole_page: Page) -> None:
    page, _ = whole_page
    own = body(page)
    assert not re.findall(r"(?:src|href|action)\s*=\s*[\"']?(?!data:|#)[^\"'\s>]+", own[: own.index("<script")])
    assert not re.search(r"https?://|@import|url\(\s*[\"']?(?!data:|\$\{)", own)
    assert "<link" not in own.replace('<link rel="icon" href="data:,">', "")
    assert "default-src 'none'" in page


def test_only_the_scripts_of_the_page_may_run(whole_page: Page) -> None:
    import base64
    import hashlib

    page, _ = whole_page
    scripts = re.findall(r"<script>(.*?)</script>", page, re.S)
    hashes = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts}
    policy = page[page.index("script-src ") : page.index('">', page.index("script-src "))]
    assert len(scripts) == 2
    assert set(re.findall(r"'sha256-([^']+)'", policy)) == hashes
    assert "unsafe-eval" not in policy


@pytest.mark.parametrize(
    ("folder", "job", "section"),
    [
        ("faces", "preprocess", "faces"),
        ("projection", "analyze", "map"),
        ("models", "train", "training"),
        ("evaluation", "evaluate", "scores"),
        ("predictions", "evaluate", "videos"),
    ],
)
def test_an_absent_part_is_named_with_its_job(
    folder: str, job: str, section: str, new_run: Callable[..., Path], page_of: Callable[..., Page]
) -> None:
    run = new_run(4)
    rmtree(run / folder)
    page, _ = page_of(run)
    assert f'<section id="{section}">' not in page
    absent = re.findall(r'data-absent="(\w+)">(.*?)</li>', page)
    assert len(absent) == 1
    assert absent[0][0] == job
    assert f"<code>dfd-ray {job}</code>" in absent[0][1]


def test_an_indexed_run_has_a_small_page(new_run: Callable[..., Path], page_of: Callable[..., Page]) -> None:
    run = new_run(8)
    for folder in ("faces", "projection", "models", "evaluation", "predictions"):
        rmtree(run / folder)
    for job in ("preprocess", "embed", "analyze", "train", "evaluate"):
        (run / "summaries" / f"{job}.json").unlink()
    page, data = page_of(run)
    assert "No classifier has been scored on this run yet." in text_of(page)
    assert re.findall(r'data-absent="(\w+)"', page) == ["preprocess", "analyze", "train", "evaluate", "evaluate"]
    assert data == {"figures-data": {}}
    assert len(page) < 100_000  # plotly is left out where there is nothing to draw


def test_summaries_may_lack_everything(new_run: Callable[..., Path], page_of: Callable[..., Page]) -> None:
    run = new_run(4)
    for path in (run / "summaries").iterdir():
        path.write_text("{}")
    (run / "evaluation" / "metrics.json").write_text('{"videos": 0}')
    (run / "models" / "history.json").write_text('{"folds": [{"fold": 0, "epochs": []}]}')
    text = text_of(page_of(run)[0])
    assert "How good are the probabilities? Run dfd-ray evaluate to make this part." in text


def test_what_is_damaged_is_left_out_and_named(new_run: Callable[..., Path], page_of: Callable[..., Page]) -> None:
    run = new_run(8)
    (run / "evaluation" / "metrics.json").write_text("{")
    (run / "faces" / "part-1.parquet").write_bytes(b"PAR1 cut")
    (run / "config.yaml").write_text("unheard_of: 1\n")
    text = text_of(page_of(run)[0])
    assert "evaluation/metrics.json cannot be read. The page leaves it out." in text
    assert "faces/part-1.parquet is cut off. The page leaves it out." in text
    assert "4 not processed yet" in text
    (run / "manifest" / "part-0.parquet").write_bytes(b"PAR1 cut")
    assert "manifest/part-0.parquet is cut off" in text_of(page_of(run)[0])
    assert "configuration cannot be read (unknown field 'unheard_of'" in text


def test_an_empty_folder_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="dfd-ray index"):
        build_report(str(tmp_path), Config())


def test_a_page_that_is_too_large_shows_less(whole_run: Path) -> None:
    data = read_run(str(whole_run), Config())
    limits = Config().report
    whole = render_within(data, limits)
    assert len(whole) < 15e6
    smaller = render_within(data, limits, len(whole) - 20_000)
    assert len(smaller) <= len(whole) - 20_000
    assert b"faces</b> are drawn, sampled evenly" not in whole
    assert b'<section id="map">' in render_within(data, limits, 0)  # what cannot be cut any more is still a page


def test_sections_without_data_are_not_present(new_run: Callable[..., Path]) -> None:
    run = new_run(4)
    rmtree(run / "predictions")
    data = read_run(str(run), Config())
    assert set(list_sections(data, [], None, False)) == {
        *("run", "balance", "examples", "training", "subgroups", "broken", "settings")
    }


def test_a_long_name_loses_its_middle() -> None:
    assert shorten("a" * 120) == "a" * 120
    assert shorten("a" * 300 + "end.mp4").endswith("end.mp4")
    assert len(shorten("a" * 300)) == 119
