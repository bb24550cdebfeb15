import torch
from torch import nn

import motet
import motet.layers
import motet.summary
from motet.methods import MIMO, DeepEnsemble, Multihead, Single


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8), nn.Linear(8, 3))


def test_what_is_shared_and_what_is_the_members_own() -> None:
    summary = MIMO(members=3).wrap(net(), example=torch.zeros(1, 4)).summary()
    assert [(part.name, part.kind, part.shared, part.own) for part in summary.converted] == [
        ("0", "MultiInput", 8, 3 * 32),  # one bias for all kernels
        ("4", "MultiHead", 0, 3 * 27),
    ]
    assert {(part.name, part.kind, part.shared) for part in summary.ordinary} == {
        ("1 x", "BatchNorm1d", 16), ("1 x", "Linear", 72),
    }  # fmt: skip
    assert summary.members == 3
    assert summary.shared == 8 + 16 + 72
    assert summary.own == 96 + 81


def test_it_counts_every_parameter_once_and_says_what_is_frozen() -> None:
    model = motet.models.wide_resnet(depth=10, width=1, num_classes=3)
    model.stem.weight.requires_grad_(False)
    for method in (Single(), DeepEnsemble(members=2), Multihead(members=2), MIMO(members=2)):
        ensemble = method.wrap(model, example=torch.zeros(1, 3, 8, 8))
        summary = ensemble.summary()
        assert summary.shared + summary.own == sum(value.numel() for value in ensemble.parameters())
        assert summary.trainable == sum(value.numel() for value in ensemble.parameters() if value.requires_grad)
        assert f"({summary.trainable:,} trainable)" in str(summary)


def test_the_text() -> None:
    text = str(DeepEnsemble(members=2).wrap(nn.Linear(4, 3), example=torch.zeros(1, 4)).summary())
    assert "2 members, 30 parameters: 0 shared, 30 the members' own (15 each)" in text
    text = str(Multihead(members=2).wrap(net(), example=torch.zeros(1, 4)).summary())
    assert text.splitlines()[0] == "Multihead(members=2)"
    assert "Made for the members:\n  4  MultiHead  54 own" in text
    assert "Left as it was:" in text
    assert "1 member, 15 parameters" in str(Single().wrap(nn.Linear(4, 3), example=torch.zeros(1, 4)).summary())


def test_modules_used_by_several_members_are_shared() -> None:
    class Networks(motet.layers.ParameterRoles):
        member_parameters = frozenset({"own"})

        def __init__(self) -> None:
            super().__init__()
            self.own, self.all = nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    summary = motet.summary.summarise_network(nn.Sequential(Networks(), Networks()), description="two", members=2)
    assert (summary.shared, summary.own) == (10, 12)
    assert "0 .. 1 (2)" in str(summary)
    common = nn.Linear(2, 2)
    members = motet.layers.SeparateNetworks(
        [nn.Sequential(common, nn.Linear(2, 2)) for _ in range(3)], layout=motet.layers.Layout()
    )
    summary = motet.summary.summarise_network(members, description="tied", members=3)
    assert (summary.shared, summary.own) == (6, 18)
