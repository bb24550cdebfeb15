"""Inputs that are a tensor, a tuple or a dictionary: every method computes the same for all three."""

from collections import UserDict
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import motet
from motet._internal.nested import NestedInputs
from motet.errors import InputError

METHODS = [
    motet.Single(),
    motet.DeepEnsemble(members=2),
    motet.ModularNetwork(members=2),
    motet.MCDropout(members=2),
    motet.TreeNet(members=2),
    motet.Multihead(members=2),
    motet.BatchEnsemble(members=2),
    motet.BatchEnsemble(members=2, training_batches="split"),
    motet.MixtureEnsembles(members=2),
    motet.MIMO(members=2, input_repetition=0.5),
    motet.MixMo(members=2),
    motet.EarlyExit(),
    motet.DUN(),
    motet.MIMMO(members=2),
]
READ_BY_MEMBERS = (motet.MIMO, motet.MixMo, motet.MIMMO)


class TwoInputs(nn.Module):
    """Reads two tensors, and returns a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(3, 8)
        self.middle, self.out = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, a: Tensor, b: Tensor, note: str = "") -> dict[str, Any]:
        assert note in ("", "kept")
        hidden = torch.relu(self.a(a) + self.b(b))
        return {"hidden": hidden, "logits": self.out(torch.relu(self.middle(hidden)))}


class OneInput(TwoInputs):
    """The same model, for one tensor."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        logits: Tensor = super().forward(x[:, :4], x[:, 4:])["logits"]
        return logits


class Encoding(UserDict):  # type: ignore[type-arg]
    """A dictionary that is none, as tokenizers return it."""


X = torch.randn(6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 2, 2, 1, 0])
FORMS: dict[str, Any] = {
    "tuple": lambda x: (x[:, :4], x[:, 4:]),
    "dictionary": lambda x: {"b": x[:, 4:], "note": "kept", "a": x[:, :4]},
    "encoding": lambda x: Encoding(a=x[:, :4], b=x[:, 4:]),
}


def wrapped(method: motet.Method, model: type[nn.Module], example: Any) -> motet.Ensemble:
    torch.manual_seed(0)
    net = model().double()
    torch.manual_seed(1)
    first = ("a", "b") if isinstance(method, READ_BY_MEMBERS) else None
    return method.wrap(net, example=example, first=first)


def loss_and_gradients(ensemble: motet.Ensemble, x: Any) -> list[Tensor]:
    torch.manual_seed(2)
    loss = ensemble.train().loss(x, Y, generator=torch.Generator().manual_seed(3))
    names = dict(ensemble.named_parameters())
    return [loss, *(torch.autograd.grad(loss, list(names.values()), allow_unused=True, materialize_grads=True))]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_the_form_of_the_input_changes_nothing(method: motet.Method, form: Any) -> None:
    one, several = wrapped(method, OneInput, X[:1]), wrapped(method, TwoInputs, form(X[:1]))
    for name, value in one.state_dict().items():
        torch.testing.assert_close(several.state_dict()[name], value, rtol=0, atol=0)
    for own, reference in zip(loss_and_gradients(several, form(X)), loss_and_gradients(one, X), strict=True):
        torch.testing.assert_close(own, reference)
    for ensemble in (several, several.fold()):
        torch.testing.assert_close(ensemble.predict(form(X)).outputs_BMC, one.predict(X).outputs_BMC)
    torch.testing.assert_close(several.predict(form(X), batch_size=4).outputs_BMC, one.predict(X).outputs_BMC)
    torch.testing.assert_close(several.eval()(form(X)), one.eval()(X))
    member = several.member(0)
    given = form(X)
    alone = member(*given) if isinstance(given, tuple) else member(**given)
    torch.testing.assert_close(alone, one(X)[:, 0])


@pytest.mark.parametrize("method", [motet.MIMO(members=2), motet.MixMo(members=2)], ids=str)
def test_members_have_different_inputs_in_every_tensor(method: motet.Method) -> None:
    one, several = wrapped(method, OneInput, X[:1]).eval(), wrapped(method, TwoInputs, FORMS["tuple"](X[:1])).eval()
    x_BM = X.view(3, 2, 7)
    own = several.forward_distinct((x_BM[..., :4], x_BM[..., 4:]))
    torch.testing.assert_close(own, one.forward_distinct(x_BM))


def test_models_are_called_as_usual_too() -> None:
    ensemble = motet.DeepEnsemble(members=2).wrap(TwoInputs().double(), example=FORMS["tuple"](X[:1])).eval()
    a, b = FORMS["tuple"](X)
    torch.testing.assert_close(ensemble(a, b), ensemble((a, b)))
    named = motet.DeepEnsemble(members=2).wrap(TwoInputs().double(), example={"a": a[:1], "b": b[:1]})
    named.load_state_dict(ensemble.state_dict())
    torch.testing.assert_close(named.eval()(a=a, b=b), ensemble(a, b))


