"""AUROC and FPR against scikit-learn, ties and all."""

import pytest
import torch
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor

from motet import Categorical, Gaussian, InputError, Prediction
from motet.metrics import auroc, fpr_at_tpr, ood_scores, uncertainties


def scores(rows: int, shift: float, levels: int | None) -> Tensor:
    values = torch.randn(rows) + shift
    return values if levels is None else (values * levels).round() / levels


@pytest.mark.parametrize("levels", [None, 1, 2, 8])
@pytest.mark.parametrize(("known", "other"), [(200, 130), (20, 20), (1, 1), (19, 3), (100, 40)])
def test_against_scikit_learn(known: int, other: int, levels: int | None) -> None:
    for shift in (0.0, 1.0, -1.0, 10.0):
        a, b = scores(known, 0.0, levels), scores(other, shift, levels)
        strange = torch.cat((torch.zeros(known), torch.ones(other)))
        assert float(auroc(a, b)) == pytest.approx(roc_auc_score(strange, torch.cat((a, b))), abs=1e-12)
        for tpr in (0.95, 0.5, 1.0):
            fpr, recall, _ = roc_curve(1 - strange, -torch.cat((a, b)), drop_intermediate=False)
            assert float(fpr_at_tpr(a, b, tpr)) == pytest.approx(fpr[recall >= tpr].min(), abs=1e-12)


def test_by_hand() -> None:
    known, other = torch.tensor([1.0, 2.0, 2.0, 3.0]), torch.tensor([2.0, 3.0, 4.0])
    assert float(auroc(known, other)) == ((1 + 0.5 + 0.5) + (3 + 0.5) + 4) / 12
    assert float(fpr_at_tpr(known, other, 0.75)) == 1 / 3
    assert float(fpr_at_tpr(known, other)) == 2 / 3


def test_shares_that_are_whole_rows_in_floating_point() -> None:
    """19 of 20 rows are 95 %, although 0.95 * 20 rounds to just below or above 19."""
    for rows in (20, 40, 60, 140, 1000):
        known = torch.arange(float(rows))
        assert float(fpr_at_tpr(known, known, 0.95)) == pytest.approx(0.95)


def test_the_three_scores() -> None:
    sure = torch.tensor([[[9.0, 0, 0], [9.0, 0, 0]], [[8.0, 0, 0], [8.0, 0, 0]]])
    split = torch.tensor([[[9.0, 0, 0], [0, 9.0, 0]], [[0, 0, 8.0], [0, 8.0, 0]]])
    known = uncertainties(Prediction(outputs_BMC=sure, likelihood=Categorical()))
    other = uncertainties(Prediction(outputs_BMC=split, likelihood=Categorical()))
    assert sorted(known) == ["entropy", "max_probability", "mutual_information"]
    for values in ood_scores(known, other).values():
        assert values == {"auroc": 1.0, "fpr95": 0.0}


def test_bad_input(unchecked: None) -> None:
    good = torch.tensor([0.1, 0.2])
    for a, b in ((good[:0], good), (good, good[:0]), (good / 0 * 0, good), (good[None], good), (good, good.sum())):
        with pytest.raises(InputError, match="one number for each row"):
            auroc(a, b)
        with pytest.raises(InputError, match="one number for each row"):
            fpr_at_tpr(a, b)
    for tpr in (0.0, 1.5, float("nan")):
        with pytest.raises(InputError, match="tpr"):
            fpr_at_tpr(good, good, tpr)
    with pytest.raises(InputError, match="class probabilities"):
        uncertainties(Prediction(outputs_BMC=torch.zeros(1, 2, 1), likelihood=Gaussian()))
