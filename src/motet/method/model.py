"""The model that is wrapped: a module, or a function that makes one."""

from collections.abc import Callable

from torch import Tensor, nn

from motet._internal.copying import copy_of
from motet._internal.nested import Inputs, NestedInputs, describe
from motet._internal.wording import with_article
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.method.trainable import check_kind
from motet.surgery import Init

Model = nn.Module | Callable[[], nn.Module]


def instance_of(model: Model) -> nn.Module:
    """Return a model that a conversion may change.

    Args:
        model: what `Method.convert` is passed: a module, or a function that makes one.

    Returns:
        A deep copy of the module, or the result of the function, without a copy.

    Raises:
        InputError: if the module cannot be copied, or if the function does not return a module.
    """
    if isinstance(model, nn.Module):
        check_kind(model)
        try:
            return copy_of(model)
        except RuntimeError as error:
            raise InputError(
                "a model passed as a module must work with copy.deepcopy",
                got=f"{type(error).__name__}: {error}",
                fix="Pass a function that makes the model instead of the model",
            ) from error
    made = model()
    if not isinstance(made, nn.Module):
        raise InputError(
            "a function given as the model must return a torch.nn.Module",
            got=f"{with_article(type(made).__name__)} from {getattr(model, '__name__', model)!r}",
            fix="Return the module from the function",
        )
    check_kind(made)
    return made


def check_model(model: Model, example: Inputs, init: Init | None) -> None:
    """Check the arguments of `Method.wrap`.

    Args:
        model, example, init: see `Method.wrap`.

    Raises:
        InputError: for a model that is none, an example that is no batch, or an unknown `init`.
    """
    if init not in (None, "fresh", "keep"):
        raise InputError(
            "init must be 'fresh' or 'keep'",
            got=repr(init),
            fix="Pass init='keep' to start every member from the model's weights",
        )
    if isinstance(model, Ensemble):
        raise InputError(
            "a method wraps an ordinary model", got="an Ensemble", fix="Wrap the model from which the ensemble was made"
        )
    if not isinstance(model, nn.Module) and not callable(model):
        raise InputError(
            "the model must be a torch.nn.Module or a function that makes one",
            got=with_article(type(model).__name__),
            fix="Pass the module itself: wrap(net, example=x[:1])",
        )
    if not isinstance(example, Tensor | NestedInputs):
        raise InputError(
            "the example must be a torch.Tensor, or a tuple or dictionary of tensors",
            got=with_article(type(example).__name__),
            fix="Pass example=x[:1] as a tensor",
        )
    if (isinstance(example, Tensor) and example.ndim < 2) or len(example) == 0:
        raise InputError(
            "the example must be a batch of one row or more, with the batch axis first",
            got=describe(example),
            fix="Pass example=x[:1]",
        )
