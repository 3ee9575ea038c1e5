"""High dynamic range, shown as a player shows it on an ordinary screen: tone-mapped to BT.709."""

from __future__ import annotations

from functools import lru_cache

import av
import cv2
import numpy as np

from dfd_ray.arrays import AnyArray, Float32Array, Float64Array, Image

PQ, HLG = 16, 18
"""FFmpeg's AVColorTransferCharacteristic of ST 2084 and of hybrid log-gamma."""
BT709, BT2020 = 1, 9
"""AVColorPrimaries, and the same numbers of AVColorSpace."""
WHITE = 203.0
"""Nits of white on an ordinary screen (BT.2408, 2.2)."""
HLG_PEAK = 1000.0
"""Nits of the screen that HLG is shown on (BT.2100, table 5)."""
BRIGHTEST = 99.9
"""Percentile of a frame's pixels that counts as its brightest, so that one pixel of noise does not darken it."""
ROWS = 256
"""Rows that are mapped at once, to bound the memory."""
TO_BT709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)
"""Linear BT.2020 to linear BT.709 (BT.2087, 4)."""
LUMA = np.array([[0.2627, 0.6780, 0.0593]], np.float32)
"""Luminance of linear BT.2020."""


def is_hdr(frame: av.VideoFrame) -> bool:
    """Return whether an ordinary screen cannot show a frame as it is: its brightness is PQ or HLG, or its gamut BT.2020."""
    return int(frame.color_trc) in (PQ, HLG) or int(frame.color_primaries) == BT2020


def tone_map(frame: av.VideoFrame) -> av.VideoFrame:
    """Return a frame as yuv420p in BT.709, limited range; no brighter than `WHITE`, and unchanged in colour below the knee.

    The curve is BT.2390's (5.4.1) from the frame's own peak, on the largest of R, G and B, so that hues stay.
    """
    codes = frame.to_ndarray(format="rgb48le")
    curve = int(frame.color_trc)
    sample = _show(np.ascontiguousarray(codes[::4, ::4]), curve)
    peak = float(np.percentile(sample.max(axis=2), BRIGHTEST))
    levels, gains = make_gains(peak)
    picture = np.empty(codes.shape, np.uint8)
    for top in range(0, len(codes), ROWS):
        light = _show(codes[top : top + ROWS], curve)
        brightest = np.maximum(np.maximum(light[..., 0], light[..., 1]), light[..., 2])
        light *= np.interp(brightest, levels, gains).astype(np.float32)[..., None]
        if int(frame.color_primaries) != BT709:
            light = cv2.transform(light, TO_BT709)
        picture[top : top + ROWS] = np.rint(255 * cv2.pow(np.clip(light, 0, 1), 1 / 2.4))
    return make_bt709(picture)


def make_bt709(picture: Image) -> av.VideoFrame:
    """Return a picture (h, w, 3) uint8 RGB as a frame of yuv420p in BT.709 and limited range."""
    mapped = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
        format="yuv420p", dst_colorspace=BT709, dst_color_range=1
    )
    mapped.colorspace, mapped.color_range = BT709, 1
    return mapped


def make_gains(peak: float) -> tuple[Float64Array, Float64Array]:
    """Return brightnesses (n,) in nits, and the factors (n,) that bring them to 0 to 1 of `WHITE`, for a frame's peak."""
    peak = float(np.clip(peak, WHITE, 10_000))
    codes = np.linspace(0, 1, 1024)[1:]
    levels = pq_to_nits(codes)
    top, white = nits_to_pq(np.array([peak, WHITE]))
    relative, target = np.minimum(codes / top, 1), white / top
    knee = 1.5 * target - 0.5
    t = np.clip((relative - knee) / (1 - knee), 0, 1) if knee < 1 else np.zeros_like(codes)
    bent = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * target
    mapped = np.where(relative < knee, relative, bent) if knee < 1 else relative
    return levels, pq_to_nits(mapped * top) / levels / WHITE


def pq_to_nits(codes: Float64Array) -> Float64Array:
    """Return the nits of PQ's codes of 0 to 1 (ST 2084; BT.2100, table 4)."""
    power = np.power(codes, 32 / 2523)
    light = np.maximum(power - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * power)
    return 10_000 * np.power(light, 16384 / 2610)


def nits_to_pq(nits: Float64Array) -> Float64Array:
    """Return PQ's codes of nits: the inverse of `pq_to_nits`."""
    power = np.power(nits / 10_000, 2610 / 16384)
    return np.power((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power), 2523 / 32)


@lru_cache(maxsize=3)
def make_curve(transfer: int) -> Float32Array:
    """Return the light (65536,) of 16-bit codes: nits of PQ and of ordinary curves, 0 to 1 of HLG (BT.2100, tables 4, 5)."""
    codes = np.linspace(0, 1, 2**16)
    if transfer == PQ:
        return pq_to_nits(codes).astype(np.float32)
    if transfer == HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        return np.where(codes <= 0.5, codes**2 / 3, (np.exp((codes - c) / a) + b) / 12).astype(np.float32)
    return (WHITE * codes**2.4).astype(np.float32)


def _show(codes: AnyArray, transfer: int) -> Float32Array:
    """Return the nits (h, w, 3) that a screen shows for R, G and B of 16 bits."""
    light = make_curve(transfer)[codes]
    if transfer == HLG:
        scene = np.maximum(cv2.transform(light, LUMA).reshape(*light.shape[:2], 1), 1e-9)
        light *= HLG_PEAK * np.power(scene, np.float32(0.2))
    return np.asarray(light, np.float32)
