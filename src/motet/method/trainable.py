"""Check that a wrapped model can be trained, and that its members can become different."""

import torch
from torch import Tensor, nn
from torch.func import functional_call

from motet._internal.loading import describe_error
from motet._internal.nested import Inputs
from motet._internal.wording import with_article
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.types import Batch

_STEP = 0.1
"""The size of a trial step, relative to a parameter's own size."""


def check_kind(model: nn.Module) -> None:
    """Check that a model consists of ordinary modules.

    Args:
        model: the model.

    Raises:
        InputError: for scripted, traced, exported and quantised modules, which can be neither changed nor trained.
    """
    for module in model.modules():
        kind = type(module)
        if isinstance(module, torch.jit.ScriptModule):
            raise InputError(
                "the model must consist of ordinary modules, whose layers can be replaced and trained",
                got="a scripted or traced module (torch.jit)",
                fix="Pass the model as it was before torch.jit.script or torch.jit.trace; script the folded ensemble",
            )
        if ".quantized" in kind.__module__ and kind.__module__.startswith(("torch.", "torchao.")):
            raise InputError(
                "the model must have weights that can be trained",
                got=f"{with_article(kind.__name__)} of {kind.__module__}: a quantised model",
                fix="Wrap and train the model as it was before it was quantised",
            )


def check_training(ensemble: Ensemble, example: Inputs, batch: Batch, outputs: Tensor | None) -> None:
    """Run one training batch with gradients, and check that members are or become different.

    Args:
        ensemble: a copy of the ensemble, whose parameters are not changed.
        example: a batch of inputs.
        batch: a training batch.
        outputs: the outputs for `example`, in evaluation mode; None if members may be equal.

    Raises:
        InputError: if training mode fails, if no gradient reaches the parameters, or if all members are identical and
            will stay so.
    """
    trained = {name: each for name, each in ensemble.named_parameters() if each.requires_grad}
    gradients = _gradients(ensemble, batch, trained) if trained else {}
    if trained and not gradients:
        raise InputError(
            "the model's output must depend on its parameters through operations with gradients",
            got=f"{ensemble.description}, in which no parameter has a gradient",
            fix="Look for torch.no_grad, .detach(), .data, argmax or NumPy between the parameters and the output",
        )
    certain = ensemble.likelihood.target_kind == "class" and outputs is not None and outputs.shape[-1] == 1
    if outputs is None or certain or not _identical(outputs):
        return
    ensemble.eval()
    stepped = {name: _stepped(trained[name], gradient) for name, gradient in gradients.items()}
    with torch.no_grad():
        after = functional_call(ensemble, stepped, (example,)) if stepped else outputs
    if _identical(after):
        why = "frozen parameters" if not trained else "members with the same weights and the same gradients"
        raise InputError(
            "the members of an ensemble must be different, or become different when they are trained",
            got=f"{ensemble.description} with {why}",
            fix="Make the parameters trainable (requires_grad_()), pass init='fresh', pass a function that makes a new "
            "model at each call, or give the output layer random initial weights",
        )


def _gradients(ensemble: Ensemble, batch: Batch, trained: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    """Return the gradients of a training batch by the parameter's name; none if none has a gradient."""
    ensemble.train()
    try:
        outputs = ensemble.forward_batch(batch)
        if not outputs.requires_grad:
            return {}
        # Different weights for different outputs, because the sum of probabilities is constant. All members have the
        # same ones if they have the same targets.
        size = outputs.numel() if batch.distinct else outputs[:, 0].numel()
        weights = torch.arange(1, size + 1, device=outputs.device, dtype=torch.float32).sin().to(outputs.dtype)
        weighted = outputs * (
            weights.view_as(outputs) if batch.distinct else weights.view_as(outputs[:, 0]).unsqueeze(1)
        )
        found = torch.autograd.grad(weighted.sum(), list(trained.values()), allow_unused=True)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            "the model must work in training mode, and its output must have gradients",
            got=f"{describe_error(error)}",
            fix="Run model.train()(x) and .sum().backward() with a batch of two rows to see the whole error",
        ) from error
    return {name: gradient for name, gradient in zip(trained, found, strict=True) if gradient is not None}


def _stepped(parameter: Tensor, gradient: Tensor) -> Tensor:
    """Return the parameter after a step against its gradient."""
    scale = parameter.detach().abs().mean() + 1e-2
    return parameter.detach() - _STEP * scale * gradient / gradient.abs().max().clamp_min(1e-30)


def _identical(outputs: Tensor) -> bool:
    """Whether all members, of at least two, have the same finite outputs."""
    if outputs.shape[1] < 2 or not bool(outputs.isfinite().all()):
        return False
    return bool((outputs - outputs[:, :1]).abs().max() <= 1e-6 * outputs.abs().max())
