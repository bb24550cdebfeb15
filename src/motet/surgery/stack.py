"""Combine M networks of the same kind into one network with the members in its channels."""

from collections.abc import Sequence
from contextlib import nullcontext
from itertools import product

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from motet._internal.copying import copy_of
from motet._internal.nested import Inputs, joined, tensors_of, with_tensors
from motet._internal.wording import with_article
from motet.layers import (
    ActiveMember,
    Layout,
    Stack,
    StackedBatchNorm,
    StackedConvolution,
    StackedGroupNorm,
    StackedLayer,
    StackedLayerNorm,
    StackedLinear,
    StackedPReLU,
)
from motet.surgery.adapted import PickedOutput, UnpackedInput
from motet.surgery.convertible_layers import reason_not_convertible
from motet.surgery.probe import Probe
from motet.surgery.replace import replace_module

# Exactly these types, because a subclass may use its weights differently.
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
_MIXING = (nn.Linear, *_CONVOLUTIONS)
_OTHERS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm, nn.PReLU)
# Whole channels of Dropout1d may be tokens, which the members of a stack share; the same holds for the others.
_DROPOUTS = (nn.Dropout, nn.Dropout2d, nn.AlphaDropout)
# Relative to the largest output, in double precision.
_TOLERANCE = 1e-8


class CannotStackError(Exception):
    """Raised for networks that cannot be stacked. The message says why: "has ..."."""


def stack(
    networks: Sequence[nn.Module],
    example: Inputs,
    probed: Probe,
    *,
    layout: Layout,
    at_most: int | None = None,
    always: bool = False,
) -> Stack:
    """Return one network that computes the outputs of M networks, for shared and for separate inputs.

    Layers that read the input become one layer that makes all members' channels. The layers after them work on these
    channels (grouped convolutions, batched products, norms for each member), and layers that make the output return
    rows ``(M B)``. Modules without parameters are kept. A model's code may do anything between its modules, so the
    result is compared with a loop over the networks, on copies with random weights in double precision, in evaluation
    and in training.

    Args:
        networks: M networks; not changed.
        example: an input batch.
        probed: what `motet.surgery.probe` found in the first network.
        layout: the ensemble's layout.
        at_most: raise if the largest convolution's output has more entries than this, for one row and all members.
        always: see `motet.layers.Stack`.

    Raises:
        CannotStackError: with the reason.
    """
    if example.is_meta or any(tensor.is_meta for tensor in networks[0].parameters()):
        raise CannotStackError("is on the meta device, where outputs cannot be compared")
    _check_alike(networks)
    plan = _plan(networks[0], probed)
    entries, entries_in = _largest_output(networks[0], plan, example)
    if at_most is not None and entries * len(networks) > at_most:
        raise CannotStackError("has convolutions so large that a loop is faster")
    widening = entries * len(networks) / max(1, entries_in)
    _check_no_branches(networks[0], example)
    generator = torch.Generator().manual_seed(0)
    strangers = [_with_random_weights(network, generator) for network in networks]
    _check_same(
        _stacked(strangers, plan, layout=layout, widening=widening, always=always), strangers, example, generator
    )
    return _stacked(networks, plan, layout=layout, widening=widening, always=always)


def _check_alike(networks: Sequence[nn.Module]) -> None:
    first = _structure(networks[0])
    if any(_structure(network) != first for network in networks[1:]):
        raise CannotStackError("has layers, or frozen parameters, that differ between members")


def _structure(network: nn.Module) -> list[object]:
    modules = [(name, type(module), module.extra_repr(), module.training) for name, module in network.named_modules()]
    tensors = [
        (name, tensor.shape, tensor.dtype, tensor.device, tensor.requires_grad)
        for name, tensor in (*network.named_parameters(), *network.named_buffers())
    ]
    return [*modules, *tensors]


def _plan(network: nn.Module, probed: Probe) -> dict[str, tuple[bool, bool]]:
    """Return, for each layer to stack, whether it reads the model's input and whether it makes its output."""
    plan: dict[str, tuple[bool, bool]] = {}
    owners: dict[int, str] = {}
    for name, module in network.named_modules():
        _check_module(name, module)
        if type(module) in (*_MIXING, *_OTHERS):
            plan[name] = name in probed.input_layers, name in probed.output_layers
        elif _own_tensors(module):
            raise CannotStackError(
                f"has {name!r}, {with_article(type(module).__name__)} with its own kind of weights or state"
            )
        _check_no_sharing(name, module, owners)
    for name in (*probed.input_layers, *probed.output_layers):
        if name not in plan:
            raise CannotStackError(f"has {name!r} at its input or output, which is not a Linear, Conv1d or Conv2d")
    return plan


