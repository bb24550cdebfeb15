"""What `torch.distributed.device_mesh.DeviceMesh` and its surroundings have of what motet's grid does."""

import os
import signal
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from _harness import found
from _ranks import on_ranks
from torch.distributed.nn.functional import all_reduce
from torch.distributed.tensor import Shard, distribute_tensor
from torch.distributed.tensor.debug import CommDebugMode

from motet.distributed import Grid


def mesh_facts() -> dict[str, dict[str, Any]]:
    whole = on_ranks(4, on_a_mesh, seconds=90)
    facts = {name: {"holds": all(bool(whole[rank][name]["holds"]) for rank in whole), "error": what["error"]}
             for name, what in whole[0].items()}  # fmt: skip
    facts["mesh_shards_10_members_over_4_ranks"] = found(lambda: [whole[rank]["shares"]["holds"] for rank in range(4)])
    facts["mesh_public_names"] = whole[0]["public_names"]
    del facts["shares"], facts["public_names"]
    facts["grid_shares_10_members_over_4_ranks"] = found(
        lambda: [(part := share(rank)).stop - part.start for rank in range(4)]
    )
    died = on_ranks(4, after_a_death, False, seconds=90)
    facts["error_of_a_sum_over_a_mesh_after_rank_2_died"] = died[0]
    facts["monitored_barrier_after_rank_2_died"] = on_ranks(4, after_a_death, True, seconds=90).get(
        0, {"holds": False, "error": "nothing within 30 s"}
    )
    return facts


def share(rank: int) -> slice:
    grid = Grid()
    grid.rank, grid.member_ranks = rank, 4
    return grid.part_of(10)


def on_a_mesh() -> dict[str, dict[str, Any]]:
    warnings.simplefilter("ignore")
    dist.init_process_group("gloo")
    mesh = dist.init_device_mesh("cpu", (2, 2), mesh_dim_names=("members", "data"))
    grid = Grid(rank=dist.get_rank(), member_ranks=2, data_ranks=2)
    members = mesh["members"].get_group()

    def same_groups() -> bool:
        pairs = ((members, grid.members.group), (mesh["data"].get_group(), grid.data.group))
        return all(dist.get_process_group_ranks(one) == dist.get_process_group_ranks(other) for one, other in pairs)

    def counted(numbers: int) -> int:
        with CommDebugMode() as mode:
            dist.all_reduce(torch.ones(numbers), group=members)
        return int(mode.get_total_counts())

    def backward_sends_nothing() -> bool:
        x = torch.ones(3, requires_grad=True)
        total = all_reduce(x, group=members)
        with CommDebugMode() as mode:
            total.sum().backward()
        return int(mode.get_total_counts()) == 0

    def shard() -> int:
        row = dist.init_device_mesh("cpu", (4,))
        return len(distribute_tensor(torch.arange(10.0), row, [Shard(0)]).to_local())

    checks: dict[str, Callable[[], object]] = {
        "mesh_has_the_groups_of_the_grid": same_groups,
        "comm_debug_mode_counts_a_sum": lambda: counted(10) == 1,
        "comm_debug_mode_tells_10_numbers_from_1000000": lambda: counted(10) != counted(1_000_000),
        "backward_of_torch's_differentiable_sum_sends_nothing": backward_sends_nothing,
        "public_names": lambda: sorted(name for name in dir(mesh) if not name.startswith("_")),
        "shares": shard,
    }
    return {name: found(check) for name, check in checks.items()}


def after_a_death(monitored: bool) -> dict[str, Any]:
    """The error of an exchange when rank 2 has been killed."""
    warnings.simplefilter("ignore")
    dist.init_process_group("gloo", timeout=timedelta(seconds=15))
    mesh = dist.init_device_mesh("cpu", (4,), mesh_dim_names=("members",))
    dist.all_reduce(torch.ones(1), group=mesh.get_group())
    if dist.get_rank() == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if monitored:
        return found(lambda: dist.monitored_barrier(timeout=timedelta(seconds=10), wait_all_ranks=True))
    return found(lambda: dist.all_reduce(torch.ones(1), group=mesh.get_group()))
