"""What is fitted to validation pictures: the scores, and the limit for unknown pictures."""

import math

import numpy as np
import pytest
from scipy.special import expit

from answers.calibration import Calibration, fit, fit_platt_scaling, rejection_threshold, with_max_distance, with_scale

# ---- Platt scaling ----


def known(count: int, *, classes: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns normally distributed log-odds, around 3 for the true class and -1 for the others, and the true classes.

    By Bayes' theorem, the logarithm of the true odds of a class is then a linear function of them, with the slope
    4 / spread² and the root 1 + log(classes - 1) / slope.
    """
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, count)
    truth = np.arange(classes) == labels[:, None]
    return np.where(truth, 3, -1) + rng.normal(scale=spread, size=(count, classes)), labels


@pytest.mark.parametrize(("classes", "spread"), [(2, 2.0), (2, 4.0), (5, 2.0), (5, 1.0)])
def test_platt_scaling_finds_the_true_slope_and_intercept(classes, spread):
    odds, labels = known(40_000, classes=classes, spread=spread)
    slope, intercept = fit_platt_scaling(odds, labels)
    assert slope == pytest.approx(4 / spread**2, rel=0.05)
    assert intercept == pytest.approx(-4 / spread**2 - math.log(classes - 1), rel=0.05)


def test_platt_scaling_of_five_times_the_log_odds_has_a_fifth_the_slope():
    odds, labels = known(40_000, classes=3, spread=2)
    slope, intercept = fit_platt_scaling(odds, labels)
    assert fit_platt_scaling(5 * odds, labels) == pytest.approx((slope / 5, intercept), rel=0.01)


@pytest.mark.parametrize("fraction", [0.6, 0.75, 0.95])
def test_platt_scaling_of_equal_log_odds_gives_the_fraction_correct(fraction):
    odds = np.tile([5.0, -5.0], (10_000, 1))
    slope, intercept = fit_platt_scaling(odds, (np.arange(10_000) >= fraction * 10_000).astype(int))
    found = expit(slope * odds[:1] + intercept)
    assert found == pytest.approx(np.array([[fraction, 1 - fraction]]), abs=0.005)


def test_platt_scaling_with_few_pictures_stays_near_the_prior():
    # At slope 1, the gradient of the likelihood is that of the four sigmoids, 4 · 5 · sigmoid(-5) = 0.134. The
    # gradient of the prior grows by 1 / 0.25² = 16 per unit of the logarithm of the slope.
    slope, intercept = fit_platt_scaling(np.array([[5.0, -5.0], [-5.0, 5.0]]), np.array([0, 1]))
    assert math.log(slope) == pytest.approx(0.134 / 16, rel=0.1)
    assert intercept == pytest.approx(0, abs=1e-6)
    wrong, _ = fit_platt_scaling(np.array([[5.0, -5.0], [-5.0, 5.0]]), np.array([1, 0]))
    assert 0.3 < wrong < 0.7


def one_class_only():
    odds, _ = known(30, classes=3, spread=2)
    return odds, np.zeros(30, int)


DIFFICULT = {
    "two pictures, correct": ([[5, -5], [-5, 5]], [0, 1]),
    "two pictures, wrong": ([[5, -5], [-5, 5]], [1, 0]),
    "two pictures, one of them correct": ([[5, -5], [5, -5]], [0, 1]),
    "two pictures of one class": ([[2, -3], [1, -1]], [0, 0]),
    "two pictures, huge log-odds": ([[1000, -1000], [-1000, 1000]], [0, 1]),
    "two pictures, huge log-odds and wrong": ([[1000, -1000], [-1000, 1000]], [1, 0]),
    "hardly any difference": ([[1e-6, -1e-6], [-1e-6, 1e-6]], [0, 1]),
    "far from zero": ([[300, 250], [250, 300]], [0, 1]),
    "only one class": one_class_only(),
}


@pytest.mark.parametrize(("odds", "labels"), DIFFICULT.values(), ids=DIFFICULT)
def test_platt_scaling_of_difficult_data_gives_valid_ordered_scores(odds, labels):
    odds = np.array(odds, float)
    slope, intercept = fit_platt_scaling(odds, np.array(labels))
    assert slope > 0 and math.isfinite(intercept)
    found = expit(slope * odds + intercept)
    assert found.shape == odds.shape
    assert ((found >= 0) & (found <= 1)).all()
    higher = odds[:, :, None] > odds[:, None]
    assert (found[:, :, None] >= found[:, None])[higher].all()


def log_posterior(odds: np.ndarray, labels: np.ndarray, log_slope: float, intercept: float) -> float:
    """Returns the logarithm of likelihood and prior, term by term: sigmoids, and normal distributions around 0."""
    total = -(log_slope**2 + intercept**2) / (2 * 0.25**2)
    for row, label in zip(odds.tolist(), labels, strict=True):
        for number, value in enumerate(row):
            probability = 1 / (1 + math.exp(-(math.exp(log_slope) * value + intercept)))
            total += math.log(probability if number == label else 1 - probability)
    return total


@pytest.mark.parametrize("spread", [1, 2, 4])
@pytest.mark.parametrize("count", [1, 4, 30])
@pytest.mark.parametrize("shift", [0, 1])  # of the labels; with 1, all predictions are wrong
def test_platt_scaling_maximizes_the_posterior(count, spread, shift):
    odds, labels = known(count, classes=3, spread=spread)
    labels = (labels + shift) % 3
    slope, intercept = fit_platt_scaling(odds, labels)
    best = log_posterior(odds, labels, math.log(slope), intercept)
    for angle in np.linspace(0, 2 * math.pi, 8, endpoint=False):
        step = 0.01 * math.cos(angle), 0.01 * math.sin(angle)
        assert log_posterior(odds, labels, math.log(slope) + step[0], intercept + step[1]) < best


def test_platt_scaling_of_wrong_predictions_gives_scores_near_a_half():
    odds, labels = known(5000, classes=2, spread=1)
    slope, intercept = fit_platt_scaling(odds, 1 - labels)
    found = expit(slope * odds + intercept)
    assert np.abs(found - 0.5).mean() < 0.05


# ---- the limit for unknown pictures ----


def shuffled(count: int) -> np.ndarray:
    """Returns 1, 2, … count in a random order."""
    return np.random.default_rng(0).permutation(count) + 1.0


@pytest.mark.parametrize(
    ("count", "rate", "threshold"),
    [
        (18, 0.05, math.inf),  # 1 of 19 is 5.3 %, too many
        (19, 0.05, 19),  # a new picture is the farthest of 20 in 5 % of the cases
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
def test_rejection_threshold_is_as_strict_as_count_and_rate_allow(count, rate, threshold):
    assert rejection_threshold(shuffled(count), rate=rate) == threshold


def test_rejection_threshold_does_not_separate_equal_values():
    assert rejection_threshold(np.full(39, 7.0), rate=0.05) == 7
    assert rejection_threshold(np.array([1.0] * 37 + [2, 3]), rate=0.05) == 2
    assert rejection_threshold(np.array([1.0] * 38 + [3]), rate=0.05) == 1


@pytest.mark.parametrize("count", [19, 39, 299])
def test_rejection_threshold_rejects_new_pictures_at_the_rate(count):
    rng = np.random.default_rng(count)
    rejected, new = 0, 50
    for _ in range(3000):
        values = rng.normal(size=count + new)
        rejected += (values[count:] > rejection_threshold(values[:count], rate=0.05)).sum()
    assert rejected / (3000 * new) == pytest.approx(0.05, abs=0.004)  # these counts reach it exactly


# ---- fit ----


def fitted(roots, others=None) -> Calibration:
    """Fits to the square roots of statistics, and to other features."""
    others = np.ones((len(roots), 1)) if others is None else others
    return fit(
        training_features=np.hstack([np.array(roots) ** 2, others]).astype(np.float32),
        statistics=np.shape(roots)[1],
        validation_odds=np.array([[0.0, -4.0]]),
        validation_labels=np.array([0]),
    )


def lengths(roots, calibration: Calibration) -> np.ndarray:
    return np.linalg.norm((np.array(roots) - calibration.mean) @ calibration.whitening, axis=1)


def test_fit_measures_statistics_in_standard_deviations():
    calibration = fitted([[4, 3], [4, 7], [6, 3], [6, 7]])  # 5 ± 1 and 5 ± 2, independent of each other
    assert calibration.mean == pytest.approx(np.array([5, 5]))
    found = lengths([[5, 5], [6, 5], [5, 7], [8, 9]], calibration)
    assert found == pytest.approx([0, 1, 1, math.hypot(3, 2)], abs=1e-6)


def test_fit_takes_half_of_the_correlation_of_statistics_into_account():
    calibration = fitted([[4, 4], [6, 6]])  # variances 1; their covariance of 1 is halved
    found = lengths([[6, 6], [6, 4], [6, 5]], calibration)
    # By hand: the inverse of ((1, 1/2), (1/2, 1)) is ((4, -2), (-2, 4)) / 3.
    assert found**2 == pytest.approx([4 / 3, 12 / 3, 4 / 3], rel=1e-5)


@pytest.mark.parametrize("roots", [[[3, 0]], [[3, 0], [3, 0]], [[3, 0], [5, 0]]], ids=["one", "equal", "dead feature"])
def test_fit_to_equal_training_pictures_gives_finite_lengths(roots):
    calibration = fitted(roots)
    assert np.isfinite(calibration.whitening).all()
    assert np.isfinite(lengths([[0, 7**0.5]], calibration)).all()
    assert (lengths(roots, calibration) <= 1.0001).all()
    assert lengths([[3, 1]], calibration) > 100  # far from anything seen


def test_fit_keeps_the_directions_of_the_other_features():
    references = fitted(np.eye(3, 2), [[3, 4], [-0.03, 0.04], [2000, 0]]).references
    assert references == pytest.approx(np.array([[0.6, 0.8], [-0.6, 0.8], [1, 0]]))
    assert references.dtype == np.float32


def test_fit_to_features_that_are_all_zero_keeps_them():
    assert fitted(np.eye(2), [[0, 0], [0, 5]]).references.tolist() == [[0, 0], [0, 1]]


def test_fit_keeps_fewer_references_if_there_are_many_features():
    numbers = np.eye(20, 2**16)  # 16 of them would be 4 MB
    assert fitted(np.ones((16, 2)), numbers[:16]).references.shape == (16, 2**16)
    assert fitted(np.ones((20, 2)), numbers).references.argmax(axis=1).tolist() == list(range(0, 20, 2))


def test_with_scale_fits_median_and_the_most_unlike_tenth():
    measures = np.stack([np.arange(11), 10 * np.arange(11)], axis=1)
    calibration = with_scale(fitted([[1, 2], [3, 5]]), measures)
    assert (calibration.centers.tolist(), calibration.spreads.tolist()) == ([5, 50], [4, 40])


def test_with_scale_of_equal_measures_has_no_spread_of_zero():
    calibration = with_scale(fitted([[1, 2], [3, 5]]), np.array([[5.0, 0.0]] * 3))
    assert calibration.spreads == pytest.approx(np.array([0.050001, 1e-6]))


def test_fit_scales_the_scores_by_validation_pictures_and_sets_no_limit():
    odds, labels = known(30, classes=2, spread=2)
    calibration = fit(training_features=np.ones((2, 3)), statistics=2, validation_odds=odds, validation_labels=labels)
    assert (calibration.slope, calibration.intercept) == fit_platt_scaling(odds, labels)
    assert calibration.max_distance == math.inf


@pytest.mark.parametrize(("count", "rate", "max_distance"), [(18, 0.05, math.inf), (39, 0.05, 38), (39, 0, math.inf)])
def test_with_max_distance_rejects_the_farthest(count, rate, max_distance):
    calibration = with_max_distance(fitted([[1, 2], [3, 5]]), shuffled(count), unknown_rate=rate)
    assert calibration.max_distance == max_distance
