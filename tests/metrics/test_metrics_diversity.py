import math
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy
from torch import Tensor

from motet.errors import InputError
from motet.metrics import disagreement, disagreement_matrix, disagreement_over_error, kl_matrix, pairwise_kl

ALL = [disagreement_matrix, disagreement, kl_matrix, pairwise_kl]


def slow_disagreement(logits_BMC: Tensor, i: int, j: int) -> float:
    rows = logits_BMC.tolist()
    differ = [row[i].index(max(row[i])) != row[j].index(max(row[j])) for row in rows]
    return sum(differ) / len(rows)


def slow_kl(logits_BMC: Tensor, i: int, j: int) -> float:
    probs_BMC = softmax(logits_BMC.double().numpy(), axis=-1)
    return float(np.mean([entropy(row[i], row[j]) for row in probs_BMC]))


def test_matrices_agree_with_loops(logits_BMC: Tensor) -> None:
    differ_MM, kl_MM = disagreement_matrix(logits_BMC), kl_matrix(logits_BMC)
    for i in range(4):
        for j in range(4):
            assert differ_MM[i, j].item() == pytest.approx(slow_disagreement(logits_BMC, i, j))
            assert kl_MM[i, j].item() == pytest.approx(slow_kl(logits_BMC, i, j), rel=1e-5, abs=1e-7)


def test_means_are_over_pairs_in_one_direction(logits_BMC: Tensor) -> None:
    pairs = list(combinations(range(4), 2))
    assert disagreement(logits_BMC).item() == pytest.approx(
        np.mean([slow_disagreement(logits_BMC, i, j) for i, j in pairs])
    )
    assert pairwise_kl(logits_BMC).item() == pytest.approx(np.mean([slow_kl(logits_BMC, i, j) for i, j in pairs]))


def test_disagreement_is_symmetric_and_kl_is_not(logits_BMC: Tensor) -> None:
    differ_MM, kl_MM = disagreement_matrix(logits_BMC), kl_matrix(logits_BMC)
    assert differ_MM.equal(differ_MM.T)
    assert not kl_MM.allclose(kl_MM.T)
    assert differ_MM.diagonal().equal(torch.zeros(4))
    assert kl_MM.diagonal().equal(torch.zeros(4))


@pytest.mark.parametrize("metric", ALL)
def test_identical_members_do_not_differ(metric, logits_BMC: Tensor) -> None:
    assert not metric(logits_BMC[:, :1].expand(-1, 3, -1)).any()


@pytest.mark.parametrize("metric", ALL)
def test_one_class_leaves_nothing_to_differ_about(metric) -> None:
    assert not metric(torch.randn(5, 3, 1)).any()


def test_one_member_has_no_pairs() -> None:
    one = torch.randn(5, 1, 3)
    for value in (disagreement(one), pairwise_kl(one), disagreement_over_error(one, torch.tensor([0, 1, 2, 0, 1]))):
        assert math.isnan(value)
    assert disagreement_matrix(one).tolist() == kl_matrix(one).tolist() == [[0]]


def test_extreme_logits_have_an_exact_kl() -> None:
    kl_MM = kl_matrix(torch.tensor([[[1e4, 0.0], [0.0, 1e4]]]))
    assert kl_MM.tolist() == [[0, 1e4], [1e4, 0]]


def test_kl_with_classes_ruled_out() -> None:
    kl_MM = kl_matrix(torch.tensor([[[0.0, -torch.inf, -torch.inf], [0.0, 0.0, -torch.inf]]]))
    assert kl_MM.tolist() == [[0, pytest.approx(math.log(2))], [math.inf, 0]]


def test_kl_of_members_that_are_nearly_the_same_is_not_negative() -> None:
    base = torch.randn(1, 1, 1000)
    assert (kl_matrix(torch.cat([base, base + 1e-6 * torch.randn(1, 1, 1000)], dim=1)) >= 0).all()


