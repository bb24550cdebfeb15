"""Datasets of one's own tensors: what is inferred, how inputs are prepared, and what is refused."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from motet.data import Dataset, DataSpec, Split
from motet.data._dataset import own_split
from motet.errors import InputError
from motet.likelihoods import Categorical, Gaussian


def images(rows: int = 6, *, classes: int = 3) -> tuple[Tensor, Tensor]:
    return torch.randint(0, 256, (rows, 2, 4, 4), dtype=torch.uint8), torch.arange(rows) % classes


def features(rows: int = 6, *, targets: int = 2) -> tuple[Tensor, Tensor]:
    return torch.randn(rows, 5), torch.randn(rows, targets)


def make(**changed: Any) -> Dataset:
    splits = {"train": images(), "validation": images(4), "test": images(5)}
    return Dataset.from_tensors("mine", **(splits | changed))


def make_regression(**changed: Any) -> Dataset:
    splits = {"train": features(), "validation": features(4), "test": features(5)}
    return Dataset.from_tensors("mine", **(splits | changed))


def test_integer_targets_make_a_classification() -> None:
    data = make()
    assert data.spec == DataSpec(name="mine", input_shape=(2, 4, 4), outputs=3, task="classification")
    assert data.spec.likelihood == Categorical()
    assert (len(data.train), len(data.validation), len(data.test)) == (6, 4, 5)


def test_floating_targets_make_a_regression() -> None:
    data = make_regression()
    assert (data.spec.task, data.spec.outputs, data.spec.input_shape) == ("regression", 2, (5,))
    assert data.spec.likelihood == Gaussian()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_labels_of_any_integer_type_become_int64(dtype: torch.dtype) -> None:
    x, y = images()
    data = make(train=(x, y.to(dtype)))
    assert data.train.targets.dtype == torch.int64
    assert torch.equal(data.train.targets, y)


def test_a_vector_of_real_targets_gets_a_target_axis() -> None:
    data = make_regression(
        **{name: (torch.randn(3, 5), torch.randn(3).double()) for name in ("train", "validation", "test")}
    )
    assert data.train.targets.shape == (3, 1)
    assert data.train.targets.dtype == torch.float32
    assert data.spec.outputs == 1


def test_the_number_of_classes_counts_the_labels_of_all_splits() -> None:
    assert make(test=(images(2)[0], torch.tensor([0, 6]))).spec.outputs == 7
    assert make(outputs=12).spec.outputs == 12
    assert make(class_names=("a", "b", "c", "d")).spec.outputs == 4


def test_a_class_is_found_that_only_validation_has() -> None:
    assert make(validation=(images(2)[0], torch.tensor([0, 4]))).spec.outputs == 5


# --- prepare ---------------------------------------------------------------------------------------------------------


def test_uint8_is_divided_by_255_then_normalised_per_channel() -> None:
    data = make(mean=(0.25, 0.5), std=(0.5, 2.0))
    x = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 2, 4, 4)
    prepared = data.prepare(x)
    assert prepared.dtype == torch.float32
    torch.testing.assert_close(prepared[:, 0, 0, 0], torch.tensor([-0.5, 1.5]))
    torch.testing.assert_close(prepared[:, 1, 0, 0], torch.tensor([-0.25, 0.25]))


def test_floats_are_just_normalised() -> None:
    x = torch.randn(3, 5, dtype=torch.float64)
    torch.testing.assert_close(
        make_regression(mean=(1.0,), std=(4.0,)).prepare(x), ((x - 1) / 4).float(), atol=1e-6, rtol=1e-6
    )
    torch.testing.assert_close(make_regression().prepare(x), x.float())
    per_feature = make_regression(mean=(1.0, 2.0, 3.0, 4.0, 5.0))
    torch.testing.assert_close(per_feature.prepare(x), (x - torch.arange(1, 6)).float())


def test_prepare_takes_any_leading_axes() -> None:
    data = make(mean=(0.1, 0.2), std=(0.3, 0.4))
    x = data.train.inputs
    prepared = data.prepare(x.view(3, 2, 2, 4, 4))
    torch.testing.assert_close(prepared.view(6, 2, 4, 4), data.prepare(x))
    torch.testing.assert_close(data.prepare(x[0]), data.prepare(x)[0])


def test_prepare_keeps_to_float32_and_to_autograd_whatever_the_mode_it_first_ran_in() -> None:
    data = make_regression(mean=(1.0, 2.0, 3.0, 4.0, 5.5), std=(1.0, 2.0, 3.0, 4.0, 5.5))
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode():
            assert data.prepare(torch.randn(2, 5)).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)
    x = torch.randn(2, 5, requires_grad=True)
    data.prepare(x).sum().backward()
    torch.testing.assert_close(x.grad, (1 / torch.tensor([1.0, 2.0, 3.0, 4.0, 5.5])).expand(2, 5))


def test_prepare_refuses_what_it_cannot_scale() -> None:
    with pytest.raises(InputError, match=r"uint8 .* or floating-point, but got inputs of int64"):
        make().prepare(torch.zeros(2, 2, 4, 4, dtype=torch.int64))
    with pytest.raises(InputError, match=r"end in the axes \(2, 4, 4\), but got inputs of shape \(2, 4, 5\)"):
        make().prepare(torch.zeros(2, 4, 5))


def test_to_moves_everything_and_prepare_stays_there() -> None:
    moved = make(mean=(0.1, 0.2), std=(0.3, 0.4)).to("meta")
    for split in (moved.train, moved.validation, moved.test):
        assert split.inputs.device.type == split.targets.device.type == "meta"
    assert moved.prepare(moved.train.inputs).device.type == "meta"


# --- bad data --------------------------------------------------------------------------------------------------------

X, Y = images(4)
Z, T = features(4)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"validation": (X, Y[:3])}, r"validation split .* as many inputs .* \(4, 2, 4, 4\) and .* \(3,\)"),
        ({"test": (X[:0], Y[:0])}, "test split needs at least one row"),
        ({"train": (X[:0], Y[:0])}, "train split needs at least one row"),
        ({"test": (X[:, :1], Y)}, r"shape \(2, 4, 4\), but got rows of shape \(1, 4, 4\) in the test split"),
        ({"test": (X.float(), Y)}, "test split must have the scale of the train split's.*float32"),
        ({"test": (X.long(), Y)}, "inputs of the test split must be uint8.*int64"),
        ({"test": (X, Y - 1)}, r"in the test split, class labels must lie in 0..2 .* from -1 to"),
        ({"test": (X, Y + 1), "outputs": 3}, r"in the test split, .* labels from 1 to 3"),
        ({"test": (X, Y.float())}, "in the test split, class labels must be integers.*float32"),
        ({"train": (X, Y.bool())}, "in the train split, class labels must be integers.*bool"),
        ({"train": (X, Y + 0j)}, "in the train split, class labels must be integers.*complex"),
        ({"test": (X, torch.eye(4).long())}, r"test split must have shape \(N,\).*\(4, 4\).*argmax"),
        ({"train": (X.sum((1, 2, 3)), Y)}, r"at least one axis.*unsqueeze\(1\)"),
        ({"train": (torch.tensor(1.0), torch.tensor(1))}, "at least one axis"),
        ({"validation": (torch.tensor(1.0), torch.tensor(1))}, "validation split needs at least one row"),
        (dict.fromkeys(("train", "validation", "test"), (X, Y * 0)), "at least 2 classes.*every label is 0"),
        ({"class_names": ("a", "b")}, r"in the train split, class labels must lie in 0..1"),
        ({"class_names": ("a", "b"), "outputs": 3}, "name each of the 3 classes.*2 names"),
        ({"outputs": 0}, "outputs must be at least 1, but got outputs=0"),
        ({"mean": (0.1, 0.2, 0.3)}, r"mean must hold one finite number, or one for each of the 2 channels"),
        ({"std": (0.1, float("nan"))}, r"std must hold one finite number.*\(0.1, nan\)"),
        ({"std": (1.0, 0.0)}, r"std must be above 0, but got std=\(1, 0\)"),
        ({"test": (X.to("meta"), Y)}, "test split must be on one device.*inputs on meta and targets on cpu"),
    ],
)
def test_bad_classification_data_is_named(changed: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match) as caught:
        make(**changed)
    assert "\n" not in str(caught.value)


def _with(tensor: Tensor, *values: float) -> Tensor:
    tensor = tensor.clone()
    tensor.view(-1)[: len(values)] = torch.tensor(values, dtype=tensor.dtype)
    return tensor


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        (
            {"validation": (_with(Z, float("nan"), float("inf"), -float("inf")), T)},
            "inputs of the validation split must be finite.*3 NaN or infinite values among 20",
        ),
        ({"train": (_with(Z.double(), 1e300), T)}, "train split must be finite float32 numbers.*1 NaN"),
        ({"test": (Z, _with(T, float("nan")))}, "in the test split, targets must be finite, but got 1"),
        ({"test": (Z, T[:, :1])}, "in the test split, a model with 2 outputs needs 2 targets per row"),
        ({"test": (Z, T.view(4, 1, 2))}, r"test split must have shape \(N, C\), but got shape \(4, 1, 2\)"),
        ({"test": (Z, torch.arange(4))}, "in the test split, regression targets must be floating-point"),
        ({"outputs": 3}, "in the train split, a model with 3 outputs"),
        ({"train": (Z, T[:, :0])}, "outputs must be at least 1"),
        ({"train": (Z[:, :0], T)}, "no axis of size 0"),
    ],
)
def test_bad_regression_data_is_named(changed: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        make_regression(**changed)


def test_arrays_that_are_no_tensors_are_refused() -> None:
    with pytest.raises(InputError, match=r"test split must be tensors, but got ndarray and Tensor.*torch\.as_tensor"):
        own_split("test", X.numpy(), Y)


def test_a_large_mean_is_abbreviated_in_the_message() -> None:
    with pytest.raises(InputError, match=r"std=\(0, 0, 0, 0, 0, 0, 0, 0, \.\.\.\)"):
        DataSpec(name="wide", input_shape=(100,), outputs=1, task="regression", std=(0.0,) * 100)


def test_check_covers_datasets_that_were_put_together_by_hand() -> None:
    data = make()
    broken = replace(data, validation=Split(inputs=data.test.inputs, targets=data.train.targets))
    with pytest.raises(InputError, match="validation split"):
        broken.check()
