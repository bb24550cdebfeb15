"""A checkpoint with one file for each rank, from which any number of ranks can continue, or one process.

``checkpoint/step-N/rank-r-of-R.safetensors`` contain the members' weights and optimiser state by the member's index,
with the names of the member's own network. ``checkpoint/last.json`` names the complete step. It is replaced after every
rank has written, and only then are older files removed, so that a run that is killed at any moment leaves one complete
checkpoint.
"""

import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from motet._internal.files import read_json, remove_leftovers, write_json
from motet._internal.renamed_settings import description_with_new_names
from motet._internal.tensor_file import write_tensors
from motet.distributed import join_members, own_name, split_members
from motet.distributed.member_state import MemberState
from motet.ensemble import Ensemble
from motet.training.checkpoint import (
    CHECKPOINT,
    KEY,
    VERSION,
    Position,
    below,
    load_checkpoint,
    load_weights,
    parameter_names,
    read_checkpoint,
    refusing,
)

POINTER = Path("checkpoint", "last.json")
"""The path, in a run's folder, of the file that names the ranks' files."""

_WAY_OUT = "Choose another folder, or move this one away and start the run again"


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the run's last checkpoint: one file, or the pointer to the ranks' files; None if there is none."""
    single, pointer = folder / CHECKPOINT, folder / POINTER
    if not pointer.exists():
        return single if single.exists() else None
    if not single.exists():
        return pointer
    # A process killed between writing one and removing the other leaves both.
    with refusing(single, "for the same run", _WAY_OUT):
        about, _ = read_checkpoint(single, only=lambda _: False)
        position, other = about["position"], read_json(pointer)
        newer = (other["epoch"], other["step_in_epoch"]) > (position["epoch"], position["step_in_epoch"])
        return pointer if newer else single


def finished_epochs(folder: Path) -> int:
    """Return how many epochs were finished at a run's last checkpoint; 0 without one.

    Raises:
        InputError: if the checkpoint is damaged.
    """
    found = newest_checkpoint(folder)
    if found is None:
        return 0
    with refusing(found, "for the same run", _WAY_OUT):
        if found.name == POINTER.name:
            return int(read_json(found)["epoch"])
        about, _ = read_checkpoint(found, only=lambda _: False)
        return int(about["position"]["epoch"])


def checkpoint_files(folder: Path) -> list[Path]:
    """Return the files with the weights of a run's last checkpoint; those of ranks in order."""
    found = newest_checkpoint(folder)
    if found is None or found.name == CHECKPOINT.name:
        return [folder / CHECKPOINT]
    return [found.parent / file for file in read_json(found)["files"]]