def test_fit_and_loaders_take_dictionaries_with_labels() -> None:
    class Rows(torch.utils.data.Dataset[dict[str, Tensor]]):
        def __len__(self) -> int:
            return 6

        def __getitem__(self, row: int) -> dict[str, Tensor]:
            return {"a": X[row, :4].float(), "b": X[row, 4:].float(), "labels": Y[row]}

    example = {"a": X[:1, :4].float(), "b": X[:1, 4:].float()}
    ensemble = motet.DeepEnsemble(members=2).wrap(TwoInputs(), example=example)
    before = ensemble.predict(Rows()).nll().mean()
    settings = motet.Training(epochs=20, batch_size=3, learning_rate=0.1, early_stopping=None)
    motet.fit(ensemble, Rows(), settings)
    assert ensemble.predict(Rows()).nll().mean() < before
    loader = torch.utils.data.DataLoader(Rows(), batch_size=4)
    prediction = ensemble.predict(loader)
    assert prediction.targets is not None
    assert torch.equal(prediction.targets, Y)
    pair = ({"a": X[:, :4].numpy(), "b": X[:, 4:].numpy()}, Y.numpy())
    torch.testing.assert_close(ensemble.predict(pair).outputs_BMC, prediction.outputs_BMC)


def test_a_tuple_of_two_is_inputs_where_the_model_reads_two_and_a_pair_elsewhere() -> None:
    a, b = FORMS["tuple"](X)
    two = motet.Single().wrap(TwoInputs().double(), example=(a[:1], b[:1]))
    assert two.predict((a, b)).targets is None
    assert two.predict(((a, b), Y)).targets is not None
    pairs = torch.utils.data.DataLoader(list(zip(zip(a, b, strict=True), Y, strict=True)), batch_size=4)
    assert two.predict(pairs).targets is not None
    assert two.predict(torch.utils.data.DataLoader(list(zip(a, b, strict=True)), batch_size=4)).targets is None


def test_integers_keep_their_type_and_floats_get_the_network_s() -> None:
    seen: list[torch.dtype] = []

    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.out = nn.Embedding(5, 4), nn.Linear(4, 2)

        def forward(self, ids: Tensor, mask: Tensor, scale: Tensor) -> Tensor:
            seen[:] = [ids.dtype, mask.dtype, scale.dtype]
            return self.out((self.table(ids) * mask.unsqueeze(-1)).sum(1) * scale)

    ids, mask, scale = torch.tensor([[1, 2, 0]]), torch.tensor([[True, True, False]]), torch.ones(1, 1)
    ensemble = motet.Single().wrap(Reads().bfloat16(), example={"ids": ids, "mask": mask, "scale": scale.bfloat16()})
    ensemble.predict({"ids": ids.int(), "mask": mask.long(), "scale": scale.double()})
    assert seen == [torch.int32, torch.bool, torch.bfloat16]
    with pytest.raises(InputError, match=r"the input 'ids' must be integers.*float32.*Pass x\.long\(\)"):
        ensemble.predict({"ids": ids.float(), "mask": mask, "scale": scale})


WRONG = {
    "a missing tensor": (lambda x: {"a": x[:, :4]}, r"exactly the tensors a, b.*without b"),
    "an unknown tensor": (lambda x: {"a": x[:, :4], "b": x[:, 4:], "c": x}, r"exactly the tensors a, b.*with c"),
    "one tensor": (lambda x: x, r"tuple or dictionary with a, b.*shape \(6, 7\)"),
    "other rows": (lambda x: {"a": x[:, :4], "b": x[:5, 4:]}, r"same first axis.*a: \(6, 4\), b: \(5, 3\)"),
    "other axes": (lambda x: {"a": x[:, :4], "b": x[:, 4:, None]}, r"'b' must have 2 axes.*\(6, 3, 1\)"),
    "ragged lists": (lambda x: {"a": x[:, :4], "b": [[1.0], [2.0, 3.0]]}, r"'b'.*lists of numbers of one length"),
    "words": (lambda x: "words", r"tuple or dictionary with a, b.*a str"),
    "nothing": (lambda x: None, r"tuple or dictionary with a, b.*NoneType"),
}


@pytest.mark.parametrize(("make", "message"), WRONG.values(), ids=WRONG.keys())
def test_other_inputs_than_the_example_are_refused(make: Any, message: str) -> None:
    ensemble = motet.Single().wrap(TwoInputs().double(), example={"a": X[:1, :4], "b": X[:1, 4:]})
    for use in (ensemble.predict, lambda x: ensemble.loss(x, Y), ensemble.eval()):
        with pytest.raises(InputError, match=message):
            use(make(X))


def test_a_dictionary_where_the_example_was_a_tensor_is_refused() -> None:
    ensemble = motet.Single().wrap(OneInput().double(), example=X[:1])
    for use in (ensemble.predict, lambda x: ensemble.loss(x, Y), ensemble):
        with pytest.raises(InputError):
            use({"a": X})


OUTPUTS = {
    "tuple": lambda h, o: (o, None),
    "dictionary": lambda h, o: {"logits": o, "hidden": h},
    "only tensor": lambda h, o: {"scores": o, "count": 3},
    "list": lambda h, o: [o],
}


