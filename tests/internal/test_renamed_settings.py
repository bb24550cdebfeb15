"""Old names of settings, arguments, properties and functions keep working, with a DeprecationWarning."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import motet
from motet._internal.plain_records import from_record, to_record
from motet._internal.renamed_settings import RENAMED_SETTINGS, description_with_new_names, with_new_names
from motet.errors import InputError
from motet.experiments import Experiment, run_experiment
from motet.experiments.records import read_run_record
from motet.layers import Layout, MemberLayer, ParameterRoles, Tile, WrappedLayer
from motet.method import ConversionContext, Method, Model
from motet.methods import METHODS, BatchEnsemble, MCDropout, MixtureEnsembles
from motet.models import MLP
from motet.training import Training

BY_CLASS = {kind.__name__: kind for kind in METHODS.values()}
RENAMED = [(BY_CLASS[kind], old, new) for kind, names in RENAMED_SETTINGS.items() for old, new in names.items()]


@pytest.mark.parametrize(("kind", "old", "new"), RENAMED)
def test_an_old_setting_means_the_new_one(kind: type[Method], old: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match=rf"{kind.__name__}: {old} is now called {new}"):
        method = kind(**{old: 3})
    assert method == kind(**{new: 3})
    with pytest.warns(DeprecationWarning, match=f"{old} is now called {new}"):
        assert getattr(method, old) == 3
    with pytest.raises(InputError, match=f"{kind.__name__} must be given {new} once.*Pass {new} only"):
        kind(**{old: 3, new: 3})
    assert replace(method, **{new: 4}) == kind(**{new: 4})


@pytest.mark.parametrize(("kind", "old", "new"), RENAMED)
def test_records_and_checkpoints_with_old_names_are_read_without_a_warning(
    kind: type[Method], old: str, new: str
) -> None:
    method = kind(**{new: 3})
    record = {old if key == new else key: value for key, value in to_record(method).items()}
    assert from_record(record, [kind]) == method
    text = f"{method}, Independent(reduction='sum'), digits, seed=0"
    assert f", {new}=" in text or f"({new}=" in text
    assert description_with_new_names(text.replace(f"{new}=", f"{old}=")) == text
    assert description_with_new_names(f"Other({old}=3)") == f"Other({old}=3)"


def test_settings_deep_in_a_record_are_renamed() -> None:
    deep = {"a": [{"type": "MCDropout", "samples": 2}], "samples": 1, "type": "Experiment"}
    assert with_new_names(deep) == {"a": [{"type": "MCDropout", "members": 2}], "samples": 1, "type": "Experiment"}
    bottomless: dict[str, object] = {}
    for _ in range(60):
        bottomless = {"a": bottomless}
    with pytest.raises(InputError, match="nested less deeply"):
        with_new_names(bottomless)


def test_a_run_of_an_earlier_version_is_finished_and_read(tmp_path: Path) -> None:
    experiment = Experiment(
        data="digits",
        model=MLP(hidden=(8,)),
        method=MCDropout(members=2),
        training=Training(epochs=1, batch_size=512),
    )
    first = run_experiment(experiment, tmp_path / "run", progress=False)
    record = tmp_path / "run" / "run.json"
    plain = json.loads(record.read_text())
    plain["settings"]["method"] = {
        "samples" if k == "members" else k: v for k, v in plain["settings"]["method"].items()
    }
    record.write_text(json.dumps(plain))
    assert read_run_record(record).settings == first.record.settings
    again = run_experiment(experiment, tmp_path / "run", progress=False)
    assert again.experiment == experiment
    assert again.scores == first.scores


class Network(nn.Module):
    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([network(x) for network in self.networks])


def test_a_method_that_says_size_still_works() -> None:
    with pytest.warns(DeprecationWarning, match=r"Old: size(_in_training)? is now called members"):

        @dataclass(frozen=True, kw_only=True)
        class Old(Method):
            name = "old"
            label = "Old"
            summary = "says its number of members as earlier versions asked for"
            branches: int = 3

            @property
            def size(self) -> int:
                return self.branches

            @property
            def size_in_training(self) -> int:
                return 1

            def convert(self, model: Model, given: ConversionContext) -> nn.Module:
                return MCDropout(members=self.size, rate=0.5).convert(model, given)

    method = Old(branches=2)
    assert (method.members, method.members_in_training, method.size) == (2, 1, 2)
    assert method.wrap(nn.Linear(4, 3), example=torch.zeros(1, 4)).members == 2


def test_new_methods_answer_to_the_old_names() -> None:
    with pytest.warns(DeprecationWarning, match="size is now called members"):
        assert MCDropout(members=5).size == 5
    with pytest.warns(DeprecationWarning, match="size_in_training is now called members_in_training"):
        assert MCDropout(members=5).size_in_training == 1


def test_a_method_without_a_number_of_members_is_refused_when_it_wraps() -> None:
    class Nothing(Method):
        name = label = summary = "nothing"

        def convert(self, model: Model, given: ConversionContext) -> nn.Module:
            raise AssertionError

    with pytest.raises(InputError, match=r"members, the number of its members.*Nothing without it.*members: int = 3"):
        Nothing().wrap(nn.Linear(4, 3), example=torch.zeros(1, 4))


def test_a_size_that_contradicts_members_is_refused() -> None:
    with pytest.warns(DeprecationWarning, match="size is now called members"):

        @dataclass(frozen=True, kw_only=True)
        class Twice(DeepEnsembleLike):
            members: int = 2

            @property
            def size(self) -> int:
                return 2 * self.members

    with pytest.raises(InputError, match="members=2 and size=4"):
        Twice().wrap(nn.Linear(4, 3), example=torch.zeros(1, 4))


class DeepEnsembleLike(Method):
    name = label = summary = "twice"

    def convert(self, model: Model, given: ConversionContext) -> nn.Module:
        raise AssertionError


def test_a_layer_that_declares_learning_rate_scales_still_does() -> None:
    with pytest.warns(DeprecationWarning, match="learning_rate_scales is now called parameter_lr_scales"):

        class Scaled(ParameterRoles):
            def __init__(self) -> None:
                super().__init__()
                self.scale = nn.Parameter(torch.ones(2))

            @property
            def learning_rate_scales(self) -> Mapping[str, float]:
                return {"scale": 0.25}

    layer = Scaled()
    assert layer.parameter_lr_scales == {"scale": 0.25}
    (group,) = motet.layers.parameter_roles.parameter_groups(
        layer, weight_decay=0.0, decay_norm_and_bias=True, learning_rate=2.0
    )
    assert group["lr"] == 0.5

    class Newer(Scaled):
        parameter_lr_scales = {"scale": 0.5}  # noqa: RUF012

    assert Newer().parameter_lr_scales == {"scale": 0.5}


def test_old_arguments_of_layers() -> None:
    with pytest.warns(DeprecationWarning, match="behind is now called post"):
        layer = WrappedLayer(nn.Identity(), behind=Tile(2, layout=Layout()))
    assert isinstance(layer, MemberLayer)
    assert isinstance(layer.post, Tile)
    with pytest.warns(DeprecationWarning, match="behind is now called post"):
        assert layer.behind is layer.post


def test_old_names_of_functions_and_classes() -> None:
    with pytest.warns(DeprecationWarning, match=r"use motet\.surgery\.permuted_init_like"):
        assert motet.surgery.fresh_like is motet.surgery.permuted_init_like
    with pytest.warns(DeprecationWarning, match=r"use motet\.distributed\.MemberShard"):
        assert motet.distributed.Share is motet.distributed.MemberShard
    ensemble = BatchEnsemble(members=2).wrap(nn.Linear(4, 3), example=torch.zeros(1, 4))
    with pytest.warns(DeprecationWarning, match="share is now called shard"):
        assert ensemble.share is None


def test_new_names_give_no_warning() -> None:
    MixtureEnsembles(coefficient_lr_scale=0.1)
    BatchEnsemble(fast_weight_lr_scale=0.1)
