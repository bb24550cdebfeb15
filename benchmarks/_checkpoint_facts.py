"""What DCP and a DeviceMesh do for ensembles whose ranks hold whole members, each fact found by a run on gloo."""

import os
import pickle
import signal
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import safetensors.torch
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from _harness import found
from _mesh_facts import mesh_facts
from _ranks import on_ranks
from torch import Tensor, nn
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.tensor import Shard, distribute_tensor

import motet
from motet.distributed import Grid, start
from motet.training.checkpoint import Position
from motet.training.member_checkpoint import newest_checkpoint, restore, save_members

MEMBERS = 6


def facts() -> dict[str, dict[str, Any]]:
    warnings.simplefilter("ignore")
    checks: dict[str, Callable[[], object]] = {}
    for ranks in (1, 3, 4):
        checks[f"dcp_saved_by_2_ranks_loads_on_{ranks}"] = lambda ranks=ranks: reload(ranks, members)
        checks[f"motet_saved_by_2_ranks_loads_on_{ranks}"] = lambda ranks=ranks: reload(ranks, by_motet)
    checks |= {
        "dcp_one_tensor_of_all_members_sharded_by_2_ranks_loads_on_4": lambda: reload(4, sharded),
        "dcp_loads_without_a_process_group": lambda: alone(members),
        "motet_loads_without_a_process_group": lambda: alone(by_motet),
        "dcp_loads_with_pickle_forbidden": lambda: forbidding(members),
        "dcp_safetensors_loads_with_pickle_forbidden": lambda: forbidding(in_safetensors),
        "motet_loads_with_pickle_forbidden": lambda: forbidding(by_motet),
        "dcp_a_metadata_file_can_run_code_when_loaded": runs_code,
        "dcp_error_of_one_rank_is_raised_on_all": error_of_one,
        "dcp_rank_1_killed_when_it_begins_to_write_over_a_checkpoint": lambda: killed(members, same_folder=True),
        "dcp_rank_1_killed_when_it_begins_to_write_into_a_new_folder": lambda: killed(members, same_folder=False),
        "motet_rank_1_killed_when_it_begins_to_write": lambda: killed(by_motet, same_folder=True),
    }
    return {name: found(check) for name, check in checks.items()} | mesh_facts()


Way = Callable[[str, Path, int], list[float]]
"""Save or load under a path: ``("save", path, generation)``, or ``("load", path, 0)``, which returns what was there:
for each member of this rank its value, ``100 generation + member``."""


