"""Distribution shifts: 19 corruptions of images, MIMMO's shifts, shifts of tables, official corrupted test sets."""

from motet.shifts._catalogue import CORRUPTIONS, SETS, corrupt, corruption, corruptions, frost_from
from motet.shifts._corruption import SEVERITIES, Constants, Corruption
from motet.shifts.draws import Draws
from motet.shifts.official import CifarC, ImageNetC, ShiftedBatch
from motet.shifts.overlap import overlapping, without_overlap
from motet.shifts.tables import TABLE_SHIFTS, shift_table

__all__ = [
    "CORRUPTIONS",
    "SETS",
    "SEVERITIES",
    "TABLE_SHIFTS",
    "CifarC",
    "Constants",
    "Corruption",
    "Draws",
    "ImageNetC",
    "ShiftedBatch",
    "corrupt",
    "corruption",
    "corruptions",
    "frost_from",
    "overlapping",
    "shift_table",
    "without_overlap",
]
