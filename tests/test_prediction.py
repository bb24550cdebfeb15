import errno
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy import stats
from torch import Tensor

from motet.errors import InputError
from motet.likelihoods import Categorical, Combination, Gaussian, Likelihood
from motet.prediction import Prediction

COMBINATIONS: list[Combination] = ["mixture", "geometric"]
LOG2 = math.log(2)


def classes(outputs_BMC: Tensor, combination: Combination = "mixture", targets: Tensor | None = None) -> Prediction:
    return Prediction(outputs_BMC=outputs_BMC, likelihood=Categorical(), combination=combination, targets=targets)


def some(combination: Combination = "mixture") -> Prediction:
    return classes(3 * torch.randn(20, 4, 5).double(), combination, torch.randint(5, (20,)))


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_entropies_are_scipys(combination: Combination) -> None:
    prediction = some(combination)
    np.testing.assert_allclose(prediction.entropy, stats.entropy(prediction.probs.numpy(), axis=-1), rtol=1e-10)
    of_members = stats.entropy(prediction.member_probs.numpy(), axis=-1)
    np.testing.assert_allclose(prediction.expected_entropy, of_members.mean(axis=1), rtol=1e-10)
    of_mixture = stats.entropy(prediction.member_probs.mean(dim=1).numpy(), axis=-1)
    information = of_mixture - of_members.mean(axis=1)
    np.testing.assert_allclose(prediction.mutual_information, information, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_mutual_information_is_the_mean_kl_from_the_mixture_and_not_negative(combination: Combination) -> None:
    prediction = some(combination)
    mixture = prediction.member_probs.mean(dim=1, keepdim=True).numpy()
    kl = stats.entropy(prediction.member_probs.numpy(), np.broadcast_to(mixture, (20, 4, 5)), axis=-1)
    np.testing.assert_allclose(prediction.mutual_information, kl.mean(axis=1), rtol=1e-8, atol=1e-12)
    assert (prediction.mutual_information >= 0).all()
    equal = torch.randn(500, 1, 5).expand(-1, 7, -1)  # rounding alone would make some of these negative
    assert (classes(equal, combination).mutual_information >= 0).all()


def test_members_that_contradict_each_other_know_one_bit() -> None:
    prediction = classes(torch.tensor([[[1e4, 0.0], [0.0, 1e4]]]))
    assert prediction.probs.tolist() == [[0.5, 0.5]]
    assert prediction.entropy.item() == pytest.approx(LOG2)
    assert prediction.expected_entropy.item() == 0
    assert prediction.mutual_information.item() == pytest.approx(LOG2)
    assert prediction.confidence.item() == 0.5


def test_one_member_knows_what_it_knows() -> None:
    prediction = classes(torch.randn(6, 1, 3))
    assert prediction.members == 1
    torch.testing.assert_close(prediction.probs, prediction.member_probs[:, 0])
    torch.testing.assert_close(prediction.entropy, prediction.expected_entropy)
    assert prediction.mutual_information.max() < 1e-6


def test_one_class_one_example() -> None:
    prediction = classes(torch.randn(1, 2, 1), targets=torch.tensor([0]))
    assert prediction.probs.tolist() == [[1.0]]
    assert prediction.labels.tolist() == [0]
    assert prediction.confidence.tolist() == [1.0]
    assert prediction.entropy.tolist() == prediction.mutual_information.tolist() == [0.0]
    assert prediction.nll().tolist() == [0.0]


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_the_combinations(combination: Combination) -> None:
    prediction = some(combination)
    members = prediction.outputs_BMC.softmax(dim=-1)
    if combination == "mixture":
        expected = members.mean(dim=1)
    else:
        expected = members.prod(dim=1) ** (1 / 4)
        expected = expected / expected.sum(dim=-1, keepdim=True)
    torch.testing.assert_close(prediction.probs, expected)
    torch.testing.assert_close(prediction.mean, expected)
    torch.testing.assert_close(prediction.member_means, members)
    assert prediction.labels.tolist() == expected.argmax(dim=-1).tolist()
    assert prediction.confidence.tolist() == pytest.approx(expected.max(dim=-1).values.tolist())
    assert prediction.targets is not None
    nll = [-math.log(expected[row, label]) for row, label in enumerate(prediction.targets.tolist())]
    assert prediction.nll().tolist() == pytest.approx(nll)


def test_nan_shows_in_its_row_alone() -> None:
    outputs_BMC = torch.randn(3, 2, 4)
    outputs_BMC[1, 0, 0] = math.nan
    prediction = classes(outputs_BMC)
    for values in (
        prediction.entropy,
        prediction.expected_entropy,
        prediction.mutual_information,
        prediction.confidence,
    ):
        assert values.isnan().tolist() == [False, True, False]


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_regression_has_means_and_no_probabilities(combination: Combination) -> None:
    outputs_BMC = torch.randn(5, 3, 2)
    prediction = Prediction(
        outputs_BMC=outputs_BMC, likelihood=Gaussian(), combination=combination, targets=torch.randn(5, 2)
    )
    torch.testing.assert_close(prediction.mean, outputs_BMC.mean(dim=1))
    torch.testing.assert_close(prediction.member_means, outputs_BMC)
    assert prediction.nll().shape == (5,)
    for name in (
        "probs",
        "member_probs",
        "labels",
        "confidence",
        "entropy",
        "expected_entropy",
        "mutual_information",
    ):
        with pytest.raises(InputError, match=r"under Gaussian.*\.mean and \.member_means"):
            getattr(prediction, name)


def test_an_nll_needs_targets() -> None:
    with pytest.raises(InputError, match=r"without targets.*predict\(x, targets=y\)"):
        classes(torch.zeros(2, 1, 2)).nll()


def test_predictions_compare_by_identity() -> None:
    prediction = some()
    assert prediction == prediction  # noqa: PLR0124
    assert prediction != some()
    assert len({prediction, prediction}) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outputs_BMC": torch.zeros(4, 3)}, r"\(batch, members, outputs\), but got shape \(4, 3\).*unsqueeze"),
        ({"combination": "median"}, "mixture, geometric, but got 'median'"),
        ({"targets": torch.zeros(3, dtype=torch.long)}, r"one target per row.*\(3,\) for 4 rows"),
        ({"targets": torch.tensor(1)}, r"one target per row.*shape \(\)"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change: dict[str, object], message: str, unchecked: None) -> None:
    parts = {"outputs_BMC": torch.zeros(4, 2, 3), "likelihood": Categorical(), **change}
    with pytest.raises(InputError, match=message):
        Prediction(**parts)  # type: ignore[arg-type]


@pytest.mark.parametrize("combination", COMBINATIONS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("likelihood", [Categorical(), Gaussian()], ids=str)
@pytest.mark.parametrize("with_targets", [True, False])
def test_what_is_saved_is_loaded(
    tmp_path: Path, likelihood: Likelihood, dtype: torch.dtype, combination: Combination, with_targets: bool
) -> None:
    outputs_BMC = torch.randn(3, 8, 2).to(dtype).transpose(0, 1)  # not contiguous
    targets = torch.randint(2, (9,))[:8] if isinstance(likelihood, Categorical) else torch.randn(8, 2)
    prediction = Prediction(
        outputs_BMC=outputs_BMC.requires_grad_(),
        likelihood=likelihood,
        combination=combination,
        targets=targets if with_targets else None,
    )
    prediction.save(tmp_path / "new" / "folder" / "p.safetensors")
    loaded = Prediction.load(str(tmp_path / "new" / "folder" / "p.safetensors"))
    assert torch.equal(loaded.outputs_BMC, outputs_BMC)
    assert loaded.outputs_BMC.dtype == dtype
    assert loaded.likelihood == likelihood
    assert loaded.combination == combination
    if with_targets:
        assert loaded.targets is not None
        assert loaded.targets.dtype == targets.dtype
        assert torch.equal(loaded.targets, targets)
    else:
        assert loaded.targets is None


def test_saving_again_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    some().save(path)
    later = some()
    later.save(path)
    assert torch.equal(Prediction.load(path).outputs_BMC, later.outputs_BMC)
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_keeps_the_old_prediction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p.safetensors"
    old = some()
    old.save(path)

    def full(tensors: object, beside: Path, **_: object) -> None:
        beside.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(beside))

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        some().save(path)
    assert torch.equal(Prediction.load(path).outputs_BMC, old.outputs_BMC)
    assert list(tmp_path.iterdir()) == [path]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def scramble(path: Path) -> None:
    path.write_bytes(b"\xff" * 64)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def about(content: str) -> Callable[[Path], None]:
    return lambda path: save_file(load_file(path), path, metadata={"motet.prediction": content})


def without_metadata(path: Path) -> None:
    save_file(load_file(path), path)


def without_outputs(path: Path) -> None:
    metadata = {"motet.prediction": json.dumps({"likelihood": "Categorical", "combination": "mixture"})}
    save_file({"targets": torch.zeros(2)}, path, metadata=metadata)


@pytest.mark.parametrize(
    "spoil",
    [
        truncate,
        scramble,
        empty,
        without_metadata,
        without_outputs,
        about("not json"),
        about("[1]"),
        about("null"),
        about('{"likelihood": "Cauchy", "combination": "mixture"}'),
        about('{"likelihood": "Categorical", "combination": "median"}'),
        about('{"likelihood": "Categorical"}'),
    ],
)
def test_a_file_that_is_not_a_prediction_is_named(
    tmp_path: Path, spoil: Callable[[Path], None], unchecked: None
) -> None:
    path = tmp_path / "p.safetensors"
    some().save(path)
    spoil(path)
    with pytest.raises(InputError, match=r"must be one that Prediction.save wrote.*p\.safetensors.*Save it again"):
        Prediction.load(path)


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        Prediction.load(tmp_path / "absent.safetensors")
