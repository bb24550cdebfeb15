"""`Training` refuses what cannot be trained, in one line that says why."""

import dataclasses
import math

import pytest

from motet import InputError, Training


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"epochs": -3}, "epochs=-3"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"learning_rate": -0.1}, "learning_rate=-0.1"),
        ({"learning_rate": math.nan}, "learning_rate=nan"),
        ({"learning_rate": math.inf}, "learning_rate=inf"),
        ({"weight_decay": -1e-4}, "weight_decay=-0.0001"),
        ({"weight_decay": math.nan}, "weight_decay=nan"),
        ({"momentum": -0.9}, "momentum=-0.9"),
        ({"momentum": 0.0}, "nesterov=True and momentum=0"),
        ({"beta1": 1.0}, "beta1=1.0"),
        ({"beta2": -0.1}, "beta2=-0.1"),
        ({"beta2": math.nan}, "beta2=nan"),
        ({"warmup_epochs": -1.0}, "warmup_epochs=-1.0"),
        ({"decay_factor": math.inf}, "decay_factor=inf"),
        ({"milestones": (3.0, 2.0)}, "milestones=(3.0, 2.0)"),
        ({"milestones": (2.0, 2.0)}, "milestones=(2.0, 2.0)"),
        ({"milestones": (-1.0,)}, "milestones=(-1.0,)"),
        ({"milestones": (math.nan,)}, "milestones=(nan,)"),
        ({"early_stopping": 0}, "early_stopping=0"),
    ],
)
def test_bad_settings_are_refused_in_one_line(settings: dict[str, object], part: str) -> None:
    with pytest.raises(InputError) as caught:
        Training(**settings)  # type: ignore[arg-type]
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("name", "meant"), [("optimizer", "adamw"), ("schedule", "cosine"), ("precision", "bf16-mixed")]
)
def test_misspelt_choices_get_the_nearest(name: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"Did you mean '{meant}'"):
        Training(**{name: meant[:-1] + "x"})  # type: ignore[arg-type]


@pytest.mark.usefixtures("unchecked")
def test_whole_numbers_are_the_same_settings_as_their_floats() -> None:
    """Else a run begun with 1 and continued with --training.warmup-epochs 1 (parsed as 1.0) would be another run."""
    whole = Training(learning_rate=1, warmup_epochs=1, milestones=(2, 3), momentum=0, nesterov=False)
    real = Training(learning_rate=1.0, warmup_epochs=1.0, milestones=(2.0, 3.0), momentum=0.0, nesterov=False)
    assert whole == real
    assert str(whole) == str(real)


def test_momentum_zero_is_fine_without_nesterov_and_for_adamw() -> None:
    assert Training(momentum=0.0, nesterov=False).momentum == 0
    assert Training(momentum=0.0, optimizer="adamw").optimizer == "adamw"


def test_settings_are_frozen_and_keyword_only() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Training().epochs = 3  # type: ignore[misc]
    with pytest.raises(TypeError):
        Training(3)  # type: ignore[misc]
