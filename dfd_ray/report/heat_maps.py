"""Heat maps of faces, which show where the classifiers look: a page of their own, and pictures for the report."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from dfd_ray.report.images import decode_square, to_uri
from dfd_ray.report.page import make_environment, read_asset
from dfd_ray.store.storage import absolute_uri, join, write_bytes, write_json

HEAT_MAP_PAGE = "explanations.html"
PIXELS, QUALITY = 200, 80
ROW_PIXELS = 120


@dataclass(frozen=True)
class ExplainedVideo:
    """A video, its probability of FAKE, and some of its faces, each plain and with its heat map on top."""

    video_id: str
    probability: float
    frames: list[int]
    pictures: list[tuple[bytes, bytes]]
    """The face and its heat map, both as JPEG."""


def write_heat_map_page(out: str, explanations: list[ExplainedVideo]) -> str:
    """Write `<out>/explanations.html`, one self-contained page without scripts, and return its location."""
    videos = [
        {
            "video_id": one.video_id,
            "probability": one.probability,
            "faces": [
                (frame, *(to_uri(decode_square(picture, PIXELS), QUALITY) for picture in pair))
                for frame, pair in zip(one.frames, one.pictures, strict=True)
            ],
        }
        for one in explanations
    ]
    page = make_environment().get_template("explanations.html.j2").render(videos=videos, css=Markup(read_asset("page.css")))
    location = join(absolute_uri(out), HEAT_MAP_PAGE)
    write_bytes(location, page.encode())
    return location


def write_heat_maps(out: str, explanations: list[ExplainedVideo]) -> None:
    """Write `<out>/explanations.json`: the same pictures, smaller, for the report of `out`."""
    stored = [
        {
            "video_id": one.video_id,
            "probability": one.probability,
            "frames": one.frames,
            "pictures": [[shrink_to_base64(picture) for picture in pair] for pair in one.pictures],
        }
        for one in explanations
    ]
    write_json(join(absolute_uri(out), "explanations.json"), {"explanations": stored})


def shrink_to_base64(picture: bytes) -> str:
    """Return a picture of ROW_PIXELS as a JPEG in base64."""
    return to_uri(decode_square(picture, ROW_PIXELS), QUALITY).partition(",")[2]
