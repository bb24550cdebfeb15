"""Laws about training: the loss, its gradients, the grouping, and the optimiser's parameter groups."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from motet.errors import InputError
from motet.layers import Bank, ParameterRoles
from motet.likelihoods import Gaussian
from motet.objectives import Independent
from motet.testing._law import Subject, close, law, loss_from_seed, require, unreached
from motet.types import Batch


@law()
def gradients_reach_every_parameter(subject: Subject) -> None:
    """Every parameter of the ensemble gets a finite, non-zero gradient from the loss."""
    ensemble = subject.wrap().train()
    ensemble.loss(*subject.data(16)).backward()
    require(not unreached(ensemble), f"no gradient for {unreached(ensemble)}")
    grads = [value.grad for value in ensemble.parameters() if value.grad is not None]
    require(all(bool(grad.isfinite().all()) for grad in grads), "gradients that are not finite")


@law(needs_classes=True)
def loss_equals_a_slow_loop(subject: Subject) -> None:
    """`Independent`'s loss equals the weighted NLL of every row and member, computed in pure Python."""
    reductions: tuple[Literal["sum", "mean"], ...] = ("sum", "mean")
    for reduction in reductions:
        x, y = subject.data(5)
        objective = Independent(reduction=reduction)
        ensemble = subject.method.wrap(subject.case.model(), example=x[:1], objective=objective).eval()
        loss = ensemble.loss(x, y, generator=torch.Generator().manual_seed(3)).item()
        members = ensemble.members_in_training
        batch = ensemble.grouping.deal(x, y, members=members, generator=torch.Generator().manual_seed(3))
        outputs = ensemble.forward_batch(batch).tolist()
        total = 0.0
        for row, of_row in enumerate(outputs):
            for member, logits in enumerate(of_row):
                nll = _slow_nll(logits, int(batch.targets_BM[row, member]))
                total += _weight(batch, row, member) * nll / len(outputs)
        expected = total if reduction == "sum" else total / subject.method.members_in_training
        require(math.isclose(loss, expected, rel_tol=1e-12), f"a {reduction} of {loss} instead of {expected}")


@law("mlp", needs_other_outputs=True)
def regression_loss_equals_a_slow_loop(subject: Subject) -> None:
    """The same under the Gaussian likelihood, with one target and with two."""
    for targets in (1, 2):
        model, x = subject.case.make(targets).double(), subject.case.inputs(6)
        y = torch.randn(6, targets).double()
        # Other objectives are not sums over members.
        objective = None if isinstance(subject.method.default_objective, Independent) else Independent()
        ensemble = subject.method.wrap(model, example=x[:1], likelihood=Gaussian(), objective=objective)
        members = subject.method.members_in_training
        batch = ensemble.grouping.deal(x, y, members=members, generator=torch.Generator().manual_seed(0))
        torch.manual_seed(1)
        outputs = ensemble.forward_batch(batch).detach()
        expected = 0.0
        for row in range(len(outputs)):
            for member in range(members):
                for k in range(targets):
                    error = float(outputs[row, member, k] - batch.targets_BM[row, member, k])
                    nll = error**2 / 2 + math.log(2 * math.pi) / 2
                    expected += _weight(batch, row, member) * nll / len(outputs)
        if ensemble.objective == Independent(reduction="mean"):
            expected /= subject.method.members
        loss = loss_from_seed(ensemble, x, y)
        require(math.isclose(loss.item(), expected, rel_tol=1e-12), f"{loss.item()} instead of {expected}")
        mean = ensemble.eval()(x).mean(dim=1)
        ensemble.train()
        close(ensemble.predict(x).mean, mean, "the mean of the mixture", rtol=1e-7, atol=1e-7)
        if targets == 1:
            flat = loss_from_seed(ensemble, x, y.squeeze(1))
            close(flat, loss, "targets without their last axis", rtol=0.0, atol=0.0)


def _slow_nll(logits: list[float], label: int) -> float:
    largest = max(logits)
    return largest + math.log(sum(math.exp(logit - largest) for logit in logits)) - logits[label]


def _weight(batch: Batch, row: int, member: int) -> float:
    return 1.0 if batch.weights_BM is None else float(batch.weights_BM[row, member])


@law()
def frozen_parameters_stay_frozen(subject: Subject) -> None:
    """In an ensemble of a model without trainable parameters, only parameters that the method adds are trained. It is
    refused if its members would be equal for ever.
    """
    model = subject.case.model(torch.float32)
    for value in model.parameters():
        value.requires_grad_(False)
    try:
        ensemble = subject.method.wrap(model, example=subject.case.inputs(1, torch.float32))
    except InputError as error:
        require("members of an ensemble must be different" in str(error), f"a model that is refused: {error}")
        return
    added = {id(value) for value in subject.new_parameters(ensemble)}
    trained = [name for name, value in ensemble.named_parameters() if value.requires_grad and id(value) not in added]
    require(not trained, f"trainable parameters {', '.join(trained[:5])}, which are not declared as new")
    frozen = [name for name, value in ensemble.named_parameters() if not value.requires_grad and id(value) in added]
    require(not frozen, f"new parameters that are frozen: {', '.join(frozen[:5])}")
    groups = ensemble.parameter_groups(weight_decay=1.0)
    held = {id(value) for group in groups for value in group["params"]}
    require(held == added, "parameter groups with frozen parameters, or without trainable ones")


