"""What a corpus may hold that nobody wants: a whole job over one of everything, and bytes at random."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from dfd_ray.cli import main
from dfd_ray.errors import Reason, Stage, Status, VideoError
from dfd_ray.sections import Preprocess
from dfd_ray.store.tables import read_table
from dfd_ray.video.decoder_process import DecoderProcess

OK = (Status.OK, None, None)
NO_FACE = (Status.NO_FACE, None, None)


def refused(stage: Stage, reason: Reason) -> tuple[Status, Stage, Reason]:
    return Status.ERROR, stage, reason


def write_black(path: Path, count: int, width: int = 160, height: int = 120) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        for number in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, number * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.fixture
def clip(clips_with_faces: list[Path]) -> bytes:
    """Take a clip of the demo corpus that has a face."""
    return clips_with_faces[0].read_bytes()


def write_no_frame(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        container.start_encoding()


def write_huge(path: Path) -> None:
    """Write a small frame of raw pixels whose header says 100,000 x 100,000."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(160, 120, "yuv420p")))
        container.mux(stream.encode())
    content = bytearray(path.read_bytes())
    sides = content.find(b"strf") + 12  # BITMAPINFOHEADER: its size, width, height
    content[sides : sides + 8] = 2 * (100_000).to_bytes(4, "little")
    path.write_bytes(content)


def lie(content: bytes, box: bytes, offset: int, value: int, size: int = 4) -> bytes:
    """Change a number so many bytes behind the name of an mp4's first box of a kind."""
    start = content.find(box) + 4 + offset
    return content[:start] + value.to_bytes(size, "big") + content[start + size :]