def _check_module(name: str, module: nn.Module) -> None:
    kind = type(module)
    hooks = (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    # Those that unpack the input and pick the output work on the stacked model as on each member.
    own = all(isinstance(hook, UnpackedInput | PickedOutput) for hook in hooks)
    if not own or module._backward_hooks or module._backward_pre_hooks:
        raise CannotStackError(f"has hooks at {name!r}")
    if kind in _MIXING and reason_not_convertible(module) is not None:
        raise CannotStackError(f"has {name!r}, {with_article(kind.__name__)}{reason_not_convertible(module)}")
    if isinstance(module, _DropoutNd) and kind not in _DROPOUTS:
        raise CannotStackError(f"has {name!r}, {with_article(kind.__name__)}, which may drop values that members share")
    if isinstance(module, nn.LayerNorm) and kind is nn.LayerNorm and len(module.normalized_shape) != 1:
        raise CannotStackError(f"has {name!r}, {with_article(kind.__name__)} over several axes")


def _check_no_sharing(name: str, module: nn.Module, owners: dict[int, str]) -> None:
    """Raise for a parameter or buffer that another module holds too; `owners` are the modules' names by tensor id."""
    for tensor in _own_tensors(module):
        if owners.setdefault(id(tensor), name) != name:
            raise CannotStackError(f"shares a weight between {name!r} and {owners[id(tensor)]!r}")


def _own_tensors(module: nn.Module) -> list[Tensor]:
    """Return parameters and buffers of the module, without those of its submodules."""
    return [*module.parameters(recurse=False), *module.buffers(recurse=False)]


@torch.no_grad()
def _check_no_branches(network: nn.Module, example: Inputs) -> None:
    """Raise for a model with control flow that depends on values: stacked members would all follow one branch.

    ``torch.vmap`` raises an error if a value decides a branch. Comparing outputs cannot find this, because the members'
    values may all lead to the same branch.
    """
    for training in (False, True):
        twin = copy_of(network).train(training)
        for module in twin.modules():
            if isinstance(module, _BatchNorm) and module.momentum is None:
                module.momentum = 0.1  # a cumulative average reads its number of batches, which changes no output
        state = {name: tensor.unsqueeze(0) for name, tensor in (*twin.named_parameters(), *twin.named_buffers())}

        rows = joined([example[:1], example[:1]]).detach().clone()  # batch norm needs two rows in training

        def run(state: dict[str, Tensor], given: list[Tensor], twin: nn.Module = twin, rows: Inputs = rows) -> Tensor:
            out: Tensor = functional_call(twin, state, (with_tensors(rows, given),))
            return out

        try:
            with torch.random.fork_rng(devices=[example.device] if example.is_cuda else []):
                torch.vmap(run, randomness="different")(state, [each.unsqueeze(0) for each in tensors_of(rows)])
        except (RuntimeError, ValueError, TypeError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise CannotStackError(
                f"may have control flow that depends on values: vmap cannot run it ({reason})"
            ) from error


@torch.no_grad()
def _largest_output(network: nn.Module, plan: dict[str, tuple[bool, bool]], example: Inputs) -> tuple[int, int]:
    """Return the number of entries of a convolution's largest output for one row, and of the row."""
    twin, sizes = copy_of(network).eval(), [0]
    for name in plan:
        layer = twin.get_submodule(name)
        if isinstance(layer, _CONVOLUTIONS):
            layer.register_forward_hook(lambda _, args, output: sizes.append(output.numel()))
    rows = joined([example[:1], example[:1]]).detach().clone()  # some batch norms need two rows
    twin(rows)
    return max(sizes) // 2, sum(each.numel() for each in tensors_of(rows)) // 2


def _stacked(
    networks: Sequence[nn.Module],
    plan: dict[str, tuple[bool, bool]],
    *,
    layout: Layout,
    widening: float,
    always: bool,
) -> Stack:
    active, network = ActiveMember(), copy_of(networks[0])
    for name, (reads, writes) in plan.items():
        old = network.get_submodule(name)
        new = _layer(old, len(networks), active, layout=layout, reads=reads, writes=writes)
        new.fill([one.get_submodule(name) for one in networks])
        network = replace_module(network, old, new.train(old.training))
    return Stack(network, len(networks), active, layout=layout, widening=widening, always=always)


def _layer(
    layer: nn.Module, members: int, active: ActiveMember, *, layout: Layout, reads: bool, writes: bool
) -> StackedLayer:
    if isinstance(layer, nn.Linear):
        return StackedLinear(layer, members, active, layout=layout, reads=reads, writes=writes)
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        return StackedConvolution(layer, members, active, layout=layout, reads=reads, writes=writes)
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        return StackedBatchNorm(layer, members, active)
    if isinstance(layer, nn.GroupNorm):
        return StackedGroupNorm(layer, members, active)
    if isinstance(layer, nn.LayerNorm):
        return StackedLayerNorm(layer, members, active)
    assert isinstance(layer, nn.PReLU)
    return StackedPReLU(layer, members, active)


@torch.no_grad()
def _with_random_weights(network: nn.Module, generator: torch.Generator) -> nn.Module:
    """Return a copy in double precision with random weights: zeros, common in a branch's last norm, would hide
    differences.
    """
    twin = copy_of(network).double()
    for tensor in (*twin.parameters(), *twin.buffers()):
        if not tensor.is_floating_point():
            continue
        if tensor.ndim >= 2:
            fan_in = max(1, tensor[0].numel())
            values = torch.randn(tensor.shape, generator=generator, dtype=torch.float64, device="cpu")
            values = values * (2 / fan_in) ** 0.5
        else:  # scales, shifts, means, variances: away from zero
            values = 0.5 + torch.rand(tensor.shape, generator=generator, dtype=torch.float64, device="cpu")
        tensor.copy_(values)
    return twin


@torch.no_grad()
def _check_same(whole: Stack, networks: Sequence[nn.Module], example: Inputs, generator: torch.Generator) -> None:
    """Raise `CannotStackError` unless `whole` computes the outputs of a loop over `networks`, and leaves the
    same state.
    """

    def varied(tensor: Tensor) -> Tensor:
        shape = (len(networks), 2, *tensor.shape[1:])
        if not tensor.is_floating_point():
            return tensor[:1].expand(shape)
        noise = torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu")
        return tensor[:1].double() + noise.to(tensor.device)

    inputs = varied(example) if isinstance(example, Tensor) else example.map(varied, batch_axes=2)
    for training, distinct in product((False, True), (False, True)):
        for module in (whole, *networks):
            _set_mode(module, training=training)
        _check_same_outputs(whole, networks, inputs, distinct=distinct, training=training)
    for name, layer in whole.network.named_modules():
        if isinstance(layer, StackedLayer):
            _check_same_state(name, layer, [network.get_submodule(name) for network in networks])


def _set_mode(module: nn.Module, *, training: bool) -> None:
    """Set training or evaluation mode, with dropout always in evaluation mode."""
    module.train(training)
    for part in module.modules():
        if isinstance(part, _DropoutNd):
            part.eval()


def _check_same_outputs(
    whole: Stack, networks: Sequence[nn.Module], inputs: Inputs, *, distinct: bool, training: bool
) -> None:
    """Compare the outputs for inputs (members, rows, ...): separate inputs if `distinct`, otherwise the first
    member's.
    """
    own = [inputs[member if distinct else 0].clone() for member in range(len(networks))]
    random = torch.get_rng_state()
    try:
        expected = torch.cat([network(x) for network, x in zip(networks, own, strict=True)])
        draws = not torch.equal(torch.get_rng_state(), random)
        results = _results(whole, inputs.flatten(0, 1) if distinct else inputs[0], distinct, training)
    except Exception as error:
        raise CannotStackError(f"fails with the members in its channels ({error})") from error
    if draws:
        raise CannotStackError("draws random numbers, which its members would share")
    if any(result.shape != expected.shape or not _close(result, expected) for result in results):
        raise CannotStackError("computes something else with the members in its channels")


def _results(whole: Stack, given: Inputs, distinct: bool, training: bool) -> list[Tensor]:
    with whole.layout.distinct_rows() if distinct else nullcontext():
        together = whole.network(given.clone())
        # A second pass in training would change the state again.
        return [together] if training else [together, whole.forward_in_turn(given.clone())]


def _check_same_state(name: str, layer: StackedLayer, networks: Sequence[nn.Module]) -> None:
    states = [module.state_dict() for module in networks]
    for key, value in layer.layer.state_dict().items():
        parts = [state[key] for state in states]
        if not _close(value, torch.cat(parts) if value.ndim else parts[0]):
            raise CannotStackError(f"leaves {name!r} in another state with the members in its channels")


def _close(one: Tensor, other: Tensor) -> bool:
    one, other = one.double(), other.double()
    return bool((one - other).abs().max() <= _TOLERANCE * other.abs().max()) and bool(other.isfinite().all())