def save_members(
    folder: Path,
    *,
    model: Ensemble,
    optimizer: Optimizer,
    position: Position,
    settings: str,
    best: dict[str, Tensor],
    step: int,
) -> None:
    """Write this rank's part of the run's state; on return the state of all ranks is the run's checkpoint.

    Args:
        folder: the run's folder; all ranks must have access to it.
        model, optimizer, position, settings, best: see `motet.training.checkpoint.save_checkpoint`.
        step: the number of finished steps.
    """
    shard = model.shard
    assert shard is not None
    grid = shard.grid
    tensors = {"random.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    about: dict[str, Any] = {"version": VERSION, "settings": settings, "position": position.to_plain()}
    if (scale := model.target_scale) is not None:
        about["target_scale"] = {"mean": scale.mean, "std": scale.std}
    if grid.data_rank == 0:  # the other ranks hold the same members
        about["optimizer"] = _put(tensors, model, optimizer, best)
    place = folder / POINTER.parent / f"step-{step}"
    write_tensors(place / _file(grid.rank, grid.size), tensors, about, key=KEY)
    grid.everyone.barrier()
    if grid.is_first:
        parts = [m * grid.data_ranks for m in range(grid.member_ranks)]
        whole = {
            "step": step,
            "epoch": position.epoch,
            "step_in_epoch": position.step_in_epoch,
            "members": shard.members,
            "member_ranks": grid.member_ranks,
            "data_ranks": grid.data_ranks,
            "files": [f"{place.name}/{_file(rank, grid.size)}" for rank in parts],
        }
        write_json(folder / POINTER, whole)
        (folder / CHECKPOINT).unlink(missing_ok=True)
        _remove_steps(folder, but=place.name)


def drop_members(folder: Path) -> None:
    """Remove the files of `save_members`, when there is a newer checkpoint in one file."""
    if (folder / POINTER).exists():
        (folder / POINTER).unlink()
        _remove_steps(folder, but=None)


def restore(
    folder: Path, *, model: Ensemble, optimizer: Optimizer, settings: str, seed: int
) -> tuple[Position, dict[str, Tensor], dict[str, Any]] | None:
    """Restore the run's last state, written by any number of processes; None if there is none.

    The random state is restored if the same grid of ranks reads it. Otherwise ranks draw new numbers from here on (for
    dropout; the order of the batches does not depend on them).

    Args:
        folder: the run's folder.
        model: the ensemble.
        optimizer: its optimiser.
        settings: the description of the run that the checkpoint must have.
        seed: the seed for new random numbers.

    Returns:
        The position, the best weights, and the state of the gradient scaler; None if there is no checkpoint.

    Raises:
        InputError: if the checkpoint is not of this model and these settings.
    """
    shard = model.shard
    found = newest_checkpoint(folder) if shard is None else shard.grid.first(lambda: newest_checkpoint(folder))
    if found is None:
        return None
    if shard is None or shard.grid.is_first:
        remove_leftovers(folder / POINTER.parent)
    if shard is None and found.name == CHECKPOINT.name:
        return load_checkpoint(found, model=model, optimizer=optimizer, settings=settings)
    with refusing(found, "for the same run", _WAY_OUT):
        first, held, members = _place(model)
        wanted = range(first, first + held)
        if found.name == CHECKPOINT.name:
            about, parts = _members_of_one_file(found, members=members)
        else:
            about, parts = _members_of_ranks(found, wanted)
        if description_with_new_names(about["settings"]) != settings:
            raise ValueError(f"it is of another run, {about['settings']}, and this one is {settings}")
        position = Position.from_plain(about["position"], where=str(found))
        names = list(model.state_dict())
        model.load_state_dict(join_members(parts["model"], names=names, members=held, first=first))
        best = join_members(parts["best"], names=names, members=held, first=first) if parts["best"] else {}
        _take(optimizer, model, parts["optimizer"], about["optimizer"])
        if not _random_state(found, model):
            if shard is None:
                torch.manual_seed(seed ^ _steps(position))
            else:
                shard.grid.seed_apart(seed, position.epoch, position.step_in_epoch)
        return position, best, {}


def load_run_weights(folder: Path, model: Ensemble) -> None:
    """Load a run's weights for evaluation, see `load_weights`; also if several processes wrote them.

    Raises:
        InputError: if there is no checkpoint of this model.
    """
    found = newest_checkpoint(folder)
    if found is None or found.name == CHECKPOINT.name:
        load_weights(folder / CHECKPOINT, model)
        return
    with refusing(found, "for this model", "Move the run's folder away and run it again"):
        first, held, _ = _place(model)
        about, parts = _members_of_ranks(found, range(first, first + held))
        names = list(model.state_dict())
        model.load_state_dict(join_members(parts["best"] or parts["model"], names=names, members=held, first=first))
        if "target_scale" in about:
            model.scale_targets(**about["target_scale"])


def _steps(position: Position) -> int:
    return 1 + position.epoch * 1_000_003 + position.step_in_epoch


def _put(tensors: dict[str, Tensor], model: Ensemble, optimizer: Optimizer, best: dict[str, Tensor]) -> dict[str, Any]:
    """Add the members' tensors as ``MEMBER.kind.name``; return the optimiser's state that is not in tensors."""
    first, held, _ = _place(model)

    def add(kind: str, state: dict[str, Tensor], suffix: str = "") -> None:
        for (member, name), value in split_members(state, members=held, first=first).items():
            tensors[f"{member}.{kind}.{name}{suffix}"] = value

    add("model", model.state_dict())
    add("best", best)
    names, scalars = parameter_names(model, optimizer), dict[str, Any]()
    by_key: dict[str, dict[str, Tensor]] = {}
    for index, entries in optimizer.state_dict()["state"].items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                by_key.setdefault(key, {})[names[index]] = value
            else:
                scalars[key] = value  # the same for all parameters: momentum before the first step
    for key, state in by_key.items():
        add("optimizer", state, f".{key}")
    return scalars


def _take(optimizer: Optimizer, model: Ensemble, found: MemberState, scalars: dict[str, Any]) -> None:
    first, held, _ = _place(model)
    names = parameter_names(model, optimizer)
    keys = {name.rpartition(".")[2] for _, name in found}
    state: dict[int, dict[str, Any]] = {}
    for key in keys:
        own = {(m, name.rpartition(".")[0]): v for (m, name), v in found.items() if name.rpartition(".")[2] == key}
        known = {name for _, name in own}  # a parameter without gradients, frozen or unused, has no state
        with_state = [name for name in names if own_name(name) in known]
        for name, value in join_members(own, names=with_state, members=held, first=first).items():
            state.setdefault(names.index(name), {})[key] = value
    for index in range(len(names)) if scalars else ():
        state.setdefault(index, {}).update(scalars)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _members_of_ranks(pointer: Path, wanted: Iterable[int]) -> tuple[dict[str, Any], dict[str, MemberState]]:
    """Return the wanted members' tensors by kind, from the ranks' files, and the metadata."""
    numbers, about = set(wanted), dict[str, Any]()
    parts: dict[str, MemberState] = {"model": {}, "best": {}, "optimizer": {}}
    for file in read_json(pointer)["files"]:
        about, tensors = read_checkpoint(pointer.parent / file, only=lambda name: _number(name) in numbers)
        for name, value in tensors.items():
            member, kind, own = name.split(".", 2)
            parts[kind][int(member), own] = value
    missing = numbers - {member for member, _ in parts["model"]}
    if missing:
        raise ValueError(f"it has no member {min(missing)}")
    return about, parts


def _members_of_one_file(path: Path, *, members: int) -> tuple[dict[str, Any], dict[str, MemberState]]:
    about, tensors = read_checkpoint(path)
    parts = {kind: split_members(below(f"{kind}.", tensors), members=members) for kind in ("model", "best")}
    names, by_key, optimizer = about["parameters"], dict[str, dict[str, Tensor]](), MemberState()
    for place, value in below("optimizer.", tensors).items():
        index, key = place.split(".", 1)
        by_key.setdefault(key, {})[names[int(index)]] = value
    for key, state in by_key.items():
        for (member, name), value in split_members(state, members=members).items():
            optimizer[member, f"{name}.{key}"] = value
    scalars = {key: value for entries in about["optimizer"].values() for key, value in entries.items()}
    return about | {"optimizer": scalars}, parts | {"optimizer": optimizer}


def _random_state(found: Path, model: Ensemble) -> bool:
    """Restore this rank's random state if the same grid wrote it; return whether it did."""
    if found.name == CHECKPOINT.name or model.shard is None:
        return False
    grid, whole = model.shard.grid, read_json(found)
    if (whole["member_ranks"], whole["data_ranks"]) != (grid.member_ranks, grid.data_ranks):
        return False
    file = found.parent / f"step-{whole['step']}" / _file(grid.rank, grid.size)
    _, tensors = read_checkpoint(file, only=lambda name: name.startswith("random."))
    torch.set_rng_state(tensors["random.cpu"])
    if "random.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random.cuda"])
    return True


def _place(model: Ensemble) -> tuple[int, int, int]:
    """Return the index of the first member held, the number held, and M."""
    shard = model.shard
    return (0, model.members, model.members) if shard is None else (shard.first, shard.held, shard.members)


def _number(name: str) -> int:
    head = name.partition(".")[0]
    return int(head) if head.isdecimal() else -1


def _file(rank: int, size: int) -> str:
    return f"rank-{rank}-of-{size}.safetensors"


def _remove_steps(folder: Path, *, but: str | None) -> None:
    for place in (folder / POINTER.parent).glob("step-*"):
        if place.name == but:
            with suppress(OSError):
                whole = {Path(file).name.rpartition("-of-")[2] for file in read_json(folder / POINTER)["files"]}
                for file in place.glob("rank-*"):
                    if file.name.rpartition("-of-")[2] not in whole:  # of a run over another number of ranks
                        file.unlink()
        else:
            shutil.rmtree(place, ignore_errors=True)
