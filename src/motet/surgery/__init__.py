"""Analyse an existing model and replace its layers."""

from motet._internal.moved import moved_names
from motet.surgery.convertible_layers import ordinary_layers
from motet.surgery.cut_points import Point, after_point, check_points, cut_points, points
from motet.surgery.extract_member import SharedNetwork, member_network
from motet.surgery.features import (
    Features,
    default_exits,
    features_at,
    mixing_calls,
    modules_modified_in_place,
    unknown_axis,
)
from motet.surgery.initial_weights import (
    Init,
    fresh_copy,
    fresh_stack,
    head_stack,
    looks_trained,
    member_stack,
    permuted_init_like,
    split_kernel,
    split_table,
)
from motet.surgery.input_output_layers import LayerNames, input_layers, output_layers
from motet.surgery.probe import Probe, probe
from motet.surgery.replace import replace_module
from motet.surgery.stack import CannotStackError, stack
from motet.surgery.tiling import Tiling, find_tiling

__getattr__ = moved_names(__name__, {"fresh_like": "motet.surgery.permuted_init_like"})

__all__ = [
    "CannotStackError",
    "Features",
    "Init",
    "LayerNames",
    "Point",
    "Probe",
    "SharedNetwork",
    "Tiling",
    "after_point",
    "check_points",
    "cut_points",
    "default_exits",
    "features_at",
    "find_tiling",
    "fresh_copy",
    "fresh_stack",
    "head_stack",
    "input_layers",
    "looks_trained",
    "member_network",
    "member_stack",
    "mixing_calls",
    "modules_modified_in_place",
    "ordinary_layers",
    "output_layers",
    "permuted_init_like",
    "points",
    "probe",
    "replace_module",
    "split_kernel",
    "split_table",
    "stack",
    "unknown_axis",
]
