"""What is suggested for the name of a model that is not known: motet's names, and timm's with their prefix."""

import subprocess
import sys
from types import ModuleType

import pytest

from motet.errors import InputError
from motet.models import TimmModel, model_named

NAMES = ["resnet10t", "resnet18", "resnet18d", "resnet34", "vit_tiny_patch16_224", "convnext_tiny"]


@pytest.fixture(name="timm")
def _timm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timm of few models, whose import takes no time."""
    fake = ModuleType("timm")
    monkeypatch.setattr(fake, "list_models", lambda: NAMES, raising=False)
    monkeypatch.setattr(fake, "is_model", lambda name: name.split(".")[0] in NAMES, raising=False)
    monkeypatch.setitem(sys.modules, "timm", fake)


def refused(name: str) -> str:
    with pytest.raises(InputError) as caught:
        model_named(name)
    return str(caught.value)


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("resnet18", "'timm:resnet18'"),
        ("ResNet18", "'timm:resnet18'"),
        ("resnet18.a1_in1k", "'timm:resnet18.a1_in1k'"),
        ("vit-tiny-patch16-224", "'timm:vit_tiny_patch16_224'"),
        ("convnext_tny", "'timm:convnext_tiny'"),
        ("resnet19", "'timm:resnet18', 'timm:resnet18d' or 'timm:resnet10t'"),
        ("mpl", "'mlp'"),
    ],
)
def test_a_name_of_timm_is_suggested_with_its_prefix(name: str, meant: str) -> None:
    message = refused(name)
    assert f"but got {name!r}. Did you mean {meant}? Known: mlp, small_cnn" in message
    assert message.endswith("and timm:NAME for each of timm.list_models().")


@pytest.mark.usefixtures("timm")
def test_a_name_of_motet_stands_first_among_equally_similar_ones() -> None:
    assert "Did you mean 'resnet50', 'timm:resnet" in refused("resnet51")


@pytest.mark.usefixtures("timm")
def test_a_suggestion_is_a_name_that_is_known() -> None:
    assert model_named("timm:resnet18") == TimmModel(name="resnet18")


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize("name", ["", "0", "qqqqqq"])
def test_a_name_like_no_other_gets_no_suggestion(name: str) -> None:
    assert f"but got {name!r}. Known: mlp," in refused(name)


def test_without_timm_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    message = refused("resnet51")
    assert "Did you mean 'resnet50'? Known: mlp" in message
    assert message.endswith(" and needs the package timm. Install it: pip install timm.")


@pytest.mark.slow
def test_the_real_timm_has_resnet18() -> None:
    assert "Did you mean 'timm:resnet18'?" in refused("resnet18")


@pytest.mark.slow
def test_known_names_do_not_import_timm() -> None:
    code = (
        "import sys; from motet.models import model_named; "
        "[model_named(name) for name in ('mlp', 'wrn-16-4', 'resnet50', 'timm:resnet18', 'nets.py:make')]; "
        "sys.exit('timm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
