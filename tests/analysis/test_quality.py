"""The measures on cases small enough to compute by hand, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.manifold
import sklearn.metrics

from dfd_ray.analysis import neighbour_preservation, noise_share, purity, silhouette, stability, trustworthiness

RNG = np.random.default_rng(0)
LINE = np.array([[0.0], [1.0], [3.0], [7.0], [15.0]])


def test_trustworthiness_by_hand() -> None:
    # Points at 0, 1, 3, 7, 15 mapped with the first and the last exchanged; k = 1. Neighbours on the map: 1 of point 0
    # is 3 (rank 3, charged 2), 4's is 1 (rank 3, charged 2); the inner ones: 1 -> 4 (rank 4, charged 3), 2 -> 1 (0),
    # 3 -> 2 (0). Sum 7; T = 1 - 2 / (5 * 1 * (10 - 3 - 1)) * 7 = 1 - 14 / 30.
    swapped = LINE[[4, 1, 2, 3, 0]]
    assert trustworthiness(LINE, swapped, neighbours=1) == pytest.approx(1 - 14 / 30)
    assert trustworthiness(LINE, LINE * -3 + 5, neighbours=2) == 1.0


def test_trustworthiness_is_sklearns_when_the_sample_holds_all_points() -> None:
    high = RNG.normal(size=(80, 6))
    low = high[:, :2]
    expected = sklearn.manifold.trustworthiness(high, low, n_neighbors=7)
    assert trustworthiness(high, low, neighbours=7) == pytest.approx(expected)


def test_trustworthiness_of_a_sample_depends_on_the_seed_only() -> None:
    high = RNG.normal(size=(300, 6))
    first, again, other = (trustworthiness(high, high[:, :2], sample=100, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_neighbour_preservation_by_hand() -> None:
    # k = 2. Nearest in LINE: 0: {1, 2}, 1: {0, 2}, 2: {1, 0}, 3: {2, 1}, 4: {3, 2}.
    # Exchanged ends (15, 1, 3, 7, 0): 0: {3, 2}, 1: {4, 2}, 2: {1, 4}, 3: {2, 1}, 4: {1, 2}.
    # Common: 1, 1, 1, 2, 1 of 2 each.
    swapped = LINE[[4, 1, 2, 3, 0]]
    assert neighbour_preservation(LINE, swapped, neighbours=2) == pytest.approx(6 / 10)
    assert neighbour_preservation(LINE, LINE * -3 + 5, neighbours=2) == 1.0


def test_neighbours_of_sampled_points_are_searched_among_all() -> None:
    # 100 tight pairs: every point keeps its partner, which a sample of both sides would mostly miss.
    high = np.repeat(RNG.normal(size=(100, 5)), 2, axis=0) + RNG.normal(size=(200, 5)) * 1e-3
    low = np.repeat(RNG.normal(size=(100, 2)) * 100, 2, axis=0) + RNG.normal(size=(200, 2)) * 1e-6
    assert neighbour_preservation(high, low, neighbours=1, sample=20) == 1.0


def test_random_map_preserves_k_of_n() -> None:
    kept = neighbour_preservation(RNG.normal(size=(500, 5)), RNG.normal(size=(500, 2)), neighbours=25)
    assert kept == pytest.approx(25 / 499, abs=0.01)


def test_a_point_is_never_its_own_neighbour_even_among_duplicates() -> None:
    assert neighbour_preservation(LINE, np.zeros((5, 1)), neighbours=4) == 1.0  # all others are the neighbours
    high = np.zeros((40, 2))
    kept = neighbour_preservation(high, RNG.normal(size=(40, 2)), neighbours=3)
    assert kept is not None and 0 <= kept <= 1


def test_too_few_points_for_a_measure() -> None:
    assert trustworthiness(LINE[:2], LINE[:2]) is None
    assert trustworthiness(LINE[:3], LINE[:3]) == 1.0
    assert neighbour_preservation(LINE[:1], LINE[:1]) is None
    assert neighbour_preservation(LINE[:2], LINE[:2]) == 1.0


def test_noise_share() -> None:
    assert noise_share([-1, 0, 1, -1, 2]) == pytest.approx(0.4)
    assert noise_share([0, 0]) == 0.0
    assert noise_share([-1]) == 1.0
    assert noise_share([]) == 0.0


def test_purity_by_hand() -> None:
    # Cluster 0: a a b (2), cluster 7: b b b c (3), cluster 9: c (1); 6 of 8, the noise left out.
    labels = [0, 0, 0, 7, 7, 7, 7, 9, -1, -1]
    truth = list("aabbbbccaa")
    assert purity(labels, truth) == pytest.approx(6 / 8)
    assert purity(labels, [0] * 10) == 1.0
    assert purity([-1, -1], ["a", "b"]) is None
    assert purity([], []) is None


def test_silhouette_by_hand() -> None:
    # Clusters {0, 1} and {4, 6}: a = 1, 1, 2, 2; b = 5, 4, 3.5, 5.5.
    points = np.array([[0.0], [1.0], [4.0], [6.0], [500.0]])
    expected = np.mean([4 / 5, 3 / 4, 1.5 / 3.5, 3.5 / 5.5])
    assert silhouette(points, [3, 3, 8, 8, -1]) == pytest.approx(expected)


def test_silhouette_is_sklearns_when_the_sample_holds_all_points() -> None:
    points = RNG.normal(size=(90, 4))
    labels = RNG.integers(0, 4, size=90)
    labels[0] = 5  # alone in its cluster: scores 0
    assert silhouette(points, labels) == pytest.approx(sklearn.metrics.silhouette_score(points, labels))


def test_silhouette_of_a_sample_estimates_that_of_all() -> None:
    # 200 clusters and 100 sampled points: a sample of both sides would find almost every point alone.
    centres = RNG.normal(size=(200, 6)) * 20
    labels = np.repeat(np.arange(200), 10)
    points = centres[labels] + RNG.normal(size=(2000, 6))
    whole = silhouette(points, labels)
    assert whole is not None and whole > 0.7
    assert silhouette(points, labels, sample=100, seed=1) == pytest.approx(whole, abs=0.05)


def test_silhouette_needs_two_clusters() -> None:
    assert silhouette(LINE, [0, 0, 0, -1, -1]) is None
    assert silhouette(LINE, [-1] * 5) is None
    assert silhouette(np.zeros((4, 2)), [0, 0, 1, 1]) == 0.0


def test_bad_arguments_are_refused() -> None:
    for measure in (trustworthiness, neighbour_preservation):
        with pytest.raises(ValueError, match="same points, got 5 and 4"):
            measure(LINE, LINE[:4])
        with pytest.raises(ValueError, match="high holds NaN"):
            measure(LINE * np.nan, LINE)
        with pytest.raises(ValueError, match="neighbours"):
            measure(LINE, LINE, neighbours=0)
        with pytest.raises(ValueError, match="sample"):
            measure(LINE, LINE, sample=0)
    with pytest.raises(ValueError, match="same points"):
        purity([0, 1], ["a"])
    with pytest.raises(ValueError, match="same points"):
        silhouette(LINE, [0, 1])


def test_stability_is_one_for_clusters_that_any_subset_shows_and_low_for_chance() -> None:
    labels = np.repeat([0, 1, 2], 50)
    points = labels[:, None] * 10.0 + RNG.normal(size=(150, 2))
    assert stability(points, labels, lambda some: some[:, 0].round(-1)) == pytest.approx(1, abs=0.05)
    chance = stability(points, labels, lambda some: np.random.default_rng(1).integers(0, 3, len(some)))
    assert chance is not None and abs(chance) < 0.1


def test_stability_reruns_on_the_share_and_is_none_for_one_cluster() -> None:
    given: list[int] = []

    def cluster(points: np.ndarray) -> np.ndarray:
        given.append(len(points))
        return np.zeros(len(points), np.int32)

    points = RNG.normal(size=(50, 2))
    assert stability(points, np.arange(50) % 2, cluster, share=0.6, repeats=3) == 0.0
    assert given == [30, 30, 30]
    assert stability(points, np.full(50, -1), cluster) is None
    with pytest.raises(ValueError, match="same points"):
        stability(points, [0, 1], cluster)