@pytest.mark.parametrize("made", OUTPUTS.values(), ids=OUTPUTS.keys())
@pytest.mark.parametrize("method", [motet.Single(), motet.BatchEnsemble(members=2), motet.MIMO(members=2)], ids=str)
def test_the_output_is_found(method: motet.Method, made: Any) -> None:
    check_output(method, made, None)


NAMED = {
    "name": (lambda h, o: {"out": o, "aux": h}, "out"),
    "position": (lambda h, o: (h, o), 1),
    "function": (lambda h, o: {"inside": [h, o]}, lambda found: found["inside"][1]),
}


@pytest.mark.parametrize(("made", "output"), NAMED.values(), ids=NAMED.keys())
def test_the_output_is_named(made: Any, output: Any) -> None:
    check_output(motet.MIMO(members=2), made, output)
    with pytest.raises(InputError, match=r"one output for each member|must return a tensor"):
        motet.Single().wrap(returning(made), example=X[:1])


def returning(made: Any) -> nn.Module:
    class Returns(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.i, self.o = nn.Linear(7, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Any:
            hidden = torch.relu(self.i(x))
            return made(hidden, self.o(hidden))

    torch.manual_seed(0)
    return Returns().double()


def check_output(method: motet.Method, made: Any, output: Any) -> None:
    torch.manual_seed(1)
    plain = method.wrap(returning(lambda h, o: o), example=X[:1])
    torch.manual_seed(1)
    picked = method.wrap(returning(made), example=X[:1], output=output)
    torch.testing.assert_close(picked.predict(X).outputs_BMC, plain.predict(X).outputs_BMC)
    for own, reference in zip(loss_and_gradients(picked, X), loss_and_gradients(plain, X), strict=True):
        torch.testing.assert_close(own, reference)


REFUSED = {
    "no tensor": (lambda h, o: "text", None, "must return a tensor.*a str"),
    "nothing": (lambda h, o: None, None, "must return a tensor.*NoneType"),
    "two heads": (
        lambda h, o: (o, o[:, :2]),
        None,
        r"one output for each member.*0: \(2, 3\), 1: \(2, 2\).*output=0 or 1",
    ),
    "an unknown name": (lambda h, o: {"out": o}, "logits", r"output='logits'.*out: .*Pass output='out'"),
    "a position too far": (lambda h, o: (o,), 3, "output=3"),
    "a function that fails to find": (lambda h, o: o, lambda found: None, "one tensor.*NoneType"),
}


@pytest.mark.parametrize(("made", "output", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_outputs_that_are_no_single_tensor_are_refused(made: Any, output: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        motet.Single().wrap(returning(made), example=X[:2], output=output)


def test_the_user_s_model_gets_no_hooks() -> None:
    model = TwoInputs()
    motet.MIMO(members=2).wrap(model, example=(X[:1, :4].float(), X[:1, 4:].float()), first=("a", "b"))
    assert not model._forward_hooks
    assert not model._forward_pre_hooks
    assert isinstance(model(X[:, :4].float(), X[:, 4:].float()), dict)


def test_batches_of_several_tensors_behave_like_one_tensor() -> None:
    tensors = {"x": torch.arange(6.0).view(3, 2), "deep": (torch.arange(3), ["text", None]), "n": 4}
    batch = NestedInputs.of(tensors)
    assert batch.names == ("x", "deep.0")
    index = torch.tensor([[0, 2], [1, 1]])
    for change in (
        lambda x: x[1:],
        lambda x: x[index],
        lambda x: x.unsqueeze(1).expand(3, 2, *x.shape[1:]).flatten(0, 1),
        lambda x: torch.cat([x, x[:1]]),
        lambda x: torch.stack([x, x]).transpose(0, 1),
        lambda x: x.split(2)[1],
        lambda x: x.chunk(3)[2],
        lambda x: x.index_select(0, torch.tensor([2, 0])),
        lambda x: x[torch.tensor([True, False, True])],
        lambda x: x[index].transpose(0, 1).flatten(0, 1).unflatten(0, (2, -1)),
        lambda x: x[index].unbind(1)[1],
    ):
        changed = change(batch)
        assert torch.equal(changed.value["x"], change(tensors["x"]))
        assert torch.equal(changed.value["deep"][0], change(tensors["deep"][0]))
        assert changed.value["deep"][1] == ["text", None]
        assert changed.value["n"] == 4
        assert changed.shape == change(tensors["deep"][0]).shape
    assert torch.equal(batch.repeat(2).value["x"], tensors["x"].repeat(2, 1))


def test_inputs_without_a_batch_axis_are_refused() -> None:
    with pytest.raises(InputError, match="at least one tensor"):
        NestedInputs.of({"a": "text", "b": torch.tensor(1.0)})
    with pytest.raises(InputError, match="one row or more"):
        motet.Single().wrap(TwoInputs(), example=(torch.zeros(0, 4), torch.zeros(0, 3)))


def test_numpy_arrays_are_taken_in_examples() -> None:
    example = {"a": np.zeros((1, 4), dtype=np.float32), "b": np.zeros((1, 3), dtype=np.float32)}
    ensemble = motet.Single().wrap(TwoInputs(), example=example)
    assert ensemble.predict(example).probs.shape == (1, 3)
