"""The digits: their fixed split and their scale."""

import hashlib

import torch

from motet.data import digits
from motet.data._holdout import hold_out


def test_the_split_is_the_same_every_time() -> None:
    data = digits()
    found = {}
    for name, split in (("train", data.train), ("validation", data.validation), ("test", data.test)):
        position = torch.arange(1, len(split) + 1).view(-1, 1, 1, 1)
        found[name] = (
            len(split),
            hashlib.sha256(split.targets.numpy().tobytes()).hexdigest()[:16],
            int((split.inputs.long() * position).sum()),
        )
    assert found == {
        "train": (1079, "e8412b46408cb4ac", 182330629),
        "validation": (359, "19bacccaaba85a1d", 20140232),
        "test": (359, "7503b51d9db7e220", 19977974),
    }


def test_shapes_and_names() -> None:
    data = digits()
    assert data.spec.input_shape == (1, 8, 8)
    assert (data.spec.outputs, data.spec.task, data.spec.name) == (10, "classification", "digits")
    assert data.spec.class_names == tuple("0123456789")
    assert data.train.inputs.shape == (1079, 1, 8, 8)
    assert (float(data.train.inputs.min()), float(data.train.inputs.max())) == (0, 16)


def test_prepared_training_inputs_are_standardised() -> None:
    data = digits()
    prepared = data.prepare(data.train.inputs)
    assert abs(float(prepared.mean())) < 1e-5
    assert abs(float(prepared.std(correction=0)) - 1) < 1e-5


def test_every_class_has_its_share_of_every_split() -> None:
    data = digits()
    counts = torch.stack([split.targets.bincount() for split in (data.train, data.validation, data.test)])
    every = counts.sum(dim=0)
    assert int(every.sum()) == 1797
    assert float((counts - every * torch.tensor([[0.6], [0.2], [0.2]])).abs().max()) < 2


# --- hold_out --------------------------------------------------------------------------------------------------------


def test_hold_out_parts_the_rows_exactly() -> None:
    labels = torch.randint(0, 7, (101,))
    for held in (0, 1, 16, 50, 100, 101):
        kept, out = hold_out(labels, held, seed=0)
        assert len(out) == held
        assert torch.equal(torch.cat([kept, out]).sort().values, torch.arange(101))


def test_hold_out_takes_each_class_in_proportion() -> None:
    labels = torch.tensor([0] * 600 + [1] * 60 + [2] * 7 + [3])
    _, out = hold_out(labels, len(labels) // 6, seed=0)
    counts = labels[out].bincount(minlength=4)
    assert float((counts - labels.bincount() / 6).abs().max()) <= 1


def test_hold_out_shuffles_within_a_class() -> None:
    labels = torch.zeros(100, dtype=torch.long)
    first, second = (hold_out(labels, 50, seed=seed)[1] for seed in (0, 1))
    assert not torch.equal(first, second)
    assert not torch.equal(first, first[0] + 2 * torch.arange(50))
