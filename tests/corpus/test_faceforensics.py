from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "FaceShifter", "NeuralTextures")
PAIRS = [("000", "003"), ("071", "054"), ("100", "200")]
SPLITS = {"train": [["000", "003"]], "val": [["071", "054"]], "test": [["100", "200"]]}
SCENES = ("exit_phone_room", "walking_down_indoor_hall_disgust")
SWAPS = [("01", "02"), ("02", "01"), ("01", "27")]

FORENSIC_PAIR = ["original/000.mp4", "original/003.mp4", "Deepfakes/000_003.mp4"]

Plant = Callable[..., Path]


def official(*compressions: str, methods: tuple[str, ...] = METHODS, scenes: bool = False, masks: bool = False) -> list[str]:
    names = []
    for compression in compressions:
        youtube = f"original_sequences/youtube/{compression}/videos"
        names += [f"{youtube}/{name}.mp4" for pair in PAIRS for name in pair]
        for method in methods:
            folder = f"manipulated_sequences/{method}/{compression}/videos"
            names += [f"{folder}/{one}_{other}.mp4" for pair in PAIRS for one, other in itertools.permutations(pair)]
        if scenes:
            names += [
                f"original_sequences/actors/{compression}/videos/{actor}__{scene}.mp4"
                for actor in ("01", "02", "27")
                for scene in SCENES
            ]
            folder = f"manipulated_sequences/DeepFakeDetection/{compression}/videos"
            names += [f"{folder}/{one}_{other}__{scene}__YVGY8LOK.mp4" for one, other in SWAPS for scene in SCENES]
    if masks:
        names += [f"manipulated_sequences/{method}/masks/videos/000_003.mp4" for method in methods]
    return names


def passed_around(scenes: bool = False) -> list[str]:
    names = [f"original/{name}.mp4" for pair in PAIRS for name in pair]
    names += [
        f"{method}/{one}_{other}.mp4" for method in METHODS for pair in PAIRS for one, other in itertools.permutations(pair)
    ]
    if scenes:
        names += [f"DeepFakeDetection/{one}_{other}__{scene}__A1B2C3D4.mp4" for one, other in SWAPS for scene in SCENES]
    return names


def write_splits(write_text: Any, root: Path, folder: str = "splits") -> None:
    for name, pairs in SPLITS.items():
        write_text(root, f"{folder}/{name}.json", pairs)


def test_the_official_tree(plant: Plant, index_tree: Any, write_text: Any) -> None:
    root = plant(*official("c23"))
    write_splits(write_text, root)
    found = index_tree(root)
    assert found.layout == (
        "FaceForensics++, c23, official splits: 2/2/2 pairs; Deepfakes, Face2Face, FaceShifter, FaceSwap, NeuralTextures"
    )
    real = found.rows["original_sequences/youtube/c23/videos/071.mp4"]
    fake = found.rows["manipulated_sequences/FaceSwap/c23/videos/071_054.mp4"]
    back = found.rows["manipulated_sequences/FaceSwap/c23/videos/054_071.mp4"]
    assert (real["label"], real["method"], real["split"], real["originals"], real["people"]) == (
        "REAL",
        None,
        "val",
        None,
        None,
    )
    assert (fake["label"], fake["method"], fake["split"]) == ("FAKE", "FaceSwap", "val")
    assert fake["originals"] == [f"original_sequences/youtube/c23/videos/{name}.mp4" for name in ("071", "054")]
    assert real["group"] == fake["group"] == back["group"]
    assert len({row["group"] for row in found.rows.values()}) == len(PAIRS)
    assert [note for note in found.notes if not note.startswith("3 folds, not 5")] == []


