from __future__ import annotations

import base64
import json
from pathlib import Path

import cv2
import numpy as np

from dfd_ray.report.heat_maps import ExplainedVideo, write_heat_map_page, write_heat_maps


def test_the_page_shows_each_face_beside_its_heat_and_escapes_names(tmp_path: Path) -> None:
    picture = cv2.imencode(".jpg", np.full((40, 40, 3), 90, np.uint8))[1].tobytes()
    name = "<script>alert(1)</script>.mp4"
    found = [ExplainedVideo(name, 0.9876, [3, 14], [(picture, picture), (picture, b"no picture")])]
    location = write_heat_map_page(str(tmp_path), found)
    page = Path(location).read_text(encoding="utf-8")
    assert location == str(tmp_path / "explanations.html")
    assert page.count('src="data:image/jpeg;base64,') == page.count("<img") == 4
    assert "0.988" in page
    assert "frame 14" in page
    assert "<script" not in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page


def test_the_pictures_are_kept_for_the_rows_of_the_report(tmp_path: Path) -> None:
    picture = cv2.imencode(".jpg", np.full((40, 40, 3), 90, np.uint8))[1].tobytes()
    write_heat_maps(str(tmp_path), [ExplainedVideo("a.mp4", 0.9, [3], [(picture, picture)])])
    [found] = json.loads((tmp_path / "explanations.json").read_text())["explanations"]
    assert (found["video_id"], found["frames"]) == ("a.mp4", [3])
    plain, hot = (
        cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR) for text in found["pictures"][0]
    )
    assert plain.shape == hot.shape == (120, 120, 3)


def test_nothing_to_explain_is_said(tmp_path: Path) -> None:
    page = Path(write_heat_map_page(str(tmp_path), [])).read_text(encoding="utf-8")
    assert "nothing to explain" in page