@law("mlp")
def the_generator_alone_decides_the_grouping(subject: Subject) -> None:
    """All random numbers in the loss come from the generator that is passed."""
    ensemble = subject.wrap()
    x, y = subject.data(32)
    random = torch.get_rng_state()
    first, again, other = (
        ensemble.loss(x, y, generator=torch.Generator().manual_seed(seed)).item() for seed in (1, 1, 2)
    )
    require(first == again, f"losses {first} and {again} from the same generator")
    require(torch.equal(torch.get_rng_state(), random), "the loss drew from torch's default generator")
    # If members see separate rows, another grouping gives another loss. (If not, the loss changes only by rounding,
    # because the mean over rows is taken in another order.)
    if subject.deals is not None:
        differ = abs(first - other) > 1e-9
        require(differ == subject.deals, f"losses {first} and {other} from two generators")


@law()
def parameter_groups_hold_every_parameter_once(subject: Subject) -> None:
    """Each parameter is in one group, with weight decay unless it is a norm, a bias, or excluded by its layer."""
    for decay_norm_and_bias in (True, False):
        ensemble = subject.wrap()
        groups = ensemble.parameter_groups(weight_decay=0.1, decay_norm_and_bias=decay_norm_and_bias)
        held = [id(value) for group in groups for value in group["params"]]
        require(sorted(held) == sorted(id(value) for value in ensemble.parameters()), "parameters missing or twice")
        decays = {id(value): group["weight_decay"] for group in groups for value in group["params"]}
        for name, value in ensemble.named_parameters():
            owner, _, own_name = name.rpartition(".")
            layer = ensemble.get_submodule(owner)
            never = isinstance(layer, ParameterRoles) and own_name in layer.undecayed_parameters
            # A bank holds weights, although it is one vector.
            vector = value.ndim == 1 and not isinstance(layer, Bank)
            spared = never or (not decay_norm_and_bias and (vector or "bias" in name))
            found = decays[id(value)]
            require(found == (0.0 if spared else 0.1), f"weight decay {found} for {name}")
        torch.optim.SGD(groups, lr=0.1)


@law("mlp", needs_other_outputs=True)
def parameter_groups_hold_a_shared_parameter_once(subject: Subject) -> None:
    """A weight that two of the model's layers share is in one group only."""
    first, second, third = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 6)
    third.weight = second.weight
    model = nn.Sequential(first, second, third, nn.Linear(6, subject.case.classes))
    ensemble = subject.method.wrap(model, example=torch.zeros(1, 4))
    held = [id(value) for group in ensemble.parameter_groups(weight_decay=0.1) for value in group["params"]]
    require(sorted(held) == sorted(id(value) for value in ensemble.parameters()), "parameters missing or twice")


@law("mlp")
def steps_of_gradient_descent_lower_the_loss(subject: Subject) -> None:
    """60 steps lower the loss by a tenth."""
    ensemble = subject.wrap()
    x, y = subject.data(12)
    optimizer = torch.optim.SGD(ensemble.parameter_groups(), lr=0.3)
    losses = []
    for _ in range(60):
        loss = ensemble.loss(x, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    before, after = sum(losses[:5]) / 5, sum(losses[-5:]) / 5
    require(after < 0.9 * before, f"a loss of {before} that became {after}")


@law("mlp", "conv2d", "tokens")
def one_example_is_enough(subject: Subject) -> None:
    """A batch of one row can be used for training and prediction."""
    ensemble = subject.wrap()
    x, y = subject.data(1)
    ensemble.loss(x, y).backward()
    for shape, expected in (
        (ensemble(x).shape, (1, subject.method.members, subject.case.classes)),
        (ensemble.predict(x).mean.shape, (1, subject.case.classes)),
    ):
        require(shape == expected, f"shape {tuple(shape)} instead of {expected}")


@law("mlp")
def nan_inputs_show_in_the_loss_and_in_their_own_rows(subject: Subject) -> None:
    """A NaN makes the loss NaN, and the prediction of only its own row."""
    ensemble = subject.wrap()
    x, y = subject.data()
    if not x.is_floating_point():
        return
    x[1] = math.nan
    require(ensemble.loss(x, y).isnan(), "a loss that is a number")
    rows: Tensor = ensemble.predict(x).mean.isnan().any(dim=1)
    require(rows.tolist() == [index == 1 for index in range(len(x))], f"NaN in the rows {rows.nonzero().flatten()}")


@law("mlp", needs_classes=True)
def labels_of_any_integer_type_will_do(subject: Subject) -> None:
    """The loss is the same for labels in any integer type."""
    for dtype in (torch.uint8, torch.int16, torch.int32):
        ensemble = subject.wrap()
        x, y = subject.data()
        losses = [loss_from_seed(ensemble, x, each) for each in (y, y.to(dtype))]
        close(losses[0], losses[1], f"labels in {dtype}", rtol=0.0, atol=0.0)
