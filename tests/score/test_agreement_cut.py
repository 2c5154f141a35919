"""How far masks agree with what their network learned, against slow counts; the cut that comes of it."""

from types import SimpleNamespace

import numpy as np
import pytest
from wsss.io.saliency import write_saliency
from wsss.score.agreement_cut import WithLabels, WithSaliency, best_cut


def test_agreement_with_labels_is_that_of_a_slow_count():
    """Mean over the classes that labels show, without the background; a class that is only predicted does not count."""
    rng = np.random.default_rng(0)
    photos = [(rng.random((2, 9, 9)).astype(np.float32), (0, k), rng.choice([0, 1, 2, 255], (9, 9))) for k in (1, 1, 2)]
    labels = {n: mask.astype(np.uint8) for n, (*_, mask) in enumerate(photos)}
    found = WithLabels(lambda record: record.id, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wsss.score.agreement_cut.read_mask", lambda n: labels[n])
        for n, (cam, keys, _) in enumerate(photos):
            found.add(cam, SimpleNamespace(id=n, labels=keys), "x")
    for cut in (0.1, 0.5, 0.9):
        hit, union = np.zeros(4), np.zeros(4)
        for cam, keys, mask in photos:
            said = np.where(cam.max(0) > cut, np.array(keys)[cam.argmax(0)] + 1, 0)
            for k in range(4):
                one, other = (said == k) & (mask != 255), mask == k
                hit[k], union[k] = hit[k] + (one & other).sum(), union[k] + (one | other).sum()
        expected = (hit[1] / union[1] + hit[2] / union[2]) / 2
        assert found.agreement()[round(100 * cut) - 1] == pytest.approx(expected)


def test_agreement_with_saliency_is_that_of_a_slow_count(tmp_path):
    """A pixel is salient above half of the median of the maps' largest values, here 80."""
    rng, records = np.random.default_rng(0), [SimpleNamespace(id=str(n)) for n in range(3)]
    cams = rng.random((3, 2, 9, 9)).astype(np.float32)
    maps = [(rng.random((9, 9)) * top).astype(np.uint8) for top in (250, 160, 20)]
    for record, values, top in zip(records, maps, (250, 160, 20), strict=True):
        values[0, 0] = top
        write_saliency(tmp_path / f"{record.id}.png", values)
    found = WithSaliency(lambda record: tmp_path / f"{record.id}.png")
    assert found.agreement() is None
    for cam, record in zip(cams, records, strict=True):
        found.add(cam, record, "x")
    for cut in (0.1, 0.5, 0.9):
        mask, salient = cams.max(1) >= cut, np.stack(maps) > 80
        assert found.agreement()[round(100 * cut) - 1] == pytest.approx((mask & salient).sum() / (mask | salient).sum())


def test_photos_with_a_blank_map_are_left_out(tmp_path):
    rng = np.random.default_rng(0)
    cam, saliency = rng.random((1, 9, 9)).astype(np.float32), (rng.random((9, 9)) * 200).astype(np.uint8)
    write_saliency(tmp_path / "0.png", saliency)
    write_saliency(tmp_path / "1.png", np.zeros_like(saliency))
    found = [WithSaliency(lambda record: tmp_path / f"{record.id}.png") for _ in range(2)]
    for which, ids in zip(found, ("0", "0111"), strict=True):
        for item in ids:
            which.add(cam, SimpleNamespace(id=item), "x")
    assert (found[0].agreement() == found[1].agreement()).all()


def test_of_equal_agreement_the_nearest_counts_and_an_end_says_nothing():
    agreement = np.zeros(99)
    agreement[[19, 39, 69]] = 0.7
    assert [best_cut(agreement, start) for start in (0.1, 0.35, 0.9)] == pytest.approx([0.2, 0.4, 0.7])
    assert best_cut(None, 0.5) is None
    for end in (0, 98):
        assert best_cut(np.eye(99)[end], 0.5) is None
