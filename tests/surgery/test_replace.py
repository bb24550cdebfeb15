from torch import nn

from motet.surgery import replace_module


def test_a_module_is_replaced_under_all_its_names() -> None:
    old, new = nn.Linear(2, 2), nn.Linear(2, 2)
    model = nn.ModuleDict(
        {"a": old, "list": nn.ModuleList([nn.ReLU(), old]), "deep": nn.Sequential(nn.Sequential(old))}
    )
    model.alias = old
    assert replace_module(model, old, new) is model
    assert model["a"] is model["list"][1] is model["deep"][0][0] is model.alias is new
    assert not any(part is old for part in model.modules())


def test_the_order_of_a_sequence_stays() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    replace_module(model, model[0], nn.Identity())
    assert [type(part) for part in model] == [nn.Identity, nn.ReLU, nn.Linear]


def test_the_model_itself_can_be_replaced_and_a_stranger_changes_nothing() -> None:
    old, new = nn.Linear(2, 2), nn.Linear(2, 2)
    assert replace_module(old, old, new) is new
    model = nn.Sequential(old)
    assert replace_module(model, nn.Linear(2, 2), new) is model
    assert model[0] is old