def values(generation: int) -> dict[str, Tensor]:
    rank, size = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    part = Grid(rank=0).part_of(MEMBERS) if size == 1 else slice(MEMBERS * rank // size, MEMBERS * (rank + 1) // size)
    return {f"{m}.weight": torch.full((100,), 100.0 * generation + m) for m in range(part.start, part.stop)}


def members(task: str, place: Path, generation: int) -> list[float]:
    """Whole members under their own names, by DCP."""
    state = values(generation)
    if task == "save":
        dcp.save(state, storage_writer=FileSystemWriter(place))
    else:
        dcp.load(state, storage_reader=FileSystemReader(place))
    return [float(tensor.max()) if (tensor == tensor[0]).all() else float("nan") for tensor in state.values()]


def in_safetensors(task: str, place: Path, generation: int) -> list[float]:
    """The same in safetensors files."""
    state = values(generation)
    if task == "save":
        dcp.save(state, storage_writer=dcp.HuggingFaceStorageWriter(str(place), save_distributed=True))
    else:
        dcp.load(state, storage_reader=dcp.HuggingFaceStorageReader(str(place)))
    return [float(tensor[0]) for tensor in state.values()]


def sharded(task: str, place: Path, generation: int) -> list[float]:
    """One tensor with all members along its first axis, sharded over a mesh."""
    mesh = dist.init_device_mesh("cpu", (dist.get_world_size(),), mesh_dim_names=("members",))
    whole = torch.arange(MEMBERS).float() + 100 * generation
    state = {"weight": distribute_tensor(whole, mesh, [Shard(0)])}
    if task == "save":
        dcp.save(state, storage_writer=FileSystemWriter(place))
    else:
        dcp.load(state, storage_reader=FileSystemReader(place))
    return [float(value) for value in state["weight"].to_local()]


def by_motet(task: str, place: Path, generation: int) -> list[float]:
    """motet's own."""
    grid = start() if dist.is_initialized() else None
    ensemble = motet.DeepEnsemble(members=MEMBERS, execution="loop").wrap(
        lambda: nn.Linear(4, 1, bias=False), example=torch.zeros(1, 4), grid=grid
    )
    optimizer = torch.optim.SGD(ensemble.parameters(), lr=0.1)
    if task == "save":
        with torch.no_grad():
            for parameter, value in zip(ensemble.parameters(), values(generation).values(), strict=True):
                parameter.fill_(float(value[0]))
        position = Position(step_in_epoch=generation)
        save_members(place, model=ensemble, optimizer=optimizer, position=position, settings="these", best={},
                     step=generation)  # fmt: skip
    elif restore(place, model=ensemble, optimizer=optimizer, settings="these", seed=0) is None:
        raise RuntimeError("no checkpoint there")
    return [float(parameter.max()) for parameter in ensemble.parameters()]


def run(way: Way, task: str, place: Path, generation: int, die: bool) -> dict[str, Any]:
    """A rank's part. With `die`, rank 1 is killed when it begins to write its file."""
    warnings.simplefilter("ignore")
    dist.init_process_group("gloo")

    def last_breath(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if die and dist.get_rank() == 1:
        FileSystemWriter.write_data = last_breath  # type: ignore[method-assign]
        safetensors.torch.save_file = last_breath  # type: ignore[assignment]
    return found(lambda: way(task, place, generation))


def on(ranks: int, way: Way, task: str, place: Path, generation: int = 0, *, die: bool = False) -> dict[int, Any]:
    return on_ranks(ranks, run, way, task, place, generation, die, seconds=90)


def reload(ranks: int, way: Way) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "checkpoint")
        on(2, way, "save", place, 1)
        loaded = on(ranks, way, "load", place)
        errors = [each["error"] for each in loaded.values() if each["error"]]
        if errors:
            raise RuntimeError(errors[0])
        return [v for rank in range(ranks) for v in loaded[rank]["holds"]] == [100.0 + m for m in range(MEMBERS)]


def alone(way: Way) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "checkpoint")
        on(2, way, "save", place, 1)
        return way("load", place, 0) == [100.0 + m for m in range(MEMBERS)]


def forbidding(way: Way) -> bool:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("pickle was asked to load something")

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "checkpoint")
        on(2, way, "save", place, 1)
        with mock.patch.object(pickle, "load", refuse), mock.patch.object(pickle, "loads", refuse):
            return way("load", place, 0) == [100.0 + m for m in range(MEMBERS)]


class Trap:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def runs_code() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        place, mark = Path(folder, "checkpoint"), Path(folder, "code-ran")
        on(2, members, "save", place, 1)
        (place / ".metadata").write_bytes(pickle.dumps(Trap(mark)))
        found(lambda: members("load", place, 0))
        return mark.exists()


def error_of_one() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "checkpoint")
        on(2, members, "save", place, 1)
        loaded = on_ranks(2, _asks_too_much, place, seconds=90)
        return all(each["error"] for each in loaded.values()) and len(loaded) == 2


def _asks_too_much(place: Path) -> dict[str, Any]:
    dist.init_process_group("gloo")
    state = values(0) | ({"nobody.weight": torch.zeros(3)} if dist.get_rank() == 1 else {})
    return found(lambda: dcp.load(state, storage_reader=FileSystemReader(place)))


def killed(way: Way, *, same_folder: bool) -> dict[str, Any]:
    """What is left on the disk, and what loads from it, when the second save is cut short."""
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder, "checkpoint")
        second = first if same_folder else Path(folder, "checkpoint-2")
        on(2, way, "save", first, 1)
        survivors = on(2, way, "save", second, 2, die=True)
        place = second if way is not by_motet else first
        return {
            "rank_0_got": survivors[0]["error"] if 0 in survivors else "nothing within 30 s",
            "first_loads": loaded_alone(way, first),
            "second_loads": loaded_alone(way, place) if second != first else "the same folder",
            "newest": str(newest_checkpoint(first).relative_to(first)) if way is by_motet else None,  # type: ignore[union-attr]
            "files": sorted(str(file.relative_to(folder)) for file in Path(folder).rglob("*") if file.is_file()),
        }


def loaded_alone(way: Way, place: Path) -> str:
    loaded = found(lambda: way("load", place, 0))
    if loaded["error"]:
        return str(loaded["error"])
    generations = {int(value // 100) for value in loaded["holds"]}
    return "the first" if generations == {1} else f"a mix of saves {sorted(generations)}, without an error"
