"""motet's checkpoints of members against `torch.distributed.checkpoint` (DCP), and what a DeviceMesh has of a grid.

Each rank holds whole members, their weights and momentum. Saving keeps the last whole checkpoint until the new one is
whole, which DCP's users arrange by a folder for each step; loading fills an ensemble that has its state already. Times
are those of the slowest rank by the wall clock, in turn: they are times of the disk too.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from _checkpoint_facts import facts
from _harness import ratios_in_turn, record
from _ranks import on_ranks
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Shard

import motet
from motet.distributed import Grid, split_members, start
from motet.ensemble import Ensemble
from motet.models import wide_resnet
from motet.training.checkpoint import Position
from motet.training.member_checkpoint import restore, save_members

ROUNDS = 15
# name: (model, input shape, members)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "mlp": (lambda: nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10)), (784,), 16),
    "wrn_10_1": (lambda: wide_resnet(depth=10, width=1, num_classes=10), (3, 8, 8), 16),
}


def main() -> int:
    result: dict[str, Any] = {}
    for ranks in (2, 4):
        for name in NETWORKS:
            with tempfile.TemporaryDirectory() as place:
                found = on_ranks(ranks, compared, name, place)
            result[f"{name}_{ranks}_ranks"] = found[0]
            print(name, ranks, found[0], flush=True)
    result["facts"] = facts()
    for name, what in result["facts"].items():
        print(name, what)
    settings = {
        "rounds": ROUNDS, "threads_a_process": 1, "backend": "gloo", "baseline": "motet",
        "members": {name: members for name, (_, _, members) in NETWORKS.items()},
        "state": "weights, and momentum of SGD", "clock": "wall clock of the slowest rank",
    }  # fmt: skip
    return record("distributed_checkpoint", settings, result, bounds={})


def compared(name: str, place: str) -> dict[str, Any]:
    """Save and load: seconds, and what lies on the disk."""
    make, shape, members = NETWORKS[name]
    with start() as grid:
        torch.manual_seed(0)
        ensemble = motet.DeepEnsemble(members=members, execution="stacked").wrap(
            make, example=torch.zeros(1, *shape), grid=grid
        )
        optimizer = torch.optim.SGD(ensemble.parameters(), lr=0.1, momentum=0.9)
        ensemble.loss(torch.randn(4, *shape), torch.zeros(4, dtype=torch.int64)).backward()
        optimizer.step()
        ways: dict[str, Any] = {
            "motet": Motet(Path(place, "motet"), ensemble, optimizer),
            "dcp": Dcp(Path(place, "dcp"), ensemble, optimizer, grid),
            "dcp_safetensors": Dcp(Path(place, "safetensors"), ensemble, optimizer, grid, safetensors=True),
            "dcp_sharded": Dcp(Path(place, "sharded"), ensemble, optimizer, grid, sharded=True),
        }
        tables = {
            task: ratios_in_turn(
                {way: timed(getattr(ways[way], task), grid) for way in ways}, baseline="motet", rounds=ROUNDS
            )
            for task in ("save", "load")
        }
        grid.everyone.barrier()
        files = {way: [file for file in ways[way].folder.rglob("*") if file.is_file()] for way in ways}
        disk = {
            way: {"files": len(found), "bytes": sum(file.stat().st_size for file in found)}
            for way, found in files.items()
        }
        share = ensemble.share
        assert share is not None
        tensors = state_of(ensemble, optimizer)
        mine = torch.tensor(sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()))
        total = int(grid.everyone.sum(mine, "agreement"))
        grid.everyone.barrier()
        return {**tables, "disk": disk, "bytes_of_the_tensors": total}


def state_of(ensemble: Ensemble, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """This rank's members' tensors under names that no other rank has; views, which loading fills."""
    share = ensemble.share
    assert share is not None
    names = {parameter: name for name, parameter in ensemble.named_parameters()}
    momentum = {names[p]: state["momentum_buffer"] for p, state in optimizer.state.items()}
    return {
        # Members share a count of batches, and safetensors refuses tensors that share memory.
        f"{member}.{kind}.{name}": tensor.detach() if tensor.ndim else tensor.detach().clone()
        for kind, state in (("model", ensemble.state_dict()), ("optimizer", momentum))
        for (member, name), tensor in split_members(state, members=share.held, first=share.first).items()
    }


def sharded(ensemble: Ensemble, optimizer: torch.optim.Optimizer, mesh: Any) -> dict[str, Tensor]:
    """The stacked members of all ranks as one sharded tensor for each layer's weight: fewer, larger tensors."""
    names = {parameter: name for name, parameter in ensemble.named_parameters()}
    momentum = {names[p]: state["momentum_buffer"] for p, state in optimizer.state.items()}
    return {
        f"{kind}.{name}": DTensor.from_local(tensor.detach(), mesh, [Shard(0)]) if tensor.ndim else tensor.detach()
        for kind, state in (("model", ensemble.state_dict()), ("optimizer", momentum))
        for name, tensor in state.items()
    }


class Motet:
    def __init__(self, folder: Path, ensemble: Ensemble, optimizer: torch.optim.Optimizer) -> None:
        self.folder, self.ensemble, self.optimizer, self.step = folder, ensemble, optimizer, 0

    def save(self) -> None:
        self.step += 1
        save_members(
            self.folder, model=self.ensemble, optimizer=self.optimizer, position=Position(step_in_epoch=self.step),
            settings="these", best={}, step=self.step,
        )  # fmt: skip

    def load(self) -> None:
        assert restore(self.folder, model=self.ensemble, optimizer=self.optimizer, settings="these", seed=0) is not None


class Dcp:
    def __init__(
        self,
        folder: Path,
        ensemble: Ensemble,
        optimizer: torch.optim.Optimizer,
        grid: Grid,
        *,
        safetensors: bool = False,
        sharded: bool = False,
    ) -> None:
        self.folder, self.ensemble, self.optimizer, self.grid = folder, ensemble, optimizer, grid
        self.safetensors, self.step = safetensors, 0
        self.mesh = dist.init_device_mesh("cpu", (grid.size,), mesh_dim_names=("members",)) if sharded else None

    def state(self) -> dict[str, Tensor]:
        if self.mesh is None:
            return state_of(self.ensemble, self.optimizer)
        return sharded(self.ensemble, self.optimizer, self.mesh)

    def save(self) -> None:
        self.step += 1
        place = self.folder / f"step-{self.step}"
        writer: Any = dcp.FileSystemWriter(place)
        if self.safetensors:
            writer = dcp.HuggingFaceStorageWriter(str(place), save_distributed=True)
        dcp.save(self.state(), storage_writer=writer)
        if self.grid.is_first:
            shutil.rmtree(self.folder / f"step-{self.step - 1}", ignore_errors=True)

    def load(self) -> None:
        place = self.folder / f"step-{self.step}"
        reader: Any = dcp.FileSystemReader(place)
        if self.safetensors:
            reader = dcp.HuggingFaceStorageReader(str(place))
        dcp.load(self.state(), storage_reader=reader)


def timed(task: Callable[[], None], grid: Grid) -> Callable[[], float]:
    def once() -> float:
        grid.everyone.barrier()
        begun = time.perf_counter()
        task()
        seconds = torch.tensor(time.perf_counter() - begun, dtype=torch.float64)
        dist.all_reduce(seconds, dist.ReduceOp.MAX)
        return float(seconds)

    return once


if __name__ == "__main__":
    sys.exit(main())