def test_every_file_of_a_hostile_corpus_is_one_row_with_its_reason(
    ray: None, clip: bytes, tmp_path: Path, flags: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    corpus = tmp_path / "corpus"
    first, second = corpus / "part_0", corpus / "part_1"
    first.mkdir(parents=True)
    second.mkdir()
    whole = {"twin.mp4": OK, "spaces in it.mp4": OK, "quote'\".mp4": OK, "line\nbreak.mp4": OK, "ÄÖ漢字.mp4": OK}
    for name in whole:
        (first / name).write_bytes(clip)
    (second / "twin.mp4").write_bytes(clip)  # the same name in another part
    (first / "empty.mp4").touch()
    (first / "text.mp4").write_text("not a film at all\n" * 100)
    (first / "list.mp4").write_text(f"ffconcat version 1.0\nfile '{first / 'twin.mp4'}'\n")
    (first / "playlist.mp4").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n")
    (first / "cut.mp4").write_bytes(clip[:600])
    write_sound(first / "sound.mp4")
    write_black(first / "black.mp4", 30)
    write_black(first / "single.mp4", 1)
    black = (first / "black.mp4").read_bytes()
    assert black.find(b"moov") > black.find(b"mdat")
    (first / "no moov.mp4").write_bytes(black[: black.find(b"moov") - 4])
    write_no_frame(first / "no frame.mp4")
    write_no_frame(first / "no frame.mkv")
    (first / "a billion.mp4").write_bytes(lie(black, b"stsz", 8, 10**9))
    (first / "a billion in time.mp4").write_bytes(lie(black, b"stts", 8, 10**9))
    (first / "wide.mp4").write_bytes(lie(lie(black, b"avc1", 24, 65_535, 2), b"avc1", 26, 65_535, 2))
    write_huge(first / "huge.avi")
    write_black(first / "large.mp4", 1, 8192, 4112)
    (tmp_path / "secret.mp4").write_bytes(clip)
    (first / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    (first / "gone.mp4").write_bytes(clip)

    run = tmp_path / "run"
    assert main(["index", "--run", str(run), "--corpus", str(corpus), *flags]) == 0
    (first / "gone.mp4").unlink()
    assert main(["preprocess", "--run", str(run)]) == 0

    expected = {f"part_0/{name}": end for name, end in whole.items()} | {
        "part_1/twin.mp4": OK,
        "part_0/empty.mp4": refused(Stage.OPEN, Reason.EMPTY),
        "part_0/text.mp4": refused(Stage.OPEN, Reason.NOT_A_VIDEO),
        "part_0/list.mp4": refused(Stage.OPEN, Reason.NOT_A_VIDEO),
        "part_0/playlist.mp4": refused(Stage.OPEN, Reason.NOT_A_VIDEO),
        "part_0/cut.mp4": refused(Stage.OPEN, Reason.NOT_A_VIDEO),
        "part_0/sound.mp4": refused(Stage.OPEN, Reason.NO_VIDEO_STREAM),
        "part_0/black.mp4": NO_FACE,
        "part_0/single.mp4": NO_FACE,
        "part_0/no moov.mp4": refused(Stage.OPEN, Reason.NOT_A_VIDEO),
        "part_0/no frame.mp4": refused(Stage.OPEN, Reason.NO_VIDEO_STREAM),
        "part_0/no frame.mkv": refused(Stage.OPEN, Reason.NOT_A_VIDEO),
        "part_0/a billion.mp4": refused(Stage.OPEN, Reason.NOT_A_VIDEO),
        "part_0/a billion in time.mp4": NO_FACE,
        "part_0/wide.mp4": NO_FACE,
        "part_0/large.mp4": refused(Stage.OPEN, Reason.TOO_LARGE),
        "part_0/huge.avi": refused(Stage.DECODE, Reason.BROKEN_STREAM),
        "part_0/link.mp4": refused(Stage.OPEN, Reason.OUTSIDE),
        "part_0/gone.mp4": refused(Stage.OPEN, Reason.MISSING),
    }
    rows = read_table(str(run), "faces", ["video_id", "status", "error_stage", "error", "faces"]).to_pylist()
    assert len(rows) == len(expected)
    for row in rows:
        reason = row["error"] and row["error"].split(":")[0]
        assert (row["status"], row["error_stage"], reason) == expected[row["video_id"]], row["video_id"]
        assert bool(row["faces"]) == (row["status"] == Status.OK)
    said = {row["video_id"]: row["error"] for row in rows}
    assert said["part_0/text.mp4"] == "not_a_video: Invalid data found when processing input"
    bar = capfd.readouterr().err.split("\r")[-1]
    counts = Counter(row["status"] for row in rows)
    assert f"{len(rows)}/{len(rows)}" in bar
    assert all(f"{status}={count}" in bar for status, count in counts.items()), bar


def damaged(content: bytes, random: np.random.Generator) -> bytes:
    """Cut a file at a random byte, or overwrite some of its bytes, anywhere or where the headers and indexes are."""
    if random.random() < 0.4:
        return content[: random.integers(len(content))]
    rotten = bytearray(content)
    start = int(random.choice([0, 0, max(0, len(content) - 4000)]))
    end = int(random.choice([len(content), min(len(content), start + 4000)]))
    for position in random.integers(start, end, size=int(random.choice([1, 5, 50, 500]))):
        rotten[position] = random.integers(256)
    return bytes(rotten)


@pytest.fixture
def decoder() -> Iterator[DecoderProcess]:
    process = DecoderProcess(Preprocess(video_deadline=20, decoder_memory_gib=2))
    yield process
    process.close()


def fuzz(clips: list[bytes], cases: int, folder: Path, decoder: DecoderProcess) -> Counter[str]:
    """Decode damaged clips; return how they ended. That nothing else is raised is what is tested."""
    random = np.random.default_rng(11)
    ends: Counter[str] = Counter()
    path = folder / "damaged.mp4"
    for number in range(cases):
        path.write_bytes(damaged(clips[number % len(clips)], random))
        try:
            table = decoder.decode(str(path), 4)
        except VideoError as error:
            ends[error.reason] += 1
            continue
        [row] = table.drop_columns("frames").to_pylist()
        assert table.num_rows == 1
        if row["status"] == Status.OK:
            assert len(table.column("frames")[0]) > 0
            ends[Status.OK] += 1
        else:
            assert row["error_stage"] in list(Stage)
            ends[Reason(row["error"].split(":")[0])] += 1
    assert ends.total() == cases
    return ends


@pytest.mark.parametrize("cases", [60, pytest.param(240, marks=pytest.mark.slow)])
def test_damaged_clips_of_the_demo_end_in_frames_or_in_a_reason(
    cases: int, demo_corpus: Path, tmp_path: Path, decoder: DecoderProcess
) -> None:
    clips = [path.read_bytes() for path in sorted(demo_corpus.rglob("*.mp4"))[:6] if path.stat().st_size > 4000]
    ends = fuzz(clips, cases, tmp_path, decoder)
    assert ends[Status.OK] > cases / 12
    assert len(ends) > 2


@pytest.mark.slow
def test_damaged_real_clips_end_in_frames_or_in_a_reason(real_corpus: Path, tmp_path: Path, decoder: DecoderProcess) -> None:
    paths = sorted(real_corpus.glob("dfdc_train_part_*/*.mp4"), key=os.path.getsize)[:6]
    ends = fuzz([path.read_bytes() for path in paths], 60, tmp_path, decoder)
    assert ends[Status.OK] > 5
