"""The user's own model as settings."""

import inspect
from dataclasses import dataclass, replace
from typing import Any, final

from torch import nn

from motet._internal.loading import load_function
from motet._internal.wording import with_article
from motet.errors import InputError
from motet.models._base import ModelSettings, scaled_width


@final
@dataclass(frozen=True, kw_only=True)
class CustomModel(ModelSettings):
    """The user's own model.

    Attributes:
        function: ``module:function`` or ``file.py:function``. It is called with those of the keyword arguments
            ``num_classes``, ``in_channels`` and ``input_shape`` that it has (and with ``num_classes``, if it accepts
            any keyword), and returns a module.
        width: passed as ``width`` if it is not None.
    """

    function: str
    width: int | float | None = None

    def build(self, *, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """Return the result of the function; it is checked against the data when a method wraps it.

        Raises:
            InputError: if the function does not exist, requires other arguments, or does not return a module.
        """
        function = load_function(self.function)
        offered: dict[str, Any] = {
            "num_classes": outputs,
            "in_channels": input_shape[0],
            "input_shape": input_shape,
        }
        if self.width is not None:
            offered["width"] = self.width
        takes = list(_parameters(function).values())
        # Functions that pass on their keyword arguments (torchvision's, timm's) use this name for the number of
        # classes.
        more = {"num_classes"} if any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes) else set()
        wanted = more | {parameter.name for parameter in takes}
        needed = {
            parameter.name
            for parameter in takes
            if parameter.default is parameter.empty
            and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        }
        if missing := needed - offered.keys():
            raise InputError(
                f"a model function may require only {', '.join(offered)}",
                got=f"{self.function}, which also needs {', '.join(sorted(missing))}",
                fix="Give these arguments defaults",
            )
        try:
            model = function(**{key: value for key, value in offered.items() if key in wanted})
        except SystemExit as error:
            raise InputError(
                "a model function must return a torch.nn.Module",
                got=f"{self.function}, which ended the program (SystemExit: {error})",
                fix="Name a function that builds a model",
            ) from error
        if not isinstance(model, nn.Module):
            raise InputError(
                "a model function must return a torch.nn.Module",
                got=f"{with_article(type(model).__name__)} from {self.function}",
                fix="Return the module that it builds",
            )
        return model

    def scaled(self, factor: float) -> "CustomModel":
        """Return the settings with `factor` times the function's default ``width``.

        Raises:
            InputError: if the function has no argument ``width`` with a number as default.
        """
        width = self.width
        if width is None:
            parameter = _parameters(load_function(self.function)).get("width")
            default = parameter.default if parameter is not None else None
            if not isinstance(default, int | float) or isinstance(default, bool):
                raise InputError(
                    "a model function must have an argument width, with a number as default, to be made narrower "
                    "or wider",
                    got=f"{self.function}{'' if parameter is None else f' with {parameter}'}",
                    fix="Give it one: def net(num_classes, width=64)",
                )
            width = default
        return replace(self, width=scaled_width("width", width, factor) if isinstance(width, int) else width * factor)


def _parameters(function: Any) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(function).parameters)
    except ValueError:  # some functions written in C have no signature that can be read
        return {}
