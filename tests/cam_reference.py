"""CAMs as published, slowly: every view brought to the image's size in float32, un-mirrored, summed, normalised there."""

import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from wsss.data.transforms import normalise, resize_image
from wsss.io.cam_forms import Form
from wsss.io.cams import read_cam, write_cam
from wsss.io.images import scaled
from wsss.refine.background import to_class_ids
from wsss.refine.crf import to_labels
from wsss.refine.seeds import seed_marginals

SCALES = (1.0, 0.5, 1.5, 2.0)


def seeds_pair(image, cam, keys, t_fg, t_bg, *args, **options):
    """The confident and the unsure seed of an image, as the stage `seeds` makes them: (H, W) uint8 class ids, 0 = background."""
    passes = seed_marginals(image, cam, t_fg, t_bg, *args, **options)
    return tuple(to_class_ids(to_labels(marginals), keys) for marginals in passes)


def view_pair(image, scale):
    """The image at one scale and its mirror image, (2, 3, h, w), as the engine makes them."""
    view = torch.from_numpy(normalise(resize_image(image, scaled(image.shape[:2], scale))))
    return torch.stack([view, view.flip(-1)])


def to(size, maps, corners=False):
    return F.interpolate(maps, size, mode="bilinear", align_corners=corners)


def full_size(kind, net, view, y, size):
    """One view's maps (C or C+1, H, W) at the size of the image."""
    if kind in ("seam", "cpn"):
        refined = net.look(view, frozenset({"features"})).features["cam_rv"][:, 1:]
        return to(size, to(view.shape[-2:], refined, corners=True))[0]
    maps = net({"image": view, "y": y[None]}, frozenset({"maps"})).maps
    if kind in ("eps", "eps_base"):
        maps = maps.softmax(1)[:, 1:] if kind == "eps" else maps.relu()
    return to(size, maps)[0]


def padded_pair(net, plain, mirrored, size):
    """IRN's code adds the pair on the network's grid, then resizes to the padded size and crops."""
    maps = [net({"image": view[None]}, frozenset({"maps"})).maps.relu() for view in (plain, mirrored)]
    padded = [(side - 1) // 16 * 16 + 16 for side in size]
    return to(padded, maps[0] + maps[1].flip(-1))[0, :, : size[0], : size[1]]


@torch.no_grad()
def published(kind, net, image, y, label=None, scales=SCALES):
    """(K, H, W) float32 of one image (H, W, 3) uint8; `label`: for AMN's mask trick."""
    size, views = image.shape[:2], []
    for scale in scales:
        plain, mirrored = view_pair(image, scale)
        if kind == "cam":
            views.append(padded_pair(net, plain, mirrored, size))
            continue
        views.append(full_size(kind, net, plain[None], y, size))
        views.append(full_size(kind, net, mirrored[None], y, size).flip(-1))
    keys = y.nonzero().flatten()
    if kind == "amn":
        return masked(torch.stack(views).mean(0).softmax(0)[keys + 1].numpy(), label)
    total = torch.stack(views).sum(0)[keys].numpy()
    low, high = total.min((1, 2), keepdims=True), total.max((1, 2), keepdims=True)
    if kind in ("seam", "cpn"):
        total = total.clip(0)
        low, high = total.min((1, 2), keepdims=True), total.max((1, 2), keepdims=True)
        return (np.where(total < low + 1e-5, 0, total - low - 1e-5) / (high - low + 1e-5)).clip(0)
    return total / (high + 1e-5)


def masked(probs, label):
    low, high = probs.min((1, 2), keepdims=True), probs.max((1, 2), keepdims=True)
    stretched = (probs - low) / (high - low + 1e-5)
    return stretched if label is None else np.where(label == 0, probs, stretched)


def stored(net, image, y, label=None, scales=SCALES):
    """What the engine writes of one image: maps, one a scale, and what the form adds."""
    aux = {"ir_labels": label} if "ir_labels" in net.spec.aux else {}
    with torch.no_grad():
        maps = [net.seed_maps(view_pair(image, scale), y[None])[0] for scale in scales]
        rows, extras = net.stored(maps, y, image.shape[:2], aux)
    return [row.numpy() for row in rows], extras


def form_of(net, scales=SCALES):
    """How readers put together what this net's stage writes."""
    return Form(net.spec.form, net.spec.geometry, net.spec.norm, tuple(scales), net.spec.bg_map)


def read_back(net, image, y, label=None, target=None, scales=SCALES):
    """The CAM as readers find it, by way of a file of float16: (K, H, W) float32."""
    return both_back(net, image, y, label, target, scales)[0]


def both_back(net, image, y, label=None, target=None, scales=SCALES):
    """The same, and the background map beside it, or None."""
    maps, extras = stored(net, image, y, label, scales)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.npz")
        write_cam(path, y.nonzero().flatten().tolist(), maps, extras)
        return form_of(net, scales).read_both(read_cam(path), image.shape[:2], target or image.shape[:2])
