"""What a study finds: curves are named by rules, and variants are compared seed by seed."""

from typing import Any

import pytest

from pokemon_gen.study.findings import name_curve, rows_of


def run(train: list[float], dev: list[float], **more: Any) -> dict[str, Any]:
    curves = {
        "train": [[10 * (n + 1), loss] for n, loss in enumerate(train)],
        "dev": [[10 * (n + 1), nll] for n, nll in enumerate(dev)],
    }
    last = {"train": train[-1] if train else None, "dev": dev[-1] if dev else None}
    last["dev_completion"] = last["dev"]
    return {"diverged": None, "curves": curves, **last, "group": "g", "seed": 0, **more}


FLAT = [3.0, 2.0, 1.6, 1.5, 1.45, 1.42, 1.41, 1.405, 1.402, 1.4]


@pytest.mark.parametrize(
    ("name", "train", "dev"),
    [
        ("settled", FLAT, FLAT),
        ("underfitted", [3.0, 2.8, 2.6, 2.4, 2.2], [3.0, 2.8, 2.6, 2.4, 2.2]),
        ("overfitted", [3.0, 2.0, 1.5, 1.2, 1.0], [3.0, 2.0, 1.8, 1.9, 2.0]),
        ("overfitted", [3.0, 2.0, 1.5, 1.2, 1.0], [3.0, 2.0, 1.81, 1.8, 1.8]),
        ("unstable", [3.0, 2.0, 2.9, 1.7, 1.5], FLAT),
        ("diverged", [3.0, 2.5, 3.1], FLAT),
        ("not measured", [3.0, 2.0], []),
    ],
)
def test_a_curve_has_the_name_of_its_rule(name: str, train: list[float], dev: list[float]) -> None:
    assert name_curve(run(train, dev)) == name


def test_a_training_whose_loss_was_not_finite_diverged() -> None:
    assert name_curve({**run([], []), "diverged": "the loss is not finite at step 3"}) == "diverged"


def results(**values: list[float | None]) -> dict[str, Any]:
    runs = {
        f"{variant}{seed}": run(FLAT, [3.0, value or 1.0], variant=variant, seed=seed)
        | ({"diverged": "it is not finite"} if value is None else {})
        for variant, each in values.items()
        for seed, value in enumerate(each)
    }
    return {"plan": {"learns": "sprites", "variants": {"g": dict.fromkeys(values)}}, "runs": runs}


def test_variants_are_compared_with_the_first_seed_by_seed() -> None:
    """The seeds differ far more than the variants, and all differences are alike."""
    first, second = rows_of(results(a=[1.0, 2.0, 3.0], b=[0.9, 1.91, 2.89]))
    assert first.difference is None
    assert second.difference is not None
    value, half = second.difference
    # Differences -0.1, -0.09, -0.11: standard deviation 0.01, and Student's t of two degrees is 4.303.
    assert value == pytest.approx(-0.1)
    assert half == pytest.approx(4.303 * 0.01 / 3**0.5, rel=1e-3)
    assert "lower" in second.verdict


def test_one_seed_gives_no_interval_and_no_verdict() -> None:
    _, second = rows_of(results(a=[1.0], b=[0.9]))
    assert second.difference is not None
    assert second.difference[0] == pytest.approx(-0.1)
    assert second.difference[1] is None
    assert "lower" not in second.verdict


def test_small_differences_are_not_clear() -> None:
    _, second = rows_of(results(a=[1.0, 2.0, 3.0], b=[0.9, 2.1, 3.01]))
    assert "not clearly" in second.verdict


def test_a_training_that_diverged_does_not_count_in_the_mean_and_is_named() -> None:
    first, second = rows_of(results(a=[1.0, 2.0], b=[None, 1.5]))
    assert second.mean == 1.5
    assert second.difference is not None
    assert second.difference[0] == pytest.approx(-0.5)
    assert any("diverged" in words for words in second.words)
    assert first.mean == 1.5


def test_folds_are_compared_by_their_mean_and_texts_by_the_first() -> None:
    with_folds = results(a=[1.0])
    with_folds["runs"]["a0"]["folds"] = [1.2, 1.4]
    assert rows_of(with_folds)[0].mean == pytest.approx(1.3)
    with_texts = results(a=[1.0])
    with_texts["runs"]["a0"]["scores"] = {"B": {"nll": 0.7}, "A": {"nll": 2.0}}
    assert (rows_of(with_texts)[0].mean, rows_of(with_texts)[0].unit) == (0.7, "nats/token")


def test_texts_are_compared_in_bits_per_character_whatever_a_token_is() -> None:
    """Long tokens have more nats each, and fewer of them."""
    found = results(letters=[1.0], words=[1.0])
    found["plan"]["learns"] = "text"
    found["runs"]["letters0"]["scores"] = {"dev": {"nll": 1.0, "bits_per_character": 1.44}}
    found["runs"]["words0"]["scores"] = {"dev": {"nll": 4.0, "bits_per_character": 1.2}}
    first, second = rows_of(found)
    assert (first.unit, first.mean, second.mean) == ("bits/character", 1.44, 1.2)
    assert second.difference is not None
    assert second.difference[0] == pytest.approx(-0.24)


def test_a_variant_without_a_seed_in_common_is_not_called_the_first() -> None:
    first, second = rows_of(results(a=[1.0, None], b=[None, 1.5]))
    assert (first.is_first, second.is_first) == (True, False)
    assert second.difference is None
    assert second.verdict not in ("", first.verdict)
