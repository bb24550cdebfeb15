"""Read and change somebody else's model."""

from motet.surgery.ends import LayerNames, input_layers, output_layers
from motet.surgery.fresh import fresh_copy, fresh_like, fresh_stack
from motet.surgery.probe import Probe, probe
from motet.surgery.replace import replace_module

__all__ = [
    "LayerNames",
    "Probe",
    "fresh_copy",
    "fresh_like",
    "fresh_stack",
    "input_layers",
    "output_layers",
    "probe",
    "replace_module",
]
