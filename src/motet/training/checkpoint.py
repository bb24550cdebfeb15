"""A training run in one file: weights, optimiser, random state and position.

It is one safetensors file, written under a temporary name and renamed, so it is whole or absent. Reading it executes no
code. Tensors are stored by path, everything else as JSON in the metadata.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from motet._internal.renamed_settings import description_with_new_names
from motet._internal.tensor_file import read_tensors, write_tensors
from motet._internal.typed_records import to_plain
from motet.errors import InputError
from motet.training.history import HistoryRow, history_row

CHECKPOINT = Path("checkpoint", "last.safetensors")
"""The path of the checkpoint in a run's folder."""

VERSION = 2
KEY = "motet.checkpoint"
"""What such a file calls its metadata, see `motet._internal.tensor_file`."""


@final
@dataclass
class Position:
    """How far a run has come.

    Attributes:
        epoch: the number of finished epochs.
        step_in_epoch: the number of finished steps of the current epoch.
        loss_sum: the sum of the losses of these steps.
        epoch_seconds: time of the steps of the current epoch.
        history: one row per finished epoch.
        best_nll: lowest validation NLL so far, with early stopping.
        best_error: lowest validation error so far, with early stopping that monitors it.
        best_epoch: the epoch with the lowest monitored score.
    """

    epoch: int = 0
    step_in_epoch: int = 0
    loss_sum: float = 0.0
    epoch_seconds: float = 0.0
    history: list[HistoryRow] = field(default_factory=list)
    best_nll: float = float("inf")
    best_error: float = float("inf")
    best_epoch: int = 0

    def to_plain(self) -> dict[str, Any]:
        """Return the position as plain data for JSON."""
        return vars(self) | {"history": to_plain(self.history)}

    @staticmethod
    def from_plain(content: Mapping[str, Any], *, where: str) -> "Position":
        """Return the position from plain data made by `to_plain`. `where` is named in errors."""
        rows = [history_row(row, where=where) for row in content["history"]]
        return Position(**{**content, "history": rows})


def save_checkpoint(
    path: Path,
    *,
    model: nn.Module,
    optimizer: Optimizer,
    position: Position,
    settings: str,
    best: dict[str, Tensor],
    scaler: dict[str, Any],
) -> None:
    """Write the run's state to `path`, atomically.

    Args:
        path: the file.
        model, optimizer, position: the state.
        settings: a description of the run; loading checks that it is the same.
        best: the weights that early stopping would keep; empty without early stopping.
        scaler: the state of float16's gradient scaler; empty without one.
    """
    state = optimizer.state_dict()["state"]
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    scalars: dict[str, dict[str, Any]] = {}
    for index, entries in state.items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{key}"] = value
            else:
                scalars.setdefault(str(index), {})[key] = value
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    about = {"version": VERSION, "settings": settings, "position": position.to_plain()}
    about |= {"optimizer": scalars, "scaler": scaler, "parameters": parameter_names(model, optimizer)}
    write_tensors(path, tensors, about, key=KEY)


def load_checkpoint(
    path: Path, *, model: nn.Module, optimizer: Optimizer, settings: str
) -> tuple[Position, dict[str, Tensor], dict[str, Any]]:
    """Load a run's state into the model and the optimiser.

    Args:
        path: the file.
        model: the model.
        optimizer: its optimiser.
        settings: the description of the run that the file must have.

    Returns:
        The position, the best weights (empty without early stopping), and the state of the gradient scaler.

    Raises:
        InputError: if the file is not a checkpoint of this model and these settings.
    """
    with refusing(path, "for the same run", "Choose another folder, or move this one away and start the run again"):
        about, tensors = read_checkpoint(path)
        if description_with_new_names(about["settings"]) != settings:
            raise ValueError(f"it is of another run, {about['settings']}, and this one is {settings}")
        position = Position.from_plain(about["position"], where=str(path))
        state: dict[int, dict[str, Any]] = {int(index): dict(entries) for index, entries in about["optimizer"].items()}
        for name, value in below("optimizer.", tensors).items():
            index, key = name.split(".", 1)
            state.setdefault(int(index), {})[key] = value
        model.load_state_dict(below("model.", tensors))
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        torch.set_rng_state(tensors["random.cpu"])
        if "random.cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["random.cuda"])
        return position, below("best.", tensors), about["scaler"]


def load_weights(path: Path, model: nn.Module) -> None:
    """Load only the weights, for evaluation: the best ones if early stopping kept them, otherwise the last.

    Raises:
        InputError: if the file is not a checkpoint of this model.
    """
    with refusing(path, "for this model", "Move the run's folder away and run it again"):
        _, tensors = read_checkpoint(path)
        model.load_state_dict(below("best.", tensors) or below("model.", tensors))


def parameter_names(model: nn.Module, optimizer: Optimizer) -> list[str]:
    """Return the names of the parameters, in the order of the optimiser's state."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]


def read_checkpoint(
    path: Path, *, only: Callable[[str], bool] = lambda _: True
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the metadata of a checkpoint file, and the tensors whose names `only` accepts.

    Raises:
        ValueError: if it is not a checkpoint of this version, or is damaged.
        Other errors: see `motet._internal.tensor_file.read_tensors`.
    """
    about, tensors = read_tensors(path, key=KEY, only=only)
    if about["version"] != VERSION:
        raise ValueError(f"version {about['version']}")
    return about, tensors


@contextmanager
def refusing(path: Path, purpose: str, way_out: str) -> Iterator[None]:
    """Convert any error that a damaged or foreign file causes in this context into an `InputError`.

    Args:
        path: the file.
        purpose: what the checkpoint is for, in the error.
        way_out: the advice in the error.

    Raises:
        InputError: for any error in this context.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, LookupError, TypeError, ValueError, RuntimeError, AttributeError, OSError) as error:
        raise InputError(
            f"a checkpoint must be a complete file, written by this version of motet {purpose}",
            got=f"{path} ({type(error).__name__}: {error})",
            fix=way_out,
        ) from error


def below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names start with `prefix`, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
