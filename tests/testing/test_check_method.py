"""`motet.testing.check_method` passes methods that are right, and names the law that a broken one breaks."""

import copy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from motet import DeepEnsemble, InputError, Method, Single
from motet.layers import SeparateNetworks
from motet.method import ConversionContext, Model, check_members, instance_of
from motet.testing import LAWS, MODELS, check_method

pytestmark = pytest.mark.usefixtures("unchecked")


@dataclass(frozen=True, kw_only=True)
class Own(Method):
    """M networks in a loop, as outside motet somebody may write it."""

    name = "own"
    label = "Own"
    summary = "M networks, one after another"

    members: int = 2

    def __post_init__(self) -> None:
        check_members(self.members)

    def convert(self, model: Model, given: ConversionContext) -> nn.Module:
        return DeepEnsemble(members=self.members, execution="loop").convert(model, given)


class Wrapping(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)


@dataclass(frozen=True, kw_only=True)
class WrongRowOrder(Own):
    """Rows ``(B M)`` instead of ``(M B)``."""

    def convert(self, model: Model, given: ConversionContext) -> nn.Module:
        members = self.members

        class Swapped(Wrapping):
            def forward(self, x: Tensor) -> Tensor:
                return super().forward(x).unflatten(0, (members, -1)).transpose(0, 1).flatten(0, 1)

        return Swapped(super().convert(model, given))


@dataclass(frozen=True, kw_only=True)
class SharedDraws(Own):
    """All members start from the same draw of the weights."""

    def convert(self, model: Model, given: ConversionContext) -> nn.Module:
        network = instance_of(model)
        return SeparateNetworks([copy.deepcopy(network) for _ in range(self.members)], layout=given.layout)


@dataclass(frozen=True, kw_only=True)
class SharedMasks(SharedDraws):
    """Says that something other than weights makes its members different, which is not true."""

    differ_by_weights: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class RandomEvaluation(Own):
    """Draws noise in evaluation."""

    def convert(self, model: Model, given: ConversionContext) -> nn.Module:
        class Noisy(Wrapping):
            def forward(self, x: Tensor) -> Tensor:
                out = super().forward(x)
                return out if self.training else out + 1e-6 * torch.randn_like(out)

        return Noisy(super().convert(model, given))


@dataclass(frozen=True, kw_only=True)
class ParameterWithoutGradient(Own):
    """Has a parameter that the output does not depend on."""

    def convert(self, model: Model, given: ConversionContext) -> nn.Module:
        network = Wrapping(super().convert(model, given))
        like = next(network.parameters())
        network.unused = nn.Parameter(torch.ones(2, 2, dtype=like.dtype, device=like.device))
        return network


@dataclass(frozen=True, kw_only=True)
class DependsOnTheBatch(Own):
    """Normalises over the batch in evaluation, too."""

    def convert(self, model: Model, given: ConversionContext) -> nn.Module:
        class Centred(Wrapping):
            def forward(self, x: Tensor) -> Tensor:
                out = super().forward(x)
                return out - 0.1 * out.mean(dim=0, keepdim=True)

        return Centred(super().convert(model, given))


class Shifted(Wrapping):
    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        return out + torch.ones(out.shape[-1], dtype=out.dtype)


@dataclass(frozen=True, kw_only=True)
class OnTheDefaultDevice(Own):
    """Creates a tensor on torch's default device, whatever device its inputs are on."""

    def convert(self, model: Model, given: ConversionContext) -> nn.Module:
        return Shifted(super().convert(model, given))


class Checked(Wrapping):
    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        assert not bool(out.isinf().all())
        return out


@dataclass(frozen=True, kw_only=True)
class ReadsAValue(Own):
    """Waits for an accelerator in every pass."""

    def convert(self, model: Model, given: ConversionContext) -> nn.Module:
        return Checked(super().convert(model, given))


@dataclass(frozen=True, kw_only=True)
class ChangesTheModel(Own):
    """Uses the user's own model."""

    def convert(self, model: Model, given: ConversionContext) -> nn.Module:
        if isinstance(model, nn.Module):
            for value in model.parameters():
                value.data.mul_(2)
        return super().convert(model, given)


@dataclass(frozen=True, kw_only=True)
class NoMembersAllowed(Own):
    """Takes any number of members."""

    def __post_init__(self) -> None:
        pass


@dataclass(frozen=True, kw_only=True)
class Fails(Own):
    """Has a bug."""

    def convert(self, model: Model, given: ConversionContext) -> nn.Module:
        raise ZeroDivisionError("a bug")


