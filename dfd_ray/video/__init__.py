"""Videos: opening them safely, choosing frames, decoding these exactly. Never imports ray."""

from dfd_ray.video.decode import Video, decode_video
from dfd_ray.video.frame import Frame
from dfd_ray.video.probe import Stream, walk_packets
from dfd_ray.video.sampling import choose_frames

__all__ = ["Frame", "Stream", "Video", "choose_frames", "decode_video", "walk_packets"]
