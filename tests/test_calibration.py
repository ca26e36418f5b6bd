"""What is fitted on validation pictures: the line behind the scores, and the limits of the unknown."""

import math

import numpy as np
import pytest

from calibration import Calibration, distances, fit, fit_line, is_unknown, limits, log_odds, scores

NOTHING = np.zeros(2), np.zeros((2, 2))  # a centre and a whitening that measure no distances

# ---- log-odds ----


def test_log_odds_of_a_softmax_are_those_of_its_probabilities():
    logits = np.log(np.array([[1, 2, 5]], np.float32)) + 7  # probabilities 1/8, 2/8 and 5/8, whatever is added to all
    assert np.exp(log_odds(logits, loss="softmax")) == pytest.approx(np.array([[1 / 7, 2 / 6, 5 / 3]]), rel=1e-5)


def test_log_odds_of_two_classes_under_a_softmax_are_the_difference_of_their_magnitudes_to_either_side():
    logits = np.array([[3, 1], [-2, 2.5], [4, 4]], np.float32)
    assert log_odds(logits, loss="softmax").tolist() == [[2, -2], [-4.5, 4.5], [0, 0]]


def test_log_odds_under_a_softmax_are_exact_for_huge_magnitudes_and_next_to_certain_answers():
    logits = np.array([[1000, -1000], [-1000, 1000], [1e30, -1e30], [50, 0]], np.float32)
    expected = [[2000, -2000], [-2000, 2000], [2e30, -2e30], [50, -50]]
    assert log_odds(logits, loss="softmax") == pytest.approx(np.array(expected))
    three = log_odds(np.array([[1000, 999, -1000], [0, 0, 0]], np.float32), loss="softmax")
    below = -2000 - math.log(1 + math.exp(-1))  # the others weigh e^1000 + e^999
    assert three == pytest.approx(np.array([[1, -1, below], [-math.log(2)] * 3]))


def test_magnitudes_of_a_network_trained_class_by_class_are_log_odds_already():
    logits = np.array([[-1000, 0.1, 1000], [1, 2, 3]], np.float32)
    found = log_odds(logits, loss="sigmoid")
    np.testing.assert_array_equal(found, logits)
    assert found.dtype == log_odds(logits, loss="softmax").dtype == np.float64


def test_log_odds_change_neither_the_magnitudes_nor_their_order():
    logits = np.random.default_rng(0).normal(scale=20, size=(200, 7)).astype(np.float32)
    before = logits.copy()
    for loss in ("softmax", "sigmoid"):
        np.testing.assert_array_equal(log_odds(logits, loss=loss).argsort(axis=1), logits.argsort(axis=1))
    np.testing.assert_array_equal(logits, before)


# ---- scores ----


def test_scores_are_the_sigmoid_of_a_line_through_the_log_odds():
    odds = np.array([[0, 0.5, 1], [-1000, 1000, 0.25]])
    found = scores(odds, Calibration(*NOTHING, scale=2, offset=-1))
    assert found == pytest.approx(np.array([[0.26894142, 0.5, 0.73105858], [0, 1, 0.37754067]]))


def test_scores_without_a_calibration_are_sigmoids():
    assert scores(np.array([[-1, 0, 1]]), Calibration(*NOTHING)) == pytest.approx(
        np.array([[0.26894142, 0.5, 0.73105858]])
    )


# ---- the line ----


