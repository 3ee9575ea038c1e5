from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from skimage import data
from skimage.color import rgb2lab

from dfd_ray.faces.tone import tone_angle, tone_name

LANDMARKS = np.array([(40, 40), (80, 40), (60, 60), (45, 85), (75, 85)], float)


@pytest.mark.parametrize("colour", [(240, 205, 180), (200, 150, 120), (140, 95, 70), (80, 50, 40)])
def test_the_angle_is_that_of_the_skin_s_colour(colour: tuple[int, int, int]) -> None:
    face = np.zeros((120, 120, 3), np.uint8)
    face[45:80, 30:90] = colour  # skin on the cheeks only; eyes, mouth and surroundings are black
    lightness, _, blue_yellow = rgb2lab(np.array([[colour]], np.uint8))[0, 0]
    assert tone_angle(face, LANDMARKS) == pytest.approx(math.degrees(math.atan2(lightness - 50, blue_yellow)), abs=0.5)


def test_a_darker_picture_has_a_smaller_angle() -> None:
    face = data.astronaut()[60:180, 170:290]
    dark = cv2.convertScaleAbs(face, alpha=0.5)
    bright, less = tone_angle(face, LANDMARKS), tone_angle(dark, LANDMARKS)
    assert bright is not None
    assert less is not None
    assert less < bright


def test_names_are_those_of_the_ranges() -> None:
    names = [tone_name(angle) for angle in (60, 50, 30, 20, 0, -30, -80)]
    assert names == ["very light", "light", "intermediate", "tan", "brown", "dark", "dark"]


@pytest.mark.parametrize("landmarks", [LANDMARKS + 500, LANDMARKS * 0 + 50, LANDMARKS + np.nan])
def test_without_skin_there_is_no_angle(landmarks: np.ndarray) -> None:
    assert tone_angle(np.zeros((120, 120, 3), np.uint8), landmarks) is None
