"""Shifts of tables against what they say they do."""

import pytest
import torch

from motet import InputError
from motet.shifts import SEVERITIES, TABLE_SHIFTS, shift_table

TABLE = torch.randn(400, 3) * torch.tensor([1.0, 10.0, 0.0]) + torch.tensor([0.0, 5.0, 7.0])
MEAN, STD = torch.tensor([0.0, 5.0, 7.0]), torch.tensor([1.0, 10.0, 0.0])


def shifted(name: str, severity: int, seed: int = 0) -> torch.Tensor:
    return shift_table(TABLE, name, severity=severity, mean=MEAN, std=STD, seed=seed)


@pytest.mark.parametrize("name", TABLE_SHIFTS)
def test_a_rows_shift_depends_on_no_other_row(name: str) -> None:
    whole = shifted(name, 3)
    part = shift_table(TABLE[100:], name, severity=3, mean=MEAN, std=STD, index=torch.arange(100, 400))
    assert torch.equal(whole[100:], part)
    assert torch.equal(whole[:, 2], TABLE[:, 2])  # constant in training
    changes = [float((shifted(name, severity) - TABLE).abs().mean()) for severity in SEVERITIES]
    assert changes == sorted(changes)
    assert changes[0] > 0


def test_covariate_shift_moves_whole_columns() -> None:
    moved = (shifted("covariate_shift", 3) - TABLE)[:, :2] / STD[:2]
    assert torch.allclose(moved.abs(), torch.ones_like(moved), atol=1e-5)
    assert float(moved.std(dim=0).max()) < 1e-5
    assert len({tuple(shifted("covariate_shift", 3, seed)[0].tolist()) for seed in range(8)}) > 1


def test_missing_features_become_the_training_mean() -> None:
    gone = shifted("missing_features", 5) != TABLE
    assert 0.45 < float(gone[:, :2].float().mean()) < 0.55
    assert torch.equal(shifted("missing_features", 5)[gone], MEAN.expand_as(TABLE)[gone])


def test_noise_is_of_the_training_deviation() -> None:
    noise = (shifted("feature_noise", 5) - TABLE)[:, :2] / STD[:2]
    assert 0.9 < float(noise.std()) < 1.1


@pytest.mark.parametrize("name", TABLE_SHIFTS)
def test_missing_values_stay_missing_and_double_stays_double(name: str) -> None:
    table = TABLE.double()
    table[3, 1] = torch.nan
    out = shift_table(table, name, severity=5, mean=MEAN, std=STD)
    assert out.dtype == torch.float64
    assert int(out.isnan().sum()) == 1


def test_bad_input(unchecked: None) -> None:
    for match, table, name, severity, mean, std in (
        ("Did you mean 'feature_noise'", TABLE, "featurenoise", 1, MEAN, STD),
        ("severity", TABLE, "feature_noise", 6, MEAN, STD),
        ("a table must be floating", TABLE.long(), "feature_noise", 1, MEAN, STD),
        ("a table must be floating", TABLE[:0], "feature_noise", 1, MEAN, STD),
        ("a table must be floating", TABLE[0], "feature_noise", 1, MEAN, STD),
        ("mean must hold a finite number for each of the 3", TABLE, "feature_noise", 1, MEAN[:2], STD),
        (
            "std must hold a finite number of at least 0 for each of the 3 features, but got inf",
            TABLE,
            "feature_noise",
            1,
            MEAN,
            STD / 0,
        ),
        (
            "std must hold a finite number of at least 0 for each of the 3 features, but got -",
            TABLE,
            "feature_noise",
            1,
            MEAN,
            -STD,
        ),
    ):
        with pytest.raises(InputError, match=match):
            shift_table(table, name, severity=severity, mean=mean, std=std)
    with pytest.raises(InputError, match="index must hold a number for each of the 400 rows"):
        shift_table(TABLE, "feature_noise", severity=1, mean=MEAN, std=STD, index=torch.arange(3))