def known(count: int, *, classes: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds around 3 for the true class and around -1 for the others, normally distributed, and the true classes.

    By Bayes, the logarithm of the true odds of a class is then a line through them: of the slope 4 / spread², which is
    zero at 1 + log(classes - 1) / that slope.
    """
    random = np.random.default_rng(classes)
    labels = random.integers(0, classes, count)
    truth = np.arange(classes) == labels[:, None]
    return np.where(truth, 3, -1) + random.normal(scale=spread, size=(count, classes)), labels


@pytest.mark.parametrize(("classes", "spread"), [(2, 2.0), (2, 4.0), (5, 2.0), (5, 1.0)])
def test_scale_and_offset_that_lie_behind_the_labels_are_found(classes, spread):
    odds, labels = known(40_000, classes=classes, spread=spread)
    scale, offset = fit_line(odds, labels)
    slope = 4 / spread**2
    assert scale == pytest.approx(slope, rel=0.05)
    assert offset == pytest.approx(-slope - math.log(classes - 1), rel=0.05)


def test_a_network_that_is_five_times_too_sure_gets_a_fifth_of_the_scale():
    odds, labels = known(40_000, classes=3, spread=2)
    scale, offset = fit_line(odds, labels)
    assert fit_line(5 * odds, labels) == pytest.approx((scale / 5, offset), rel=0.01)


@pytest.mark.parametrize("share", [0.6, 0.75, 0.95])
def test_many_pictures_with_one_and_the_same_answer_get_the_share_that_is_right(share):
    odds = np.tile([5.0, -5.0], (10_000, 1))
    scale, offset = fit_line(odds, (np.arange(10_000) >= share * 10_000).astype(int))
    found = scores(odds[:1], Calibration(*NOTHING, scale=scale, offset=offset))
    assert found == pytest.approx(np.array([[share, 1 - share]]), abs=0.005)


def test_a_few_pictures_hardly_move_the_line():
    # The slope of the cost at a scale of 1 is that of the four sigmoids, 4 · 5 · sigmoid(-5) = 0.134, against a prior
    # that rises by 1 / 0.25² = 16 for each unit of the logarithm.
    scale, offset = fit_line(np.array([[5.0, -5.0], [-5.0, 5.0]]), np.array([0, 1]))
    assert math.log(scale) == pytest.approx(0.134 / 16, rel=0.1)
    assert offset == pytest.approx(0, abs=1e-6)
    wrong, _ = fit_line(np.array([[5.0, -5.0], [-5.0, 5.0]]), np.array([1, 0]))
    assert 0.3 < wrong < 0.7


def one_class_only():
    odds, _ = known(30, classes=3, spread=2)
    return odds, np.zeros(30, int)


AWKWARD = {
    "two pictures, right": ([[5, -5], [-5, 5]], [0, 1]),
    "two pictures, wrong": ([[5, -5], [-5, 5]], [1, 0]),
    "two pictures, one of them right": ([[5, -5], [5, -5]], [0, 1]),
    "two pictures of one class": ([[2, -3], [1, -1]], [0, 0]),
    "two pictures, very sure": ([[1000, -1000], [-1000, 1000]], [0, 1]),
    "two pictures, very sure and wrong": ([[1000, -1000], [-1000, 1000]], [1, 0]),
    "hardly any difference": ([[1e-6, -1e-6], [-1e-6, 1e-6]], [0, 1]),
    "far from zero": ([[300, 250], [250, 300]], [0, 1]),
    "only one class": one_class_only(),
}


@pytest.mark.parametrize(("odds", "labels"), AWKWARD.values(), ids=AWKWARD)
def test_few_or_one_sided_answers_give_finite_scores_that_keep_the_order_of_the_classes(odds, labels):
    odds = np.array(odds, float)
    scale, offset = fit_line(odds, np.array(labels))
    assert scale > 0 and math.isfinite(offset)
    found = scores(odds, Calibration(*NOTHING, scale=scale, offset=offset))
    assert ((found >= 0) & (found <= 1)).all()
    higher = odds[:, :, None] > odds[:, None]
    assert (found[:, :, None] >= found[:, None])[higher].all()


def test_answers_that_are_always_wrong_say_nothing_so_that_all_scores_are_near_a_half():
    odds, labels = known(5000, classes=2, spread=1)
    scale, offset = fit_line(odds, 1 - labels)
    found = scores(odds, Calibration(*NOTHING, scale=scale, offset=offset))
    assert np.abs(found - 0.5).mean() < 0.05


# ---- the limits ----


def shuffled(count: int) -> np.ndarray:
    """1, 2, … count."""
    return np.random.default_rng(0).permutation(count) + 1.0


@pytest.mark.parametrize(
    ("count", "rate", "limit"),
    [
        (18, 0.05, math.inf),  # a nineteenth, 5.3 %, would be too many
        (19, 0.05, 19),  # a new picture is the strangest of 20 in 5 % of the cases
        (38, 0.05, 38),
        (39, 0.05, 38),  # one of 39 beyond
        (98, 0.01, math.inf),
        (99, 0.01, 99),
        (1, 0.5, 1),
        (0, 0.5, math.inf),
        (2, 0.5, 2),
        (3, 0.5, 2),
        (1000, 0, math.inf),
    ],
)
def test_a_limit_is_as_strict_as_the_number_of_pictures_and_the_rate_allow(count, rate, limit):
    values = shuffled(count)
    second = limit if (count + 1) * rate >= 2 else math.inf  # two limits take two places among the pictures
    assert limits(values, values, rate=rate) == (limit, second)


def test_each_measure_has_its_own_limit():
    values = shuffled(39)
    assert limits(10 * values, values - 100, rate=0.05) == (380, -62)


def test_pictures_that_either_measure_refuses_count_together():
    strange = shuffled(39)
    vague = 40 - strange  # the strangest picture is the least vague one, and the other way round
    assert limits(strange, vague, rate=0.05) == (39, 39)  # 38 would refuse two of them, and one is allowed
    strange = shuffled(79)
    assert limits(strange, 80 - strange, rate=0.05) == (78, 78)  # two, where three are allowed and four would come next


def test_equal_values_are_on_the_same_side_of_a_limit():
    first, second = limits(np.full(39, 7.0), np.full(39, 7.0), rate=0.05)
    assert first >= 7 and second >= 7


def two_measures(kind: str, count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    first = random.normal(size=count)
    other = random.normal(size=count)
    return first, {"same": first, "opposite": -first, "independent": other, "alike": 0.8 * first + 0.6 * other}[kind]


MEASURES = ["same", "opposite", "independent", "alike"]


@pytest.mark.parametrize("kind", MEASURES)
def test_of_the_pictures_that_set_the_limits_never_more_are_refused_than_allowed(kind):
    random = np.random.default_rng(1)
    refused_any = False
    for count in (1, 2, 19, 20, 39, 40, 100, 333):
        for rate in (0, 0.01, 0.05, 0.2, 0.5):
            first, second = two_measures(kind, count, random)
            farthest, vaguest = limits(first, second, rate=rate)
            refused = ((first > farthest) | (second > vaguest)).sum()
            assert refused <= max((count + 1) * rate - 1, 0), (count, rate)
            refused_any |= refused > 0
    assert refused_any


@pytest.mark.parametrize("count", [19, 39, 99, 299])
@pytest.mark.parametrize("kind", MEASURES)
def test_new_pictures_of_the_same_kind_are_refused_no_more_often_than_the_rate(kind, count):
    random = np.random.default_rng(count)
    refused, new = 0, 50
    for _ in range(1500):
        first, second = two_measures(kind, count + new, random)
        farthest, vaguest = limits(first[:count], second[:count], rate=0.05)
        refused += ((first[count:] > farthest) | (second[count:] > vaguest)).sum()
    assert refused / (1500 * new) <= 0.055  # chance alone gives 0.05 ± 0.002
    if count == 299:  # where so many pictures tell what is usual, no caution is needed
        assert refused / (1500 * new) >= 0.04


# ---- distances, and what is unknown ----


def test_distances_are_measured_from_the_centre_between_square_roots_behind_the_whitening():
    features = np.array([[4, 9], [1, 1], [0, 0]])  # square roots 2 and 3; 1 and 1; 0 and 0
    centered = Calibration(center=np.array([1, 1]), whitening=np.diag([2, 1]))
    assert distances(features, centered) == pytest.approx([math.hypot(2, 2), 0, math.hypot(2, 1)])
    mixing = centered._replace(whitening=np.array([[1, 1], [0, 1]]))
    assert distances(features, mixing) == pytest.approx([math.hypot(1, 1 + 2), 0, math.hypot(1, 1 + 1)])


def test_a_picture_is_unknown_beyond_either_limit_and_not_at_it():
    calibration = Calibration(center=np.zeros(2), whitening=np.eye(2), farthest=5, vaguest=-0.5)
    near, at, far = [1, 1], [9, 16], [9, 16.01]  # distances: the square root of the sum
    features = np.array([near, at, far, near, near, far])
    odds = np.array([[3, -3], [3, -3], [3, -3], [-0.5, -9], [-0.51, -9], [-9, -9]])
    assert is_unknown(odds, features, calibration).tolist() == [False, False, True, False, True, True]


def test_a_calibration_as_built_refuses_nothing():
    assert not is_unknown(np.array([[-1e30, -1e30]]), np.array([[1e30, 0]]), Calibration(*NOTHING)).any()


# ---- all of it ----


def fitted(roots, *, validation_roots=((0, 0),), best_odds=(0.0,), rate: float = 0.0) -> Calibration:
    """From the square roots of features, and the log-odds of the named class of validation pictures."""
    best = np.array(best_odds, float)
    return fit(
        training_features=np.array(roots, np.float32) ** 2,
        validation_features=np.array(validation_roots, np.float32) ** 2,
        validation_odds=np.stack([best, best - 4], axis=1),
        validation_labels=np.zeros(len(best), int),
        unknown_rate=rate,
    )


def test_distances_count_in_deviations_of_each_feature():
    calibration = fitted([[4, 3], [4, 7], [6, 3], [6, 7]])  # 5 ± 1 and 5 ± 2, independent of each other
    assert calibration.center == pytest.approx(np.array([5, 5]))
    found = distances(np.array([[5, 5], [6, 5], [5, 7], [8, 9]]) ** 2.0, calibration)
    assert found == pytest.approx([0, 1, 1, math.hypot(3, 2)])


def test_what_goes_against_a_correlation_is_farther_than_what_goes_with_it():
    calibration = fitted([[4, 4], [6, 6]])  # variances 1; their covariance of 1 is reduced by a tenth
    found = distances(np.array([[6, 6], [6, 4], [6, 5]]) ** 2.0, calibration)
    # By hand: the inverse of ((1, 0.9), (0.9, 1)) is ((1, -0.9), (-0.9, 1)) / 0.19.
    assert found**2 == pytest.approx([2 / 1.9, 2 / 0.1, 1 / 0.19])


@pytest.mark.parametrize("roots", [[[3, 0]], [[3, 0], [3, 0]], [[3, 0], [5, 0]]], ids=["one", "equal", "dead feature"])
def test_training_pictures_that_do_not_differ_give_finite_distances(roots):
    calibration = fitted(roots)
    features = np.array(roots, float) ** 2
    assert np.isfinite(calibration.whitening).all()
    assert np.isfinite(distances(np.array([[0, 7.0]]), calibration)).all()
    assert (distances(features, calibration) <= 1.0001).all()
    assert distances(np.array([[9, 1.0]]), calibration) > 100  # what never happened is very strange


def validation(count: int) -> dict:
    """Pictures ever farther from the middle and, in the same order, ever vaguer: 1 to count away, 10 - count to 9."""
    numbers = np.arange(1, count + 1)
    return {"validation_roots": np.stack([5 + numbers, np.full(count, 5)], axis=1), "best_odds": 10.0 - numbers}


SQUARE = [[4, 3], [4, 7], [6, 3], [6, 7]]


@pytest.mark.parametrize(
    ("count", "rate", "farthest", "vaguest"),
    [
        (18, 0.05, math.inf, -math.inf),
        (19, 0.05, 19, -math.inf),
        (39, 0.05, 38, -28),
        (39, 0, math.inf, -math.inf),
    ],
)
def test_the_limits_are_set_by_validation_pictures(count, rate, farthest, vaguest):
    calibration = fitted(SQUARE, rate=rate, **validation(count))
    assert calibration.farthest == pytest.approx(farthest)
    assert calibration.vaguest == vaguest


def test_the_line_is_that_of_the_validation_pictures():
    given = validation(30)
    best = given["best_odds"]
    odds = np.stack([best, best - 4], axis=1)
    calibration = fitted(SQUARE, rate=0.05, **given)
    assert (calibration.scale, calibration.offset) == fit_line(odds, np.zeros(30, int))
