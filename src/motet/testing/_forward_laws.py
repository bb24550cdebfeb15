"""Laws about an ensemble's outputs."""

import copy
import pickle

import torch
from torch import nn

from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.prediction import Prediction
from motet.testing._law import (
    Subject,
    close,
    count,
    law,
    loss_from_seed,
    refused,
    require,
    require_same,
    require_state,
    state,
)
from motet.types import Batch


@law()
def forward_gives_every_member_an_output_row(subject: Subject) -> None:
    """``(B, M, C)``, finite, in the model's type, in training and in evaluation."""
    members = subject.method.members
    for training in (True, False):
        ensemble = subject.wrap().train(training)
        require(ensemble.members == members, f"{ensemble.members} members instead of {members}")
        outputs_BMC = ensemble(subject.data(6)[0])
        expected = (6, members, subject.case.classes)
        require(outputs_BMC.shape == expected, f"outputs of shape {tuple(outputs_BMC.shape)} instead of {expected}")
        require(outputs_BMC.dtype == torch.float64, f"outputs in {outputs_BMC.dtype} of a model in torch.float64")
        require(outputs_BMC.isfinite().all(), "outputs that are not finite")


@law()
def evaluation_is_deterministic_and_row_by_row(subject: Subject) -> None:
    """The same rows give the same outputs, whichever rows are in the batch with them."""
    ensemble = subject.wrap().eval()
    x, _ = subject.data()
    whole = ensemble(x)
    close(ensemble(x), whole, "the same batch a second time", rtol=0.0, atol=0.0)
    close(ensemble(x[2:3]), whole[2:3], "a row by itself and in a batch")
    close(ensemble(x.flip(0)), whole.flip(0), "the rows in another order")


@law("mlp", "conv2d", "tokens")
def members_differ(subject: Subject) -> None:
    """No two members have equal outputs: with equal weights and batches they would stay equal."""
    outputs_BMC = subject.wrap().eval()(subject.data()[0])
    members = subject.method.members
    for one in range(members):
        for other in range(one + 1, members):
            same = torch.equal(outputs_BMC[:, one], outputs_BMC[:, other])
            require(not same, f"members {one} and {other} of {members} with the same outputs")


@law()
def predict_is_a_distribution_and_leaves_no_trace(subject: Subject) -> None:
    """`predict` returns probabilities that add up to 1; it changes no modes, weights or random numbers."""
    ensemble = subject.wrap().train()
    children = [*ensemble.network.children()]
    if children:
        children[0].eval()  # the user's own mode of a module must be restored
    x, y = subject.data()
    modes, before, random = [part.training for part in ensemble.modules()], state(ensemble), torch.get_rng_state()
    prediction = ensemble.predict(x, targets=y)
    if subject.method.default_likelihood.target_kind == "class":
        _check_probabilities(prediction, subject)
    else:
        close(prediction.mean, prediction.outputs_BMC.mean(dim=1), "the members' mean", rtol=1e-7, atol=1e-7)
    require(not prediction.outputs_BMC.requires_grad, "a prediction that is connected to the graph")
    require(prediction.targets is y, "targets that are not those given")
    for batch_size in (1, 4, 100):
        in_parts = ensemble.predict(x, batch_size=batch_size)
        close(in_parts.outputs_BMC, prediction.outputs_BMC, f"predicting {batch_size} at a time")
    require_same([part.training for part in ensemble.modules()], modes, "training modes after predicting")
    require_state(ensemble, before, "predicting")
    require(torch.equal(torch.get_rng_state(), random), "predicting drew random numbers")


def _check_probabilities(prediction: Prediction, subject: Subject) -> None:
    ones = torch.ones(len(prediction.outputs_BMC), dtype=torch.float64)
    close(prediction.probs.sum(dim=-1), ones, "the sum of the probabilities", rtol=1e-7, atol=1e-7)
    own = prediction.member_probs.sum(dim=-1)
    every = ones.unsqueeze(1).expand(-1, subject.method.members)
    close(own, every, "the sum of each member's probabilities", rtol=1e-7, atol=1e-7)
    if subject.method.combination == "mixture":
        combined = prediction.member_probs.mean(dim=1)
    else:
        combined = prediction.outputs_BMC.mean(dim=1).softmax(dim=-1)
    close(prediction.probs, combined, f"the {subject.method.combination} of the members", rtol=1e-7, atol=1e-7)
    require((prediction.probs >= 0).all(), "negative probabilities")


