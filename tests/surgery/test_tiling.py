import pytest
import torch
from torch import Tensor, nn

from motet.errors import InputError
from motet.surgery import find_tiling


class Net(nn.Module):
    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.norm, self.a, self.b, self.unused = nn.BatchNorm1d(3), nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:  # noqa: PLR0911
        if self.form == "parallel":
            return self.a(x) + self.b(x)
        if self.form == "repeated":
            return self.b(self.b(self.a(x)))
        if self.form == "recurrent":
            return self.a(self.a(x))
        if self.form == "adds its input":
            return self.b(self.a(x)) + x
        if self.form == "by keyword":
            return self.b(input=self.a(x))
        if self.form == "steps":  # one row of the layer's for every feature
            return self.b(self.a(x.repeat_interleave(2, dim=0)).unflatten(0, (-1, 2)).mean(dim=1))
        if self.form == "mixes rows":
            return self.b(self.a(x)) - self.a(x).mean(dim=0)
        if self.form == "turns":
            return self.b(self.a(x.T.repeat(1, 2)[:, :3]).T[:1].expand(len(x), -1))
        if self.form == "random":
            return self.b(nn.functional.dropout(self.a(x)))
        assert self.form == "nan"
        return self.b(self.a(x)).log().sqrt() * torch.nan


X = torch.tensor([[1.0, 2.0, -1.0], [0.0, 3.0, 5.0]])


@pytest.mark.parametrize(
    ("form", "layers", "at_entrance"),
    [
        ("parallel", {"a", "b"}, False),
        ("repeated", {"a"}, False),
        ("recurrent", set(), True),
        ("adds its input", set(), True),
        ("by keyword", {"a"}, False),
        ("steps", {"a"}, False),
        ("random", {"a"}, False),
        ("nan", {"a"}, False),
    ],
)
def test_where_members_part(form: str, layers: set[str], at_entrance: bool) -> None:
    model = Net(form).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    tiling = find_tiling(model, X, ["norm", "a", "b", "unused"])
    assert (tiling.layers, tiling.at_entrance) == (layers, at_entrance)
    assert tiling.ran == ({"a"} if form == "recurrent" else {"a", "b"})
    assert model.training
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    on_meta = find_tiling(model.to("meta"), X.to("meta"), ["a", "b"])
    assert (on_meta.layers, on_meta.at_entrance) == (layers, at_entrance)


@pytest.mark.parametrize("form", ["mixes rows", "turns"])
def test_rows_that_do_not_stay_together_are_refused(form: str) -> None:
    with pytest.raises(InputError, match=r"must come from the same row of its input.*mixes members' rows.*first axis"):
        find_tiling(Net(form), X, ["a", "b"])


def test_only_the_named_layers_part_rows() -> None:
    assert find_tiling(Net("parallel"), X, ["a"]).at_entrance  # b would hand on shared rows
