"""The CRF in tensors against the compiled one, on the CPU and where there is one on a GPU."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from plain_crf import scene
from wsss.errors import UserError
from wsss.refine import crf_lattice, crf_torch
from wsss.refine.crf import DEEPLAB_TEST, IRN_LABEL, label_energy
from wsss.refine.lattice import table

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize("widths", [(3.0,), (50.0, 5.0), (1.0, 0.5)])
def test_tables_are_those_of_the_compiled_code(widths):
    image = np.random.default_rng(1).integers(0, 256, (15, 17, 3), dtype=np.uint8)
    ours, wanted = crf_torch.build(torch.from_numpy(image)[None], *widths), table.build(image, *widths)
    used = len(wanted.mass) - 1
    np.testing.assert_array_equal(ours.weight.numpy(), wanted.weight)
    number = np.full(used + 1, used)  # theirs -> ours
    number[wanted.vertex.ravel()] = ours.vertex.numpy().ravel()
    np.testing.assert_array_equal(number[wanted.vertex], ours.vertex.numpy())
    assert len(set(number)) == used + 1 == ours.neighbour.shape[2] + 1
    for side in (0, 1):
        np.testing.assert_array_equal(ours.neighbour[side].numpy()[:, number[:-1]], number[wanted.neighbour[..., side]])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("params", [IRN_LABEL, DEEPLAB_TEST], ids=["irn", "deeplab"])
@pytest.mark.parametrize("problems, labels", [(2, 2), (1, 5)])
def test_marginals_of_a_batch_are_those_of_the_compiled_code(device, params, problems, labels):
    scenes = [scene(seed=seed) for seed in range(3)]
    energies = [[label_energy(np.roll(hard, 5 * i, 1), labels, 0.7) for i in range(problems)] for _, hard in scenes]
    images = torch.from_numpy(np.stack([image for image, _ in scenes]))
    found = crf_torch.marginals(images.to(device), torch.from_numpy(np.array(energies)).to(device), params).cpu().numpy()
    assert found.shape == (3, problems, labels, images[0, ..., 0].numel())
    for (image, _), given, ours in zip(scenes, energies, found, strict=True):
        np.testing.assert_allclose(ours, crf_lattice.marginals(image, given, params), atol=1e-4)


def test_no_iteration_is_the_softmax():
    image, labels = scene()
    energy = label_energy(labels, 4, 0.7)
    found = crf_torch.marginals(torch.from_numpy(image)[None], torch.from_numpy(energy)[None, None], replace(IRN_LABEL, iterations=0))
    np.testing.assert_allclose(found[0, 0].numpy(), np.exp(-energy), rtol=1e-5)


def test_keys_of_too_many_photos_are_refused():
    with pytest.raises(UserError, match="too small for 4096 photos of this size at once; take fewer"):
        crf_torch.build(torch.zeros(4096, 2, 2, 3, dtype=torch.uint8), 1.0, 0.5)
