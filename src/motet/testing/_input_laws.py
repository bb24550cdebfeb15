"""Laws about a method's inputs: models, examples, targets and settings, and which of them it must refuse."""

import math
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from motet._internal.own_code import RecordedCode, name_in_record
from motet._internal.plain_records import from_record, to_record
from motet._internal.wording import with_article
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.likelihoods import Gaussian
from motet.method import check_class
from motet.surgery.initial_weights import fresh_copy
from motet.testing._law import Subject, law, refused, require, require_same, require_state, state
from motet.testing.models import LogSoftmaxNet
from motet.types import Batch


@law()
def the_users_model_is_left_as_it_was(subject: Subject) -> None:
    """Wrapping changes neither the model (weights, modes, types, hooks) nor the example; the ensemble holds a copy."""
    model = subject.case.model().train()
    first = next(iter(model.parameters()), None)
    frozen = [] if first is None else [first.requires_grad_(False)]
    for child in [*model.children()][:1]:
        child.eval()
    before, modes = state(model), [part.training for part in model.modules()]
    kinds = [type(part) for part in model.modules()]
    example = subject.case.inputs(2)
    kept = example.clone()
    ensemble = subject.method.wrap(model, example=example)
    require_state(model, before, "wrapping")
    require_same([part.training for part in model.modules()], modes, "training modes of the model")
    require_same([type(part) for part in model.modules()], kinds, "types of the model's modules")
    still = [value for value in model.parameters() if not value.requires_grad]
    require(len(still) == len(frozen) and all(a is b for a, b in zip(still, frozen, strict=True)), "other frozen ones")
    for whole, what in ((model, "model"), (ensemble, "ensemble")):
        hooks = [part for part in whole.modules() if part._forward_hooks or part._forward_pre_hooks]
        require(not hooks, f"hooks left in the {what}")
    require(torch.equal(example, kept), "the example was changed in place")
    require(not example.requires_grad, "the example requires a gradient")
    with torch.no_grad():
        for value in ensemble.parameters():
            value.zero_()
    require_state(model, before, "changing the ensemble's weights")


@law("mlp")
def a_function_may_make_the_model(subject: Subject) -> None:
    """A function is called once, or once for each member."""
    made: list[nn.Module] = []

    def build() -> nn.Module:
        made.append(fresh_copy(subject.case.model(torch.float32)))  # members need different weights
        return made[-1]

    ensemble = subject.method.wrap(build, example=subject.case.inputs(1, torch.float32))
    shape = ensemble(subject.case.inputs(2, torch.float32)).shape
    expected = (2, subject.method.members, subject.case.classes)
    require(shape == expected, f"outputs of shape {tuple(shape)} instead of {expected}")
    allowed = {1, subject.method.members} if subject.builds is None else {subject.builds}
    require(len(made) in allowed, f"{len(made)} calls of the function instead of {' or '.join(map(str, allowed))}")
    if subject.case.other_outputs:
        ensemble = subject.method.wrap(LogSoftmaxNet, example=torch.zeros(1, 4))
        require(isinstance(ensemble, Ensemble), "a class of modules as the function")


@law("mlp")
def what_is_not_a_model_or_an_example_is_refused(subject: Subject) -> None:
    """The error states the requirement and what arrived."""
    net, example = subject.case.model(torch.float32), subject.case.inputs(1, torch.float32)
    wrap: Any = subject.method.wrap
    for model, message in (
        (wrap(net, example=example), "wraps an ordinary model, but got an Ensemble"),
        (net.state_dict(), r"torch.nn.Module or a function.*OrderedDict"),
        (lambda: 3, r"must return a torch.nn.Module, but got an int"),
    ):
        with refused(InputError, message, f"{with_article(type(model).__name__)} as the model"):
            wrap(model, example=example)
    examples: list[tuple[Any, str]] = [
        (torch.zeros(4), r"batch axis first, but got shape \(4,\)"),
        (torch.zeros(0, 4), r"one row or more.*\(0, 4\)"),
        (torch.zeros(()), r"shape \(\)"),
        (example.numpy(), "must be a torch.Tensor"),
    ]
    if subject.case.other_outputs:
        examples.append((torch.zeros(1, 5), r"accept the example batch.*shape \(1, 5\).*RuntimeError"))
    for bad, message in examples:
        with refused(InputError, message, f"an example of shape {tuple(bad.shape)}"):
            wrap(net, example=bad)


@final
class _Returning(nn.Module):
    def __init__(self, change: Callable[[Tensor], Any], outputs: int) -> None:
        super().__init__()
        self.hidden, self.out, self.change = nn.Linear(4, 8), nn.Linear(8, outputs), change

    def forward(self, x: Tensor) -> Any:
        return self.change(self.out(self.hidden(x).relu()))


@law("mlp", needs_other_outputs=True)
def models_that_return_something_else_are_refused(subject: Subject) -> None:
    """A model must return a row for each row of the input, in one tensor or in one that can be told from the others."""
    changes: list[tuple[Callable[[Tensor], Any], str]] = [
        (lambda out: (out, out), r"one output for each member.*a tuple with 0: \(2, 3\).*Pass output=0 or 1"),
        (lambda out: {"a": out, "b": out}, r"a dict with a: \(2, 3\).*Pass output='a' or 'b'"),
        (lambda out: None, "must return a tensor.*but got a NoneType"),
        (lambda out: out.argmax(dim=1), r"floating-point outputs of shape \(2, outputs\).*int64 of shape \(2,\)"),
        (lambda out: out.unsqueeze(1), r"an output of shape \(batch, 1, 3\), which has positions"),
        (lambda out: out.flatten(), r"float32 of shape \(6,\)"),
        (lambda out: out.mean(dim=0, keepdim=True), r"float32 of shape \(1, 3\)"),
        (lambda out: out.T, r"float32 of shape \(3, 2\)"),
    ]
    for change, message in changes:
        with refused(InputError, message, "a model that returns something else"):
            subject.method.wrap(_Returning(change, subject.case.classes), example=torch.randn(2, 4))


