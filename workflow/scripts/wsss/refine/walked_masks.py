"""Part of stage `pseudo_masks`: masks by a random walk (IRN, AffinityNet) over what a network says of each image."""

import numpy as np
import torch

from wsss.data.manifest import Record, load_manifest
from wsss.data.stage_inputs import cam_folder
from wsss.data.transforms import normalise
from wsss.engine.recovery import after_divergence
from wsss.engine.task import Task
from wsss.engine.workers import in_processes
from wsss.errors import UserError
from wsss.found import CUT_AFTER, Cut, found_cut, is_found, settle_all
from wsss.io.cams import CamFolder
from wsss.io.images import read_image
from wsss.io.masks import write_mask
from wsss.io.models import load_model
from wsss.nets.fused import ready_to_infer
from wsss.refine import walks
from wsss.refine.walks import Work
from wsss.score.cams_to_cut import cams_to_cut, labelled_sample, required_cut, say_cut
from wsss.score.cuts import Scores
from wsss.sections.background import Background, Rule
from wsss.sections.pseudo_masks import BY_REFINE
from wsss.sections.section import plain, typed
from wsss.train.device import EXACT, note_device, pick_device

WALKED = 40  # images that are walked to find a cut, before all of them are


def by_walk(task: Task, records: tuple[Record, ...]) -> Work:
    """Prepare the walk, find its cut where the recipe asks for one, and give the function that makes masks.

    On the CPU the masks are made by one process a core; on a GPU the walk runs there.
    """
    key, bg = task.outputs["index"], typed(task.settings["bg"], Background)
    _walkers[key] = walker = Walker(task, cams_to_cut(task, records, bg))
    on_cpu = task.runtime["device"] == "cpu" or not torch.cuda.is_available()
    note_device(task, torch.device("cpu" if on_cpu else "cuda"), EXACT)
    processes = task.threads if on_cpu else 1
    is_cut_after = is_found(bg) and task.params["refine"] in CUT_AFTER
    cut = walked_cut(task, key, processes) if is_cut_after else found_cut(task.inputs)
    rules, facts = settle_all({"bg": bg}, cut)
    jobs = ((key, record, rules["bg"]) for record in records)
    return lambda todo: in_processes(walk_one, (job for job in jobs if job[1].id in todo), processes), {"scales": walker.cams.form.scales, **facts}


def walked_cut(task: Task, key: str, processes: int) -> Cut:
    """The cut of what the walk makes of a sample of all images, the same in every job of the stage.

    Raises:
        UserError: there is none to be found.
    """
    records = labelled_sample(load_manifest(task.inputs["manifest"]), WALKED)
    cam_folder(task, records)  # those of other jobs are needed too
    scores = Scores()
    for histogram in in_processes(walk_scores, ((key, record) for record in records), processes):
        scores.add_histogram(histogram)
    cut = required_cut(task, scores)
    say_cut(task, cut, scores.images)
    return cut


_walkers: dict[str, "Walker"] = {}  # filled before the pool is forked, so that each process has its copy


def walk_one(key: str, record: Record, bg: Rule) -> str:
    """Make the mask of one image with the walker of `key`; returns the id."""
    return _walkers[key](record, bg)


def walk_scores(key: str, record: Record) -> np.ndarray:
    """Histogram of the walked scores of one image, for `Scores`."""
    return _walkers[key].histogram(record)


class Walker:
    """Makes the mask of one image; the network is loaded at the first call, in the process that uses it."""

    def __init__(self, task: Task, cams: CamFolder) -> None:
        self.task, self.cams = task, cams
        self.walk_settings = plain(typed(task.settings, BY_REFINE[task.params["refine"]]))
        self.module = walks.walker_module(task.params["refine"])
        self._network: torch.nn.Module | None = None
        self._device = torch.device("cpu")

    def __call__(self, record: Record, bg: Rule) -> str:
        image = read_image(record.image)
        mask = self.module.mask(self.cams, record, image.shape[:2], self.walk_settings, bg, lambda: self.network_output(image))
        write_mask(self.task.folder / f"{record.id}.png", mask)
        return record.id

    def histogram(self, record: Record) -> np.ndarray:
        """Of the scores that the walk's background cuts."""
        image, scores = read_image(record.image), Scores()
        scores.add(self.module.scores(self.cams, record, image.shape[:2], self.walk_settings, lambda: self.network_output(image)), record.id)
        return scores.histogram

    @torch.inference_mode()
    def network_output(self, image: np.ndarray) -> torch.Tensor:
        """What the network says of (H, W, 3) uint8."""
        network = self._network or self._load()
        view = torch.from_numpy(normalise(image)).to(self._device)
        output = self.module.run_network(network, view)
        if not torch.isfinite(output).all():
            raise UserError(f"{self.task.inputs['affinity']}: its network makes no numbers of an image; {after_divergence('affinity')}")
        return output

    def _load(self) -> torch.nn.Module:
        wanted = self.task.runtime["device"]
        # One thread a process whatever --cores says, so that the result does not depend on it.
        self._device = pick_device(wanted, 1)
        network = self.module.network(self.task.params["network"], self.walk_settings)
        load_model(self.task.inputs["affinity"], network)
        self._network = ready_to_infer(network, self._device)
        return self._network
