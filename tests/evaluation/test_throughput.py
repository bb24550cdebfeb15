"""A whole split with M different rows a pass, against a loop over passes."""

import pytest
import torch
from torch import Tensor, nn

from motet import MIMO, DataMUX, Dataset, DeepEnsemble, Ensemble, InputError, Method, MixMo, Multihead, Single
from motet.data import Split
from motet.evaluation import predict_split, predict_split_distinct


def ensemble_of(method: Method) -> Ensemble:
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
    return method.wrap(net, example=torch.zeros(2, 4))


def rows(split: Split, number: int) -> Split:
    return Split(inputs=split.inputs[:number], targets=split.targets[:number])


METHODS = [MIMO(members=3), MixMo(members=2), DataMUX(members=3), DataMUX(members=2, transform="gaussian")]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("number", [1, 2, 3, 6, 20])
@pytest.mark.parametrize("batch_size", [1, 3, 512])
def test_every_row_is_predicted_once(method: Method, number: int, batch_size: int, blobs: Dataset) -> None:
    ensemble = ensemble_of(method).train()
    split, members = rows(blobs.test, number), method.members
    modes = [part.training for part in ensemble.modules()]
    buffers = {name: value.clone() for name, value in ensemble.state_dict().items()}
    random = torch.get_rng_state()
    prediction = predict_split_distinct(ensemble, blobs, split, batch_size=batch_size, seed=5)
    assert prediction.outputs_BMC.shape == (number, 1, 3)
    assert not prediction.outputs_BMC.requires_grad
    assert prediction.combination == ensemble.combination
    assert torch.equal(prediction.targets, split.targets)
    assert [part.training for part in ensemble.modules()] == modes
    assert all(torch.equal(value, buffers[name]) for name, value in ensemble.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)

    # One pass after the other: rows in the drawn order, M at a time, the first ones again where places are left.
    ensemble.eval()
    order = torch.randperm(number, generator=torch.Generator().manual_seed(5)).tolist()
    found: dict[int, Tensor] = {}
    for start in range(0, number, members):
        places = [order[(start + m) % number] for m in range(members)]
        out = ensemble.forward_distinct(blobs.prepare(split.inputs[places]).unsqueeze(0))[0]
        for m in range(members):
            if start + m < number:
                assert places[m] not in found
                found[places[m]] = out[m].detach()
    expected = torch.stack([found[row] for row in range(number)])
    torch.testing.assert_close(prediction.outputs_BMC[:, 0], expected, rtol=1e-5, atol=1e-6)


def test_the_seed_decides_who_stands_beside_whom(blobs: Dataset) -> None:
    ensemble = ensemble_of(MIMO(members=3))
    one, same, other = (
        predict_split_distinct(ensemble, blobs, blobs.test, seed=seed).outputs_BMC for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.allclose(one, other)


def test_members_that_share_nothing_predict_as_they_do_alone(blobs: Dataset) -> None:
    ensemble = ensemble_of(DeepEnsemble(members=3))
    alone = predict_split(ensemble, blobs, blobs.test).outputs_BMC
    distinct = predict_split_distinct(ensemble, blobs, blobs.test).outputs_BMC
    apart = (distinct - alone).abs().amax(dim=2)
    torch.testing.assert_close(apart.amin(dim=1), torch.zeros(20), rtol=0, atol=1e-5)
    assert set(apart.argmin(dim=1).tolist()) == {0, 1, 2}
    single = ensemble_of(Single())
    expected = predict_split(single, blobs, blobs.test).outputs_BMC
    torch.testing.assert_close(predict_split_distinct(single, blobs, blobs.test).outputs_BMC, expected)


def test_what_cannot_be_done_is_said(blobs: Dataset, unchecked: None) -> None:
    with pytest.raises(InputError, match="need a method with separate inputs"):
        predict_split_distinct(ensemble_of(Multihead(members=2)), blobs, blobs.test)
    with pytest.raises(InputError, match="folded"):
        predict_split_distinct(ensemble_of(MIMO(members=2)).fold(), blobs, blobs.test)
    with pytest.raises(InputError, match="batch_size=0"):
        predict_split_distinct(ensemble_of(MIMO(members=2)), blobs, blobs.test, batch_size=0)
