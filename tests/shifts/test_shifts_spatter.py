"""Spatter's distances and light against numbers from OpenCV 4.14 (the wheel opencv-python-headless)."""

import pytest
import torch
from slow_corruptions import chamfer

from motet.shifts._edges import ONE, distance
from motet.shifts.spatter import _light

DROP = [
    [0, 0, 0, 0, 0, 0, 0, 0],
    [0, 180, 190, 0, 0, 0, 0, 0],
    [0, 200, 255, 210, 0, 0, 181, 0],
    [0, 0, 190, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 185, 0, 0],
    [179, 0, 0, 0, 183, 190, 186, 0],
]


def test_distances_are_opencvs() -> None:
    edges = torch.zeros(1, 8, 10, dtype=torch.bool)
    edges[0, 1, 2] = edges[0, 5, 9] = True
    wanted = [
        [21969, 14000, 10000, 14000, 21969, 31969, 41969, 51969, 51969, 50000],
        [20000, 10000, 0, 10000, 20000, 30000, 40000, 43938, 41969, 40000],
        [21969, 14000, 10000, 14000, 21969, 31969, 41969, 35969, 31969, 30000],
        [28000, 21969, 20000, 21969, 28000, 35969, 35969, 28000, 21969, 20000],
        [35969, 31969, 30000, 31969, 35969, 41969, 31969, 21969, 14000, 10000],
        [43938, 41969, 40000, 41969, 43938, 40000, 30000, 20000, 10000, 0],
        [53938, 51969, 50000, 51969, 51969, 41969, 31969, 21969, 14000, 10000],
        [63938, 61969, 60000, 61969, 53938, 43938, 35969, 28000, 21969, 20000],
    ]
    assert distance(edges, 20)[0].tolist() == wanted
    assert distance(edges, 3)[0].tolist() == [[min(value, 3 * ONE) for value in row] for row in wanted]


@pytest.mark.parametrize("share", [0.0, 0.003, 0.02, 0.2])
@pytest.mark.parametrize("size", [(7, 50), (40, 33)])
def test_distances_are_shortest_paths(size: tuple[int, int], share: float) -> None:
    edges = torch.rand(6, *size, generator=torch.Generator().manual_seed(0)) < share
    for found, field in zip(distance(edges, 20), edges, strict=True):
        wanted = chamfer(field.numpy()).clip(max=20 * ONE)
        assert torch.equal(found.long(), torch.from_numpy(wanted))


def test_the_light_on_a_drop_is_opencvs() -> None:
    wanted = torch.zeros(6, 8)
    wanted[3, 2], wanted[5, 0], wanted[5, 4] = 16150, 40633, 10431
    assert torch.equal(_light(torch.tensor(DROP).unsqueeze(0) / 255)[0], wanted)


def test_levels_above_255_begin_again_at_0_as_in_the_original() -> None:
    liquid = torch.tensor(DROP).unsqueeze(0) / 255
    over = liquid + 256 / 255 * (liquid == 181 / 255)
    assert torch.equal(_light(over), _light(liquid))