def test_several_compressions_of_a_video_are_one_group_and_masks_are_not_counted(plant: Plant, index_tree: Any) -> None:
    root = plant(*official("c23", "c40", masks=True), "manipulated_sequences/Deepfakes/c23/images/000_003/0000.png")
    found = index_tree(root)
    assert found.layout.startswith("FaceForensics++, c23 and c40, no official splits; ")
    assert len(found.rows) == len(official("c23", "c40"))
    assert len({row["group"] for row in found.rows.values()}) == len(PAIRS)
    c40 = found.rows["manipulated_sequences/Deepfakes/c40/videos/000_003.mp4"]
    assert c40["originals"] == [f"original_sequences/youtube/c40/videos/{name}.mp4" for name in ("000", "003")]
    assert not any("masks" in video_id for video_id in found.rows)
    masks = "left out: 5 videos of masks, such as 'manipulated_sequences/Deepfakes/masks/videos/000_003.mp4'"
    assert masks in found.notes
    assert found.notes_on("kinds that are not read: 1 .png")


def test_an_original_in_another_compression_is_the_original(plant: Plant, index_tree: Any) -> None:
    names = [name for name in official("raw", "c40") if ("original" in name) == ("/raw/" in name)]
    found = index_tree(plant(*names))
    fake = found.rows["manipulated_sequences/Deepfakes/c40/videos/000_003.mp4"]
    assert fake["originals"] == [f"original_sequences/youtube/raw/videos/{name}.mp4" for name in ("000", "003")]
    assert not found.notes_on("originals that are not in the corpus")


def test_as_it_is_passed_around(plant: Plant, index_tree: Any, write_text: Any) -> None:
    root = plant(*passed_around(scenes=True), at="FaceForensics++_C23")
    rows = "\n".join(f",{name},{'REAL' if 'original' in name else 'FAKE'},300" for name in passed_around())
    for name in ("Deepfakes", "FF++_Metadata", "FF++_Metadata_Shuffled", "original"):
        write_text(root, f"csv/{name}.csv", f",File Path,Label,Frame Count\n{rows}\n")
    found = index_tree(root)
    assert found.layout.startswith("FaceForensics++, c23, no official splits; DeepFakeDetection, Deepfakes, ")
    assert set(found.rows) == set(passed_around(scenes=True))
    assert {video_id: row["label"] for video_id, row in found.rows.items()} == {
        name: "REAL" if name.startswith("original/") else "FAKE" for name in found.rows
    }
    assert found.rows["Face2Face/003_000.mp4"]["originals"] == ["original/003.mp4", "original/000.mp4"]
    assert found.notes_on("labels are those of FaceForensics++; 'csv/Deepfakes.csv' (and 3 more) is not read")
    assert found.notes_on("originals that are not in the corpus: 4, such as '01__exit_phone_room' of 2 videos")


def test_actors_are_people_and_a_scene_links_its_fakes(plant: Plant, index_tree: Any) -> None:
    found = index_tree(plant(*official("c23", methods=(), scenes=True)))
    fake = found.rows["manipulated_sequences/DeepFakeDetection/c23/videos/01_27__exit_phone_room__YVGY8LOK.mp4"]
    assert fake["people"] == ["01", "27"]
    assert fake["originals"] == ["original_sequences/actors/c23/videos/01__exit_phone_room.mp4"]
    assert (fake["method"], fake["split"]) == ("DeepFakeDetection", None)
    assert found.rows["original_sequences/actors/c23/videos/27__exit_phone_room.mp4"]["people"] == ["27"]
    actors = {name for name in found.rows if "actors" in name or "DeepFakeDetection" in name}
    assert len({found.rows[name]["group"] for name in actors}) == 1
    assert found.notes_on("people join ")
    none = index_tree(Path(found.rows[fake["video_id"]]["uri"].split("/manipulated")[0]), "index.join_people=none")
    scenes = {none.rows[name]["group"] for name in actors}
    assert len(scenes) == 3 * len(SCENES)
    assert none.notes_on("people: 3 of 3 are in several groups")