@law()
def state_goes_from_one_ensemble_to_another(subject: Subject) -> None:
    """The ``state_dict`` determines what an ensemble predicts; an ensemble can be copied."""
    one, other = subject.wrap(), subject.wrap()
    x, _ = subject.data()
    other.load_state_dict(one.state_dict())
    for twin, what in ((other, "an ensemble with the state of another"), (copy.deepcopy(one), "a deep copy")):
        close(twin.predict(x).outputs_BMC, one.predict(x).outputs_BMC, what, rtol=0.0, atol=0.0)


@law("mlp")
def an_ensemble_survives_pickling(subject: Subject) -> None:
    """The unpickled ensemble has the same outputs and the same loss."""
    ensemble = subject.wrap()
    x, y = subject.data()
    twin = pickle.loads(pickle.dumps(ensemble))
    outputs = []
    for each in (twin, ensemble):
        torch.manual_seed(1)
        outputs.append(each(x))
    close(outputs[0], outputs[1], "outputs of the twin", rtol=0.0, atol=0.0)
    losses = [loss_from_seed(each, x, y) for each in (twin, ensemble)]
    close(losses[0], losses[1], "the loss of the twin", rtol=0.0, atol=0.0)


@law()
def members_can_be_taken_out(subject: Subject) -> None:
    """`member`, `subset` and ``predict(members=)`` give the members' outputs in the whole ensemble, or are refused."""
    ensemble = subject.wrap().eval()
    x, _ = subject.data()
    with torch.no_grad():
        whole = ensemble(x)
        chosen = list(range(ensemble.members))[::-2]
        try:
            some = ensemble.subset(chosen).eval()(x)
        except InputError:
            return
        close(some, whole[:, chosen], f"outputs of the subset {chosen}", rtol=1e-8, atol=1e-10)
        found = ensemble.predict(x, members=chosen).outputs_BMC
        close(found, whole[:, chosen], f"outputs of predict(members={chosen})", rtol=1e-8, atol=1e-10)
        for member in range(ensemble.members):
            own = ensemble.member(member).eval()(x)
            if own.ndim == whole.ndim - 1:  # members with exits have one output at each depth
                close(own, whole[:, member], f"outputs of member {member} by itself", rtol=1e-8, atol=1e-10)


@law()
def fold_equals_forward(subject: Subject) -> None:
    """`Ensemble.fold` gives another ensemble, for inference only, with the same outputs."""
    ensemble, folded, x = _folded(subject)
    before = state(ensemble)
    close(folded(x), ensemble.predict(x).outputs_BMC, "outputs of the fold", rtol=1e-5, atol=1e-6)
    close(folded.fold()(x), folded(x), "outputs of the fold's fold", rtol=1.3e-6, atol=1e-5)
    require(not folded.training, "a fold in training mode")
    require(not any(value.requires_grad for value in folded.parameters()), "a fold with trainable parameters")
    require(ensemble.training, "folding changed the ensemble's mode")
    require(all(value.requires_grad for value in ensemble.parameters()), "folding froze the ensemble")
    require_state(ensemble, before, "folding")


@law()
def a_fold_is_no_larger(subject: Subject) -> None:
    """A fold holds no more parameters than the ensemble."""
    ensemble, folded, _ = _folded(subject)
    require(count(folded) <= count(ensemble), f"{count(folded)} parameters in the fold, {count(ensemble)} before")


def _folded(subject: Subject) -> tuple[Ensemble, Ensemble, torch.Tensor]:
    ensemble = subject.wrap(torch.float32).train()
    with torch.no_grad():  # running statistics other than the initial ones
        ensemble(subject.case.inputs(16, torch.float32))
    return ensemble, ensemble.fold(), subject.case.inputs(6, torch.float32)


