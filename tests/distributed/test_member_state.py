"""A state dict taken apart into members and put together again, whichever way the members run."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import nn

from motet import DeepEnsemble, Gaussian
from motet.distributed import join_members, split_members

MODELS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(4, 3), (4,)),
    "nested": (
        lambda: nn.Sequential(nn.Linear(4, 6), nn.Sequential(nn.LayerNorm(6), nn.PReLU()), nn.Linear(6, 3)),
        (4,),
    ),
    "convolution": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(16, 3)
        ),
        (2, 4, 4),
    ),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("one", "other"), list(product(("stacked", "loop"), repeat=2)))
def test_weights_go_from_one_way_to_run_to_the_other(name: str, one: Any, other: Any) -> None:
    source, shape = MODELS[name]
    x = torch.randn(2, *shape)
    first, second = (DeepEnsemble(members=3, execution=how).wrap(source, example=x) for how in (one, other))
    found = split_members(first.state_dict(), members=3, first=4)
    assert {member for member, _ in found} == {4, 5, 6}
    assert {own for _, own in found} == set(source().state_dict()), "a member's own names"
    second.load_state_dict(join_members(found, names=list(second.state_dict()), members=3, first=4))
    torch.testing.assert_close(first.eval()(x), second.eval()(x))


def test_a_missing_member_and_a_name_of_no_member_are_errors() -> None:
    ensemble = DeepEnsemble(members=2).wrap(lambda: nn.Linear(4, 3), example=torch.zeros(1, 4))
    found = split_members(ensemble.state_dict(), members=2)
    with pytest.raises(KeyError):
        join_members(found, names=list(ensemble.state_dict()), members=2, first=1)
    with pytest.raises(KeyError, match="belongs to no member"):
        split_members({"weight": torch.zeros(2)}, members=2)


def test_the_scale_of_the_targets_belongs_to_no_member() -> None:
    ensemble = DeepEnsemble(members=2).wrap(lambda: nn.Linear(4, 1), example=torch.zeros(1, 4), likelihood=Gaussian())
    plain = split_members(ensemble.state_dict(), members=2)
    ensemble.scale_targets(mean=5.0, std=2.0)
    found = split_members(ensemble.state_dict(), members=2)
    assert found.keys() == plain.keys()
    state = join_members(found, names=list(ensemble.state_dict()), members=2)
    ensemble.load_state_dict(state)
    assert ensemble.target_scale is not None
    assert ensemble.target_scale.mean == (5.0,)