@pytest.mark.parametrize("place", ["FaceForensics++", "data/sets/FF++"])
def test_a_folder_too_high_is_found(plant: Plant, index_tree: Any, write_text: Any, place: str) -> None:
    root = plant(*(f"{place}/{name}" for name in official("c23")), "notes/readme.txt")
    write_splits(write_text, root, f"{place}/dataset/splits")
    found = index_tree(root)
    assert found.layout.startswith(f"FaceForensics++ in '{place}', c23, official splits: 2/2/2 pairs; ")
    assert len(found.rows) == len(official("c23"))


@pytest.mark.parametrize(
    "inside",
    [
        "original_sequences",
        "manipulated_sequences",
        "manipulated_sequences/Deepfakes",
        "manipulated_sequences/Deepfakes/c23/videos",
    ],
)
def test_a_folder_too_deep_is_named(plant: Plant, refuse_tree: Any, index_tree: Any, inside: str) -> None:
    root = plant(*official("c23"))
    said = refuse_tree(root / inside)
    assert "it is only a part of FaceForensics++; --corpus is " in said
    assert "--set index.layout=none" in said
    assert set(index_tree(root / inside, "index.layout=none").column("label").values()) == {None}


def test_a_part_of_the_other_form_is_named(plant: Plant, refuse_tree: Any) -> None:
    root = plant(*passed_around(), at="FaceForensics++_C23")
    for part in ("original", "Deepfakes"):
        assert f"--corpus is {root}. " in refuse_tree(root / part)


def test_without_originals_it_says_so(plant: Plant, index_tree: Any) -> None:
    found = index_tree(plant(*(name for name in official("c23") if "original" not in name)))
    assert "FaceForensics++ is not complete: all 30 videos are FAKE; without REAL ones nothing is trained" in found.notes
    assert found.notes_on("originals that are not in the corpus: 6, such as '000' of 10 videos")
    assert len({row["group"] for row in found.rows.values()}) == len(PAIRS)


@pytest.mark.parametrize("content", ["{", '{"train": 1}', '[["000"]]', "[]", '["000", "003"]'])
def test_a_broken_list_of_a_split_is_one_line(plant: Plant, refuse_tree: Any, write_text: Any, content: str) -> None:
    root = plant(*official("c23"))
    write_splits(write_text, root)
    write_text(root, "splits/val.json", content)
    assert 'splits/val.json: expected a list of pairs, such as [["071", "054"]]' in refuse_tree(root)


def test_lists_that_contradict_each_other_or_lack_are_told(
    plant: Plant, refuse_tree: Any, index_tree: Any, write_text: Any
) -> None:
    root = plant(*official("c23"))
    write_text(root, "splits/train.json", [["000", "003"], [71, 54]])
    found = index_tree(root)
    assert "official splits: there is no val.json and no test.json" in found.notes
    assert found.notes_on("official splits: 12 of 36 videos are in none, such as ")
    assert found.rows["manipulated_sequences/Deepfakes/c23/videos/071_054.mp4"]["split"] == "train"
    write_text(root, "splits/test.json", [["071", "100"]])
    assert "'071' is in the split" in refuse_tree(root)


def test_one_video_at_two_places_is_one_line(plant: Plant, refuse_tree: Any) -> None:
    root = plant(*passed_around(), "copy/Deepfakes/000_003.mp4")
    said = refuse_tree(root)
    assert "'Deepfakes/000_003.mp4' and 'copy/Deepfakes/000_003.mp4' are one video of FaceForensics++" in said


def test_a_folder_for_each_compression_is_read_together(plant: Plant, index_tree: Any) -> None:
    names = [f"FF_{compression}/{name}" for compression in ("c23", "c40") for name in passed_around()]
    found = index_tree(plant(*names))
    assert found.layout.startswith("FaceForensics++, c23 and c40, ")
    assert len({row["group"] for row in found.rows.values()}) == len(PAIRS)


