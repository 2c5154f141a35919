"""CAMs and masks as other people's code saves them, for a dataset of three images."""

import numpy as np
import torch
from PIL import Image
from wsss.data.manifest import load_manifest
from wsss.engine.atomic import read_json
from wsss.engine.index import read_index
from wsss.io.cams import CamFolder, read_cam
from wsss.io.grids import walk_grid

SIZES = ((33, 47), (40, 64), (21, 22))
IDS = tuple(f"p {n} ü" for n in range(3))


def smooth(size_hw, rows=1, seed=0):
    """(rows, H, W) float32 with maximum 1 and minimum 0."""
    rng = np.random.default_rng(seed)
    maps = torch.from_numpy(rng.random((1, rows, 4, 5), np.float32))
    maps = torch.nn.functional.interpolate(maps, size=size_hw, mode="bilinear")[0].numpy()
    low, high = maps.min((1, 2), keepdims=True), maps.max((1, 2), keepdims=True)
    return (maps - low) / (high - low)


def save(target, item_id, table):
    target.mkdir(parents=True, exist_ok=True)
    np.save(target / f"{item_id}.npy", np.array(table, dtype=object), allow_pickle=True)


def irn_dict(n, extra=0, tensors=True):
    """As IRN's code saves it: keys and cam are tensors, high_res an array."""
    high = smooth(SIZES[n], 1 + extra, n)
    cam = torch.nn.functional.interpolate(torch.from_numpy(high)[None], size=walk_grid(SIZES[n]), mode="area")[0]
    cam = cam / cam.amax((1, 2), keepdim=True)  # each of the two by its own maximum
    keys = torch.tensor([n % 2])
    return {"keys": keys if tensors else keys.numpy(), "cam": cam if tensors else cam.numpy(), "high_res": high}


def imported(name="mine"):
    path = f"imports/own/{name}/cam/index.json"
    return CamFolder.of(path, read_index(path, list(IDS))), read_json(path)


def stored_map(n, name="mine"):
    """The one map of an imported image, (K, h, w)."""
    (one,) = read_cam(f"imports/own/{name}/cam/{IDS[n]}.npz").maps
    return one


def records():
    return load_manifest("results/own/manifest.csv").records


def masks(target, change=lambda n, mask: mask, mode="L"):
    target.mkdir(parents=True, exist_ok=True)
    for n, item_id in enumerate(IDS):
        mask = np.zeros(SIZES[n], np.uint8)
        mask[3:9, 3:9] = n % 2 + 1 if n < 2 else 0
        mask[0] = 255
        Image.fromarray(change(n, mask)).convert(mode).save(target / f"{item_id}.png")
    return target