@law("mlp", needs_classes=True)
def bad_targets_are_named(subject: Subject) -> None:
    """Labels and numbers that the likelihood cannot observe are refused before the loss is computed."""
    ensemble = subject.wrap()
    x, y = subject.data()
    classes = subject.case.classes
    for bad, message in (
        (y.double(), "integers.*float64"),
        (y + 1 - y.min() + classes, rf"0\.\.{classes - 1}"),
        (torch.full_like(y, -100), "from -100 to -100"),
        (y.unsqueeze(1), r"shape.*squeeze"),
        (F.one_hot(y, classes), r"shape.*argmax"),
    ):
        with refused(InputError, message, f"targets of shape {tuple(bad.shape)} in {bad.dtype}"):
            ensemble.loss(x, bad)
    if not subject.case.other_outputs:
        return
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    ensemble = subject.method.wrap(net, example=torch.zeros(1, 4), likelihood=Gaussian())
    x = torch.randn(6, 4)
    for bad, message in (
        (torch.zeros(6, 3), "2 targets per row"),
        (torch.zeros(6), "2 targets per row"),
        (torch.zeros(6, 1, 2), "must have shape"),
        (torch.zeros(6, 2, dtype=torch.long), "floating-point"),
        (torch.full((6, 2), math.nan), "12 NaN"),
    ):
        with refused(InputError, message, f"real targets of shape {tuple(bad.shape)} in {bad.dtype}"):
            ensemble.loss(x, bad)


@law("mlp", needs_other_outputs=True)
def types_and_shapes_of_targets_are_checked_on_accelerators_too(subject: Subject) -> None:
    """The meta device represents an accelerator: its values cannot be read."""
    ensemble = subject.method.wrap(
        nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)).to("meta"),
        example=torch.zeros(1, 4, device="meta"),
        likelihood=Gaussian(),
    )
    x = torch.zeros(6, 4, device="meta")
    loss = ensemble.loss(x, torch.zeros(6, 2, device="meta"))
    require(loss.shape == (), f"a loss of shape {tuple(loss.shape)}")
    with refused(InputError, "2 targets per row", "one target for two outputs"):
        ensemble.loss(x, torch.zeros(6, device="meta"))
    with refused(InputError, "floating-point", "whole numbers as real targets"):
        ensemble.loss(x, torch.zeros(6, 2, dtype=torch.long, device="meta"))


@law("mlp")
def batches_that_do_not_fit_are_refused(subject: Subject) -> None:
    """Inputs and targets of different lengths, empty batches, and rows for another number of members are refused."""
    ensemble = subject.wrap()
    x, y = subject.data()
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: ensemble.loss(x, y[:5]), "6 inputs and 5 targets"),
        (lambda: ensemble.loss(x[:0], y[:0]), "at least one input"),
        (lambda: ensemble.predict(x, targets=y[:5]), "6 inputs and 5 targets"),
        (lambda: ensemble.predict(x[:0]), "an empty batch"),
        (lambda: ensemble.predict(x, batch_size=0), "batch_size=0"),
        (lambda: ensemble.predict(x, batch_size=-1), "batch_size=-1"),
    ]
    for call, message in calls:
        with refused(InputError, message, message):
            call()
    members = subject.method.members
    own = Batch(
        inputs=x.unsqueeze(1).expand(-1, members + 1, *subject.case.shape),
        targets_BM=y.unsqueeze(1).expand(-1, members + 1, *y.shape[1:]),
        distinct=True,
    )
    with refused(InputError, rf"\(batch, {members}, ...\)", f"inputs for {members + 1} members"):
        ensemble.forward_batch(own)


@law("mlp")
def a_method_is_a_frozen_record_of_its_settings(subject: Subject) -> None:
    """A method can be written to a record and read back, and its ``repr`` makes it again."""
    method, kind = subject.method, type(subject.method)
    check_class(kind)
    names = vars(sys.modules[kind.__module__]) | {kind.__name__: kind}
    require(eval(repr(method), dict(names)) == method, f"{method!r} does not make the method again")
    record = to_record(method, name=name_in_record)
    read = from_record(record, [kind], load=RecordedCode().load)
    require(read == method, f"a record that is read back as {read!r} instead of {method!r}")
    require(hash(method) == hash(replace(method)), "an equal method with another hash")
    require(repr(method) in repr(subject.wrap()), f"an ensemble that is not shown as one of {method!r}")
    with refused(FrozenInstanceError, "", "changing a setting"):
        method.members = 7  # type: ignore[misc]


@law("mlp")
def a_method_needs_a_member(subject: Subject) -> None:
    """Fewer than one member is refused, if the number of members is a setting."""
    for setting in {item.name for item in fields(subject.method)} & {"members", "samples"}:
        for number in (0, -1):
            changes: dict[str, Any] = {setting: number}
            with refused(InputError, f"{setting}={number}", f"{setting}={number}"):
                replace(subject.method, **changes)
