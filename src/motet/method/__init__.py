"""What a method is: the class `Method`, and what its `convert` is passed and may use."""

from motet._internal.moved import moved_names
from motet.method.base import ConversionContext, Method
from motet.method.checks import check_class, check_members
from motet.method.model import Model, instance_of

__all__ = ["ConversionContext", "Method", "Model", "check_class", "check_members", "instance_of"]

__getattr__ = moved_names(__name__, {"Given": "motet.method.ConversionContext"})
