"""What `torch.func.stack_module_state` and `torch.vmap` do with an ensemble's networks, each fact found by a run."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from _harness import found
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

import motet
from motet.models import wide_resnet

MEMBERS = 3


class Fleet:
    """M networks as PyTorch's tutorial on model ensembling runs them: stacked weights, one network's code, vmap."""

    def __init__(self, networks: list[nn.Module], *, randomness: str = "different", meta: bool = True) -> None:
        self.parameters, self.buffers = stack_module_state(networks)
        self.code = copy.deepcopy(networks[0])
        if meta:
            self.code = self.code.to("meta")
        self.randomness = randomness

    def __call__(self, x: Tensor) -> Tensor:
        """``(B, ...)``, shared by all members; ``(M, B, C)``."""
        one = torch.vmap(self.one, in_dims=(0, 0, None), randomness=self.randomness)
        out: Tensor = one(self.parameters, self.buffers, x)
        return out

    def one(self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Tensor:
        out: Tensor = functional_call(self.code, (parameters, buffers), (x,))
        return out


def facts() -> dict[str, dict[str, Any]]:
    """Each fact: whether it holds, and the first line of the error where one stood in its way."""
    checks: dict[str, Callable[[], bool]] = {
        "starts_with_each_network's_own_weights": own_weights,
        "state_dict_names_are_those_of_one_network": names,
        "training_changes_the_networks_themselves": tied_to_the_networks,
        "batch_norm_in_training_leaves_each_member_the_statistics_of_a_loop": batch_norm,
        "batch_norm_with_statistics_that_members_share": batch_norm_with_shared_buffers,
        "dropout_with_vmap's_default_randomness": lambda: bool(dropout("error").isfinite().all()),
        "dropout_with_randomness_different_draws_a_mask_for_each_member": lambda: (
            not same_for_all(dropout("different"))
        ),
        "dropout_with_randomness_same_draws_one_mask": lambda: same_for_all(dropout("same")),
        "a_subset_by_indexing_the_stacked_tensors": subset,
        "one_member_by_load_state_dict": one_member,
        "a_frozen_layer_stays_frozen": frozen,
        "networks_of_which_some_have_a_frozen_layer": frozen_in_one,
        "one_weight_that_two_layers_share_stays_one_with_the_code_on_meta": lambda: tied(meta=True),
        "one_weight_that_two_layers_share_stays_one_with_the_code_on_cpu": lambda: tied(meta=False),
        "each_member_can_have_an_input_of_its_own": own_inputs,
        "what_a_forward_hook_keeps_is_an_ordinary_tensor_after_the_pass": kept_by_a_hook,
        "it_is_a_module_with_train_to_and_state_dict": lambda: any(
            isinstance(part, nn.Module) for part in stack_module_state(mlps())
        ),
    }
    return {name: found(check) for name, check in checks.items()}


def mlps() -> list[nn.Module]:
    return [nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)) for _ in range(MEMBERS)]


def own_weights() -> bool:
    networks = mlps()
    fleet, x = Fleet(networks), torch.randn(5, 4)
    torch.testing.assert_close(fleet(x), torch.stack([network(x) for network in networks]))
    return True


def names() -> bool:
    networks = mlps()
    parameters, buffers = stack_module_state(networks)
    return [*parameters, *buffers] == list(networks[0].state_dict())


def tied_to_the_networks() -> bool:
    networks = mlps()
    fleet = Fleet(networks)
    with torch.no_grad():
        fleet.parameters["0.weight"].add_(1.0)
    return torch.equal(fleet.parameters["0.weight"][0], networks[0].get_parameter("0.weight"))


def batch_norm() -> bool:
    networks = [wide_resnet(depth=10, width=1, num_classes=3).train() for _ in range(MEMBERS)]
    fleet, x = Fleet(networks), torch.randn(8, 3, 8, 8)
    out = fleet(x)
    torch.testing.assert_close(out, torch.stack([network(x) for network in networks]), rtol=1e-4, atol=1e-4)
    for name, stacked in fleet.buffers.items():
        alone = torch.stack([network.get_buffer(name) for network in networks])
        torch.testing.assert_close(stacked, alone, rtol=1e-4, atol=1e-4)
    return True


def batch_norm_with_shared_buffers() -> bool:
    networks = [nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8)).train() for _ in range(MEMBERS)]
    fleet = Fleet(networks)
    shared = {name: tensor[0] for name, tensor in fleet.buffers.items()}
    torch.vmap(fleet.one, in_dims=(0, None, None))(fleet.parameters, shared, torch.randn(8, 4))
    return True


def dropout(randomness: str) -> Tensor:
    network = nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5)).train()
    return Fleet([network] * MEMBERS, randomness=randomness)(torch.ones(5, 4))


def same_for_all(out_MBC: Tensor) -> bool:
    return all(torch.equal(out, out_MBC[0]) for out in out_MBC)


def subset() -> bool:
    networks = mlps()
    fleet, x = Fleet(networks), torch.randn(5, 4)
    fleet.parameters = {name: tensor[[2, 0]] for name, tensor in fleet.parameters.items()}
    torch.testing.assert_close(fleet(x), torch.stack([networks[2](x), networks[0](x)]))
    return True


def one_member() -> bool:
    networks = mlps()
    parameters, buffers = stack_module_state(networks)
    taken = mlps()[0]
    taken.load_state_dict({name: tensor[1] for name, tensor in (parameters | buffers).items()})
    x = torch.randn(5, 4)
    return torch.equal(taken(x), networks[1](x))


def frozen() -> bool:
    networks = mlps()
    for network in networks:
        network.get_parameter("0.weight").requires_grad_(False)
    return not stack_module_state(networks)[0]["0.weight"].requires_grad


def frozen_in_one() -> bool:
    networks = mlps()
    networks[1].get_parameter("0.weight").requires_grad_(False)
    stack_module_state(networks)
    return True


def tied(*, meta: bool) -> bool:
    networks = [nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)) for _ in range(MEMBERS)]
    for network in networks:
        network[2].weight = network[0].weight  # type: ignore[index, assignment]
    fleet, x = Fleet(networks, meta=meta), torch.randn(5, 4)
    fleet(x).sum().backward()
    sum(network(x).sum() for network in networks).backward()  # type: ignore[union-attr]
    alone = torch.stack([network.get_parameter("0.weight").grad for network in networks])  # type: ignore[misc]
    torch.testing.assert_close(fleet.parameters["0.weight"].grad, alone)
    return True


def own_inputs() -> bool:
    networks, x_MBF = mlps(), torch.randn(MEMBERS, 5, 4)
    fleet = Fleet(networks)
    out = torch.vmap(fleet.one, in_dims=(0, 0, 0))(fleet.parameters, fleet.buffers, x_MBF)
    torch.testing.assert_close(out, torch.stack([network(x) for network, x in zip(networks, x_MBF, strict=True)]))
    return True


def kept_by_a_hook() -> bool:
    fleet = Fleet(mlps())
    kept: list[Tensor] = []
    fleet.code.get_submodule("1").register_forward_hook(lambda _, args, output: kept.append(output))
    fleet(torch.randn(5, 4))
    return kept[0].shape[0] == MEMBERS and bool(kept[0].sum().isfinite())


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.linear(x)
        return h if h.sum() > 0 else 2 * h


class OwnWeight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.scale = nn.Parameter(torch.randn(3))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(x) * self.scale
        return out


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.encode(x.unsqueeze(1).expand(-1, 3, -1)).mean(1))
        return out


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.read, self.head = nn.LSTM(4, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.read(x.unsqueeze(1).expand(-1, 3, -1))[0][:, -1])
        return out


MODELS: dict[str, Callable[[], nn.Module]] = {
    "a parameter of the model's own": OwnWeight,
    "a transformer layer": Attention,
    "an LSTM": Recurrent,
    "a transposed convolution": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 4)), nn.ConvTranspose1d(1, 2, 3), nn.Flatten(), nn.Linear(12, 3)
    ),
    "a branch on a value": Branching,
}


def models() -> dict[str, dict[str, Any]]:
    """Which models each way runs as one: vmap in training mode, and motet's stack, which checks what it computes."""
    x = torch.randn(5, 4)

    def by_vmap(make: Callable[[], nn.Module]) -> bool:
        networks = [make().train() for _ in range(MEMBERS)]
        fleet = Fleet(networks)
        fleet(x).sum().backward()
        for values in torch.randn(20, 5, 4):
            torch.testing.assert_close(fleet(values), torch.stack([network(values) for network in networks]))
        return True

    def by_stack(make: Callable[[], nn.Module]) -> bool:
        ensemble = motet.DeepEnsemble(members=MEMBERS, execution="stacked").wrap(make(), example=x)
        networks = [ensemble.member(member) for member in range(MEMBERS)]
        for values in torch.randn(20, 5, 4):
            torch.testing.assert_close(ensemble(values), torch.stack([network(values) for network in networks], 1))
        return True

    return {
        name: {"vmap": found(lambda make=make: by_vmap(make)), "stack": found(lambda make=make: by_stack(make))}
        for name, make in MODELS.items()
    }