def test_deepfakedetection_as_it_is_passed_around(plant: Plant, index_tree: Any) -> None:
    root = plant(
        "DFD_original sequences/01__hall.mp4",
        "DFD_original sequences/02__hall.mp4",
        "DFD_manipulated_sequences/DFD_manipulated_sequences/01_02__hall__YVGY8LOK.mp4",
    )
    found = index_tree(root)
    assert list(found.column("label").values()) == ["FAKE", "REAL", "REAL"]
    fake = next(iter(found.rows.values()))
    assert (fake["originals"], fake["method"]) == (["DFD_original sequences/01__hall.mp4"], "DeepFakeDetection")


@pytest.mark.parametrize("seed", range(8))
def test_every_file_of_any_part_of_the_tree_is_a_row_or_named(plant: Plant, index_tree: Any, seed: int) -> None:
    draw = random.Random(seed)
    everything = [*official("c23", "c40", scenes=True, masks=True), "readme.txt", "extra/talk.mp4", "x/0.png"]
    names = draw.sample(everything, k=draw.randint(8, len(everything)))
    found = index_tree(plant(*names, *official("c23")[:1], *official("c23")[-1:]))
    names = sorted({*names, *official("c23")[:1], *official("c23")[-1:]})
    masks = [name for name in names if "masks" in name]
    strays = [name for name in names if name == "extra/talk.mp4"]
    others = [name for name in names if not name.endswith(".mp4")]
    assert sorted([*found.rows, *masks, *strays, *others]) == names
    assert bool(masks) == bool(found.notes_on(f"left out: {len(masks)} video"))
    assert bool(strays) == bool(found.notes_on("left out: 1 video outside FaceForensics++"))
    assert bool(others) == bool(found.notes_on(f"left out: {len(others)} file"))
    for name, row in found.rows.items():
        assert row["label"] == ("REAL" if "original_sequences" in name else "FAKE")


def test_a_folder_of_a_method_with_other_names_is_no_data_set(plant: Plant, index_tree: Any) -> None:
    found = index_tree(plant("Deepfakes/holiday.mp4", "original/party.mp4"))
    assert set(found.column("label").values()) == {None}
    assert found.layout == "videos without labels"


def test_a_video_of_another_name_in_the_data_set_has_the_label_of_its_folder(plant: Plant, index_tree: Any) -> None:
    found = index_tree(plant(*passed_around(), "Deepfakes/000_003 (1).mp4", "original/000_copy.mp4"))
    assert found.rows["Deepfakes/000_003 (1).mp4"]["label"] == "FAKE"
    assert found.rows["original/000_copy.mp4"]["label"] == "REAL"
    assert found.notes_on("FAKE videos whose name is no pair of originals: 1, such as 'Deepfakes/000_003 (1).mp4'")
    assert found.notes_on("REAL videos whose name is none of an original: 1, such as 'original/000_copy.mp4'")


def test_folders_above_may_say_splits_and_labels(plant: Plant, index_tree: Any) -> None:
    names = ["train/real/youtube/000.mp4", "train/fake/Deepfakes/000_003.mp4", "test/fake/Deepfakes/071_054.mp4"]
    found = index_tree(plant(*names))
    assert found.column("split") == {names[2]: "test", names[1]: "train", names[0]: "train"}
    assert found.column("label") == {names[2]: "FAKE", names[1]: "FAKE", names[0]: "REAL"}
    assert found.layout.startswith("FaceForensics++, compression not known, no official splits; Deepfakes")


def test_the_folder_that_fits_the_name_says_the_label_whatever_is_above(plant: Plant, index_tree: Any) -> None:
    labels = {
        "real/set/Deepfakes/000_003.mp4": "FAKE",
        "real/set/Deepfakes/original/000.mp4": "REAL",
        "real/set/FaceSwap/a face.mp4": "FAKE",
        "real/set/FaceSwap/original/a face.mp4": "REAL",
        "real/set/original/a talk.mp4": "REAL",
    }
    assert index_tree(plant(*labels)).column("label") == labels


