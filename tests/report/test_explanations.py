from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from dfd_ray.report.explanations import Explanation, write_explanations


def test_the_page_shows_each_face_beside_its_heat_and_escapes_names(tmp_path: Path) -> None:
    picture = cv2.imencode(".jpg", np.full((40, 40, 3), 90, np.uint8))[1].tobytes()
    name = "<script>alert(1)</script>.mp4"
    found = [Explanation(name, 0.9876, [3, 14], [(picture, picture), (picture, b"no picture")])]
    location = write_explanations(str(tmp_path), found)
    page = Path(location).read_text(encoding="utf-8")
    assert location == str(tmp_path / "explanations.html")
    assert page.count('src="data:image/jpeg;base64,') == page.count("<img") == 4
    assert "0.988" in page
    assert "frame 14" in page
    assert "<script" not in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page


def test_nothing_to_explain_is_said(tmp_path: Path) -> None:
    page = Path(write_explanations(str(tmp_path), [])).read_text(encoding="utf-8")
    assert "nothing to explain" in page
