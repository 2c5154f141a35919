"""The dense CRF on the same lattice as gathers and scatters of PyTorch, for photos of one size at once, on any device.

Vertices are found by sorting keys (torch.unique) and neighbours by bisection, where wsss.refine.lattice.table has a
hash table; keys, weights and mean field are the same. See there and wsss.refine.lattice.mean_field for the maths.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wsss.errors import UserError
from wsss.refine.crf import CrfParams
from wsss.refine.lattice.table import key_digits, lift_matrix, lifted


class Tables(NamedTuple):
    """Of B photos with N pixels each and M vertices in all.

    Attributes:
        vertex: (B N, d + 1) int64 in 0 .. M - 1.
        weight: (B N, d + 1) float32.
        neighbour: (2, d + 1, M) int64, M where there is none.
    """

    vertex: Tensor
    weight: Tensor
    neighbour: Tensor


def photo_marginals(image: np.ndarray, energies: Sequence[np.ndarray], params: CrfParams) -> list[np.ndarray]:
    """See `wsss.refine.crf.Backend`; one photo, on `params.device`.

    Raises:
        UserError: kernel widths too small for the image's size.
    """
    given = torch.from_numpy(np.stack(energies).astype(np.float32, copy=False))
    found = marginals(torch.from_numpy(image)[None].to(params.device), given[None].to(params.device), params)
    return list(found[0].cpu().numpy())


def marginals(images: Tensor, energies: Tensor, params: CrfParams) -> Tensor:
    """Marginals of several problems on each of several photos.

    Args:
        images: (B, H, W, 3) uint8.
        energies: (B, P, n, H W) float32, n >= 2, on the same device.

    Returns:
        (B, P, n, H W) float32 that sum to 1 over labels.

    Raises:
        UserError: kernel widths too small for so many photos of this size.
    """
    count, problems, labels, pixels = energies.shape
    bias = (energies[:, :, -1:] - energies[:, :, :-1]).permute(0, 3, 1, 2).reshape(count * pixels, problems, labels - 1)
    places, place_ones = _normalised(build(images, params.sxy_gaussian), params.compat_gaussian)
    colours, colour_ones = _normalised(build(images, params.sxy_bilateral, params.srgb), params.compat_bilateral)
    total = (place_ones + colour_ones)[..., None]
    probs = _softmax(bias)
    for _ in range(params.iterations):
        rows = probs[..., :-1].reshape(count * pixels, -1)
        messages = (_filter(places, rows) + _filter(colours, rows)).view_as(bias)
        probs = _softmax(bias + messages - (total - messages.sum(-1, keepdim=True)))
    return probs.view(count, pixels, problems, labels).permute(0, 2, 3, 1)


def build(images: Tensor, sxy: float, srgb: float | None = None) -> Tables:
    """The lattices of all photos in one; arguments as of `wsss.refine.lattice.table.build`, images (B, H, W, 3)."""
    count, height, width = images.shape[:3]
    matrix = lift_matrix(2 if srgb is None else 5)
    parts = [lifted(matrix[:, 0] / sxy, width), lifted(matrix[:, 1] / sxy, height)]
    if srgb is not None:
        parts += [lifted(column / srgb, 256) for column in matrix[:, 2:].T]
    *digits, keys_a_photo = key_digits(parts, sxy, srgb).tolist()
    if math.log2(keys_a_photo) + math.log2(count) >= 62:
        raise UserError(f"CRF: kernel widths sxy {sxy:g}, srgb {srgb or 0:g} are too small for {count} photos of this size at once; take fewer")
    point = _points(images, [torch.from_numpy(np.ascontiguousarray(part.T)).to(images.device) for part in parts])
    key, weight = _simplex(point, digits)
    photo = torch.arange(count, device=key.device).repeat_interleave(height * width)
    keys, vertex = torch.unique(key + keys_a_photo * photo[:, None], return_inverse=True)
    d1 = len(matrix)
    steps = sum(digits) - d1 * torch.tensor([*digits, 0], device=key.device)
    return Tables(vertex, weight, torch.stack([_places_of(keys, keys + sign * steps[:, None]) for sign in (1, -1)]))


def _points(images: Tensor, parts: list[Tensor]) -> Tensor:
    """(B N, d + 1) float32: features lifted into the plane, summed in the order of the compiled code."""
    along_x, along_y, *colours = parts
    point = (along_x[None] + along_y[:, None]).expand(len(images), -1, -1, -1)
    for channel, colour in enumerate(colours):
        point = point + colour[images[..., channel].long()]
    return point.reshape(-1, along_x.shape[1])


def _simplex(point: Tensor, digits: list[int]) -> tuple[Tensor, Tensor]:
    """Keys of the vertices around each point, and their barycentric weights, both (B N, d + 1)."""
    d1 = point.shape[1]
    scaled = point * np.float32(1.0 / d1).item()
    cell = torch.floor(scaled + 0.5)
    rest, cell = scaled - cell, cell.long()
    rank = cell.sum(1, keepdim=True).repeat(1, d1)
    for a in range(d1 - 1):
        is_less = (rest[:, a : a + 1] < rest[:, a + 1 :]).long()
        rank[:, a] += is_less.sum(1)
        rank[:, a + 1 :] += 1 - is_less
    step = (rank < 0).long() - (rank >= d1).long()
    rank, cell, rest = rank + step * d1, cell + step, rest - step
    ordered = torch.zeros_like(rest).scatter_(1, rank, rest)
    weight = (ordered - torch.cat([ordered[:, 1:], ordered[:, :1] - 1], 1)).flip(1)
    counts = d1 * torch.tensor([*digits, 0], device=point.device)
    change = sum(digits) - torch.zeros_like(rank).scatter_(1, rank, counts.expand_as(rank)).flip(1)
    first = (cell * counts).sum(1, keepdim=True)
    return torch.cat([first, first + change[:, :-1].cumsum(1)], 1), weight


def _places_of(keys: Tensor, wanted: Tensor) -> Tensor:
    """Where `wanted` stand in the sorted keys; their number where they do not."""
    at = torch.searchsorted(keys, wanted).clamp_(max=len(keys) - 1)
    return torch.where(keys[at] == wanted, at, len(keys))


def _normalised(tables: Tables, compat: float) -> tuple[Tables, Tensor]:
    """Weights with which splat, blur and slice are w F; and w F 1, (B N, 1)."""
    gain = 1 / (1 + 2.0 ** (1 - tables.vertex.shape[1]))
    ones = torch.ones_like(tables.weight[:, :1])
    scale = math.sqrt(gain * compat) / torch.sqrt(gain * _filter(tables, ones) + 1e-20)
    tables = tables._replace(weight=tables.weight * scale)
    return tables, _filter(tables, ones)


def _filter(tables: Tables, rows: Tensor) -> Tensor:
    """Splat, blur and slice of (B N, columns)."""
    vertex, weight, neighbour = tables
    columns, vertices = rows.shape[1], neighbour.shape[2]
    values = rows.new_zeros(vertices + 1, columns)  # the last row stays 0
    values.index_add_(0, vertex.flatten(), (weight[..., None] * rows[:, None]).view(-1, columns))
    for one, other in zip(*neighbour, strict=True):
        values[:-1] = values[:-1] + 0.5 * (values[one] + values[other])
    return (values[vertex] * weight[..., None]).sum(1)


def _softmax(rows: Tensor) -> Tensor:
    """(..., n - 1) -> (..., n): the last label counts as 0."""
    return torch.cat([rows, torch.zeros_like(rows[..., :1])], -1).softmax(-1)