def broken_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fold that is another ensemble, whatever a layer did to make it one."""
    from motet.ensemble import Ensemble

    fold = Ensemble.fold

    def scaled(self: Ensemble) -> Ensemble:
        folded = fold(self)
        with torch.no_grad():
            for value in folded.parameters():
                value.mul_(1.5)
        return folded

    monkeypatch.setattr(Ensemble, "fold", scaled)


@pytest.mark.slow
def test_a_method_that_is_right_passes() -> None:
    state = torch.get_rng_state()
    assert check_method(Own()) is None
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("method", "law", "found"),
    [
        (WrongRowOrder(), "forward_gives_every_member_an_output_row", "depend only on the same row"),
        (SharedDraws(), "forward_gives_every_member_an_output_row", "the members of an ensemble must be different"),
        (SharedMasks(), "members_differ", "members 0 and 1 of 2 with the same outputs"),
        (RandomEvaluation(), "evaluation_is_deterministic_and_row_by_row", "the same batch a second time"),
        (ParameterWithoutGradient(), "gradients_reach_every_parameter", "no gradient for network.unused"),
        (DependsOnTheBatch(), "forward_gives_every_member_an_output_row", "depend only on the same row"),
        (OnTheDefaultDevice(), "runs_on_the_meta_device", "aten.add.Tensor gets tensors on cpu and meta"),
        (ReadsAValue(), "runs_on_the_meta_device", "(assert not bool(out.isinf().all()))"),
        (ChangesTheModel(), "the_users_model_is_left_as_it_was", "wrapping changed"),
        (NoMembersAllowed(), "a_method_needs_a_member", "members="),
        (Fails(), "forward_gives_every_member_an_output_row", "ZeroDivisionError: a bug"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Method) else None,
)
@pytest.mark.slow
def test_a_broken_method_is_caught(method: Method, law: str, found: str) -> None:
    with pytest.raises(AssertionError) as error:
        check_method(method)
    assert f"{method} breaks the law {law}[" in str(error.value)
    assert found in str(error.value)


@pytest.mark.slow
def test_a_fold_that_differs_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    broken_fold(monkeypatch)
    with pytest.raises(AssertionError, match=r"breaks the law fold_equals_forward\[mlp\]: outputs of the fold"):
        check_method(Own())


def test_checks_one_by_one() -> None:
    checks = dict(check_method(WrongRowOrder(), generate_only=True))
    names = {law.name for law in LAWS if not law.needs_one_member}
    assert {name.partition("[")[0] for name in checks} == names
    assert {name.partition("[")[2] for name in checks} == {f"{place}]" for place in MODELS}
    checks["a_method_needs_a_member[mlp]"]()
    with pytest.raises(AssertionError, match=r"evaluation_is_deterministic_and_row_by_row\[wrn\]"):
        checks["evaluation_is_deterministic_and_row_by_row[wrn]"]()
    one = dict(check_method(Single(), generate_only=True))
    assert "one_member_is_the_single_network[tokens]" in one


def test_laws_that_do_not_apply_are_declared() -> None:
    def names(**left_out: str) -> set[str]:
        return {name for name, _ in check_method(Own(), generate_only=True, expected_failures=left_out)}

    whole = names()
    assert whole - names(members_differ="they need not") == {
        f"members_differ[{m}]" for m in ("mlp", "conv2d", "tokens")
    }
    left_out = {"fold_equals_forward[wrn]": "not there"}
    assert whole - {name for name, _ in check_method(Own(), generate_only=True, expected_failures=left_out)} == {
        "fold_equals_forward[wrn]"
    }
    with pytest.raises(InputError, match=r"must name laws, but got 'member_differ'\. Did you mean 'members_differ'"):
        names(member_differ="a slip")


class TokenNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(11, 8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.embed(x).mean(dim=1).tanh())


@pytest.mark.parametrize(
    ("model", "example"),
    [
        (lambda: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4)), torch.zeros(1, 6)),
        (TokenNet, torch.arange(9).view(1, 9)),
    ],
)
@pytest.mark.slow
def test_a_model_of_ones_own(model: Callable[[], nn.Module], example: Tensor) -> None:
    check_method(Own(), model(), example)
    names = [name for name, _ in check_method(Own(), model, example, generate_only=True)]
    assert names
    assert all(name.endswith("[model]") for name in names)
    with pytest.raises(AssertionError, match="breaks the law"):
        check_method(WrongRowOrder(), model(), example)


def test_a_model_needs_an_example() -> None:
    wrong: list[Any] = [(nn.Linear(2, 2), None), (None, torch.zeros(1, 2))]
    for model, example in wrong:
        with pytest.raises(InputError, match="a model and an example must be passed together"):
            check_method(Own(), model, example)


@pytest.mark.slow
def test_pytest_is_not_needed() -> None:
    code = "import sys, motet.testing; assert not {'pytest', '_pytest'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
