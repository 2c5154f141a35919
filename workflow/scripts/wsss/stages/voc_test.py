"""Stage `voc_test`: the segmentation network over VOC's test images, and the archive that its server scores."""

from collections.abc import Iterator
from pathlib import Path

from wsss.data.voc_test import find_images, write_archive
from wsss.engine.atomic import read_json
from wsss.engine.per_image import run_images
from wsss.engine.task import Task
from wsss.score.self_report import about_masks
from wsss.sections.predictions import Predictions
from wsss.sections.section import typed
from wsss.stages.predict import Photo, photo_loader, refuse_unreadable
from wsss.stages.predictions import Predictor, crf_pool, trained_network
from wsss.train.start import start_device

UNSHRUNK = 2**31  # pixels: every image is seen as large as it is, as images of val are


def run(task: Task) -> None:
    """Write `{id}.png` of every test image as val's are made (with CRF also `{id}.nocrf.png`), and results.tar of the former."""
    settings = typed(task.settings, Predictions)
    pool = crf_pool(task, settings)  # forked before torch starts any thread of its own
    device = start_device(task)
    found = find_images(**task.params["tree"])
    photos = [Photo(image_id, f"{image_id}.jpg", Path(path), UNSHRUNK) for image_id, path in found.items()]
    classes = read_json(task.inputs["dataset"])["classes"]
    predictor = Predictor[Photo](task, settings, trained_network(task, classes, device), device, pool)
    suffixes = [".png", ".nocrf.png"] if settings.crf else [".png"]

    def work(todo: set[str]) -> Iterator[str]:
        wanted = [photo for photo in photos if photo.id in todo]
        refuse_unreadable(wanted, task.params["tree"]["folder"])
        return predictor.make(wanted, photo_loader(task, wanted, device, settings.scales), todo)

    run_images(task, list(found), suffixes, work, diagnose=about_masks(task, photos, classes))
    write_archive(task.outputs["archive"], task.folder, found)
    if pool:
        pool.shutdown()