def test_disagreement_over_error_divides_by_the_error_asked_for() -> None:
    y_B = torch.randint(5, (400,))
    logits_BMC = 3 * torch.randn(400, 4, 5) + 2 * torch.eye(5)[y_B].unsqueeze(1)  # better than chance
    probs_BMC = softmax(logits_BMC.double().numpy(), axis=-1)
    y = y_B.numpy()
    ensemble = np.mean(probs_BMC.mean(axis=1).argmax(axis=-1) != y)
    geometric = np.mean(logits_BMC.numpy().mean(axis=1).argmax(axis=-1) != y)
    member = np.mean([np.mean(probs_BMC[:, m].argmax(axis=-1) != y) for m in range(4)])
    assert len({ensemble, geometric, member}) == 3
    top = disagreement(logits_BMC).item()
    assert disagreement_over_error(logits_BMC, y_B).item() == pytest.approx(top / ensemble)
    assert disagreement_over_error(logits_BMC, y_B, "member").item() == pytest.approx(top / member)
    assert disagreement_over_error(logits_BMC, y_B, combination="geometric").item() == pytest.approx(top / geometric)


def test_no_error_leaves_no_ratio() -> None:
    # The first member is wrong and unsure, the second right and sure: they disagree, the ensemble is right.
    logits_BMC = torch.tensor([[[0.0, 0.1], [5.0, 0.0]]])
    assert disagreement(logits_BMC).item() == 1
    assert math.isnan(disagreement_over_error(logits_BMC, torch.tensor([0])))
    assert disagreement_over_error(logits_BMC, torch.tensor([0]), "member").item() == 2
    agree = torch.tensor([[[5.0, 0.0], [5.0, 0.0]]])
    assert math.isnan(disagreement_over_error(agree, torch.tensor([0]), "member"))


@pytest.mark.parametrize("metric", ALL)
def test_bad_logits(metric) -> None:
    with pytest.raises(InputError, match="at least one row"):
        metric(torch.zeros(0, 2, 3))
    with pytest.raises(InputError, match="in 1 of 2 rows"):
        metric(torch.tensor([[[0.0, 1.0]], [[math.nan, 0.0]]]))


@pytest.mark.usefixtures("unchecked")
def test_bad_input_of_disagreement_over_error(logits_BMC: Tensor, y_B: Tensor) -> None:
    with pytest.raises(InputError, match="must be 'ensemble' or 'member', but got 'both'"):
        disagreement_over_error(logits_BMC, y_B, "both")
    with pytest.raises(InputError, match="40 rows need class labels"):
        disagreement_over_error(logits_BMC, y_B[:1])
    with pytest.raises(InputError, match="in 40 of 40 rows"):
        disagreement_over_error(logits_BMC * math.nan, y_B)


@pytest.mark.parametrize(("rows", "members", "classes"), [(7, 20, 3), (5, 40, 2), (1, 17, 4), (6, 17, 1)])
def test_many_members_are_compared_as_few_are(
    rows: int, members: int, classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits_BMC = 5 * torch.randn(rows, members, classes)
    logits_BMC[:, 3] = logits_BMC[:, 2]  # a copy
    if classes > 1:
        logits_BMC[0, 5, 0] = -torch.inf
    few = torch.tensor([[kl_matrix(logits_BMC[:, [i, j]])[0, 1] for j in range(members)] for i in range(members)])
    monkeypatch.setattr("motet.metrics.diversity._ENTRIES", 2 * members * classes)  # two rows at a time
    many = kl_matrix(logits_BMC)
    assert many.dtype == logits_BMC.dtype
    torch.testing.assert_close(many, few, rtol=1e-5, atol=1e-6)
    assert many.diagonal().abs().max() == 0
    assert many[2, 3] < 1e-12
    differ = torch.tensor(
        [[(logits_BMC[:, i].argmax(-1) != logits_BMC[:, j].argmax(-1)).float().mean() for j in range(members)]
         for i in range(members)]
    )  # fmt: skip
    torch.testing.assert_close(disagreement_matrix(logits_BMC), differ)