@law("mlp")
def a_folded_ensemble_cannot_be_trained(subject: Subject) -> None:
    """A folded ensemble refuses to compute a loss or a training batch, and its ``repr`` says that it is folded."""
    folded = subject.wrap().fold()
    x, y = subject.data()
    with refused(InputError, r"loss needs the ensemble before folding.*fold\(\)", "the loss of a fold"):
        folded.loss(x, y)
    own = Batch(inputs=x.unsqueeze(1), targets_BM=y.unsqueeze(1), distinct=True)
    with refused(InputError, "folded", "a grouped batch for a fold"):
        folded.forward_batch(own)
    require("folded" in repr(folded), f"a fold that is shown as {folded!r}")


@law(needs_one_member=True)
def one_member_is_the_single_network(subject: Subject) -> None:
    """With one member an ensemble has the model's outputs, loss and number of parameters."""
    model, (x, y) = subject.case.model().eval(), subject.data()
    ensemble = subject.method.wrap(model, example=x[:1]).eval()
    close(ensemble(x)[:, 0], model(x), "outputs", rtol=1e-12, atol=1e-12)
    close(ensemble.fold()(x)[:, 0], model(x), "outputs of the fold", rtol=1e-12, atol=1e-12)
    # Batch repetition repeats every example equally often, so the mean over rows does not change.
    likelihood = subject.method.default_likelihood
    of_classes = likelihood.target_kind == "class"
    expected = nn.functional.cross_entropy(model(x), y) if of_classes else likelihood.nll(model(x), y).mean()
    close(ensemble.loss(x, y), expected, "the loss", rtol=1e-12, atol=1e-12)
    require(count(ensemble) == count(model), f"{count(ensemble)} parameters instead of {count(model)}")


@law()
def rows_of_the_members_own_agree_with_shared_rows(subject: Subject) -> None:
    """A shared input and separate copies of it for the members give the same outputs."""
    ensemble = subject.wrap().eval()
    if not ensemble.has_distinct_inputs:
        return  # The members share one input.
    x, y = subject.data()
    tiled = Batch(
        inputs=x.unsqueeze(1).expand(-1, subject.method.members, *subject.case.shape),
        targets_BM=y.unsqueeze(1).expand(-1, subject.method.members, *y.shape[1:]),
        distinct=True,
    )
    close(ensemble.forward_batch(tiled), ensemble(x), "outputs of members with separate inputs")
    require(not ensemble.layout.distinct, "a layout that stays distinct")


@law("mlp", needs_other_outputs=True, needs_classes=True)
def one_class_is_certain(subject: Subject) -> None:
    """With one class the loss and the entropy are 0."""
    ensemble = subject.method.wrap(subject.case.make(1), example=subject.case.inputs(1, torch.float32))
    x, y = subject.case.inputs(7, torch.float32), torch.zeros(7, dtype=torch.long)
    loss = ensemble.loss(x, y).item()
    require(loss == 0, f"a loss of {loss}")
    prediction = ensemble.predict(x)
    require(torch.equal(prediction.probs, torch.ones(7, 1)), "probabilities other than 1")
    require(torch.equal(prediction.entropy, torch.zeros(7)), "an entropy other than 0")


@law("mlp")
def autocast_gives_single_precision_outputs(subject: Subject) -> None:
    """Under autocast losses and outputs are in single precision, close to those without autocast."""
    ensemble = subject.wrap(torch.float32)
    x, y = subject.data(6, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = ensemble.loss(x, y)
        torch.manual_seed(1)
        outputs_BMC = ensemble(x)
    require(loss.dtype == outputs_BMC.dtype == torch.float32, f"{loss.dtype} and {outputs_BMC.dtype}")
    loss.backward()
    # bfloat16 keeps 8 bits, over three layers.
    torch.manual_seed(1)
    close(outputs_BMC, ensemble(x), "outputs under autocast", rtol=0.05, atol=0.05)


@law("mlp")
def half_precision_outputs_become_single(subject: Subject) -> None:
    """A model in bfloat16 has outputs in single precision."""
    outputs_BMC = subject.wrap(torch.bfloat16)(subject.case.inputs(5, torch.bfloat16))
    require(outputs_BMC.dtype == torch.float32, f"outputs in {outputs_BMC.dtype}")