def test_the_rest_of_a_download_is_counted_and_suffixes_may_be_in_capitals(plant: Plant, index_tree: Any) -> None:
    names = [name.replace(".mp4", ".MP4") for name in official("c23", methods=("Deepfakes",))]
    rest = ["README.md", "faceforensics_download_v4.py", "c23.zip", "conversion_dict.json", "manipulated_sequences/x.txt"]
    found = index_tree(plant(*names, *rest))
    assert list(found.rows) == sorted(names)
    assert found.rows["manipulated_sequences/Deepfakes/c23/videos/000_003.MP4"]["originals"] == [
        f"original_sequences/youtube/c23/videos/{name}.MP4" for name in ("000", "003")
    ]
    assert found.notes_on("'conversion_dict.json' is not read")
    assert found.notes_on("left out: 4 files of kinds that are not read: ")


def test_a_part_that_was_unpacked_inside_of_the_other_keeps_its_label(plant: Plant, index_tree: Any) -> None:
    root = plant(
        "original_sequences/youtube/c23/videos/000.mp4",
        "original_sequences/manipulated_sequences/Deepfakes/c23/videos/000_003.mp4",
    )
    assert sorted(index_tree(root).column("label").values()) == ["FAKE", "REAL"]
    assert index_tree(root).column("method")["original_sequences/manipulated_sequences/Deepfakes/c23/videos/000_003.mp4"]


def test_a_name_of_the_other_label_is_told(plant: Plant, index_tree: Any) -> None:
    found = index_tree(plant(*FORENSIC_PAIR, "original/071_054.mp4", "Deepfakes/071.mp4"))
    assert found.column("label")["original/071_054.mp4"] == "REAL"
    assert "REAL videos whose name is none of an original: 1, such as 'original/071_054.mp4'" in found.notes
    assert "FAKE videos whose name is no pair of originals: 1, such as 'Deepfakes/071.mp4'" in found.notes


@pytest.mark.parametrize("name", ["fake/youtube/071.mp4", "train/Manipulated/original/071.mp4"])
def test_an_original_in_a_folder_of_fake_videos_is_one_line(plant: Plant, refuse_tree: Any, name: str) -> None:
    said = refuse_tree(plant(*FORENSIC_PAIR, name))
    assert f"'{name}' is in a folder of FAKE videos and in one of FaceForensics++'s originals; rename" in said


def test_the_data_set_may_be_in_a_folder_of_fake_videos(plant: Plant, index_tree: Any) -> None:
    found = index_tree(plant(*(f"fake/ff/{name}" for name in FORENSIC_PAIR)))
    assert list(found.column("label").values()) == ["FAKE", "REAL", "REAL"]


def test_folders_of_others_that_are_called_as_its_own_are_left_out(plant: Plant, index_tree: Any) -> None:
    found = index_tree(plant(*FORENSIC_PAIR, "interviews/youtube/a talk.mp4", "clips/FaceSwap/a.mp4", "real/b.mp4"))
    assert set(found.rows) == set(FORENSIC_PAIR)
    assert found.notes_on("left out: 3 videos outside FaceForensics++, such as 'clips/FaceSwap/a.mp4'")


@pytest.mark.parametrize(
    "names", [("real/a.mp4", "fake/b.mp4"), ("real/12.mp4", "fake/13.mp4"), ("original/1.mp4", "manipulated/2.mp4")]
)
def test_class_folders_of_others_are_one_line_though_it_has_folders_called_so(
    plant: Plant, refuse_tree: Any, names: tuple[str, str]
) -> None:
    root = plant(*FORENSIC_PAIR, *(f"other/{name}" for name in names))
    assert "it holds FaceForensics++ and class folders of other videos in 'other'; --corpus is one of them" in refuse_tree(root)
