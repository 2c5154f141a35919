"""What a resolved recipe must hold beyond its schema: keys that only some choices need, and choices that go together."""

from wsss.errors import UserError
from wsss.found import MAP, RULES, is_found, kind_fault, refuse_reversed
from wsss.methods.sources import check_sources
from wsss.nets import segmenters
from wsss.nets.catalog import TRANSFORMERS, require_stride
from wsss.recipes.net_options import aux, by_place, defaults, needs, option_names
from wsss.recipes.refinement import ELSEWHERE, check_refinement
from wsss.sections.background import Background
from wsss.sections.classifier import Classifier
from wsss.sections.evaluation import Evaluation
from wsss.sections.section import part_of, plain, typed
from wsss.sections.seeds import Seeds
from wsss.sections.training import Training

TRAININGS = ("classifier", "affinity", "segmentation")  # stages that train a network
BY_DEFAULT = {"freeze": "by default a part", "bn": "by default frozen"}  # of a net that has the option, and a plain dict of defaults


def check_recipe(recipe: dict, path: str) -> None:
    """`recipe` in full, its stages that it runs itself.

    Raises:
        UserError: with `path` and the key to mend.
    """
    for key in ("net", "backbone", "weights", "refine", "evaluation"):
        if key not in recipe:
            raise UserError(f"{path}: {key} is missing (and no recipe it extends gives it)")
    for stage in TRAININGS:
        if own(recipe, stage):
            _check_training(typed(part_of(recipe[stage], Training), Training), f"{path}: {stage}")
            is_of_images = stage == "classifier" and "wrap" not in recipe and not by_place(recipe["net"])
            _check_whole_image_changes(recipe[stage], f"{path}: {stage}", is_of_images)
    if own(recipe, "classifier"):
        classifier = typed(recipe["classifier"], Classifier)
        check_sources(recipe["net"], needs(recipe["net"]), classifier.labels_from is not None, classifier.saliency, f"{path}: classifier")
        _check_unlabelled(classifier, f"{path}: classifier")
    if own(recipe, "cam"):
        _check_aux(recipe, path)
    _check_backgrounds(recipe, path)
    if own(recipe, "seeds"):
        _check_seeds(typed(recipe["seeds"], Seeds), f"{path}: seeds")
    _check_strides(recipe, path)
    _check_trunks(recipe, path)
    check_refinement(recipe, path)
    _check_random_start(recipe, path)
    _check_wrap(recipe, path)
    if own(recipe, "predictions") and recipe["predictions"]["crf"] and "crf_params" not in recipe["predictions"]:
        raise UserError(f"{path}: predictions: crf needs crf_params; give them, or set crf: false")


def check_kinds(recipe: dict, has_map: bool | None, path: str) -> None:
    """Each background is of a kind that the CAMs have. `has_map`: whether they have a background map; None: not known.

    Raises:
        UserError: a threshold for CAMs with a background map, or a map for CAMs without one.
    """
    evaluation, section = recipe["evaluation"], recipe.get("pseudo_masks", {})
    rules = {f"{stage}.{name}": recipe[stage][name] for stage, name in RULES if name in recipe.get(stage, {})}
    rules = {"evaluation.bg": evaluation["bg"], **rules}
    if recipe["refine"] == "crf" and "bg" in section:
        rules.pop("pseudo_masks.bg")  # the masks are the confident seed
    for key, rule in rules.items():
        if has_map is not None and (fault := kind_fault(rule["kind"], has_map)):
            raise UserError(f"{path}: {key}: {fault}")
    if (evaluation["bg"]["kind"] == MAP) != (evaluation["policy"] == MAP):
        wanted = "map" if evaluation["bg"]["kind"] == MAP else "fixed, best_on_train_gt or found"
        raise UserError(f"{path}: evaluation.policy: with bg of kind {evaluation['bg']['kind']} it must be {wanted}")


def own(recipe: dict, stage: str) -> bool:
    """Whether the recipe runs the stage itself."""
    return stage in recipe and not ELSEWHERE & set(recipe[stage])


def _check_unlabelled(settings: Classifier, where: str) -> None:
    if settings.unlabelled and settings.labels_from is None:
        raise UserError(
            f"{where}: unlabelled true is for a net that learns labels of pixels (labels_from: AMN), where such an image is "
            "background; this one learns which classes an image has, and the maps of those, of which there are none; "
            "set unlabelled: false"
        )


def _check_aux(recipe: dict, path: str) -> None:
    """Rules plan what CAMs are made from by the section cam alone."""
    missing = aux(recipe["net"], recipe.get("net_options", {}))
    if missing and "aux_from" not in recipe["cam"]:
        raise UserError(f"{path}: cam: inference of net {recipe['net']} reads {', '.join(missing)} of another recipe; set `cam: {{aux_from: RECIPE}}`")


def _check_strides(recipe: dict, path: str) -> None:
    """Some trunks exist at one output stride only; a net without the option takes it as it is."""
    if own(recipe, "classifier") and "output_stride" in option_names(recipe["net"]):
        stride = recipe.get("net_options", {}).get("output_stride")
        require_stride(recipe["backbone"], stride, path, "net_options")
    if own(recipe, "segmentation"):
        section = recipe["segmentation"]
        segmenters.require_options(section.get("net", segmenters.DEFAULT), section["options"], f"{path}: segmentation")
        require_stride(section["backbone"], _segmenter_options(section)["output_stride"], path, "segmentation.options")


def _check_trunks(recipe: dict, path: str) -> None:
    """A trunk of tokens and a net of a token for each class go together, and with nothing else."""
    for stage in ("affinity", "segmentation"):
        if own(recipe, stage) and recipe[stage]["backbone"] in TRANSFORMERS:
            raise UserError(f"{path}: {stage}: backbone {recipe[stage]['backbone']} is for classifiers of class tokens (mctformer); take a resnet")
    if not own(recipe, "classifier"):
        return
    net, backbone, takes_tokens = recipe["net"], recipe["backbone"], "patch" in option_names(recipe["net"])
    if takes_tokens != (backbone in TRANSFORMERS):
        wanted = " or ".join(TRANSFORMERS) if takes_tokens else "a resnet"
        raise UserError(f"{path}: net {net} cannot be built on backbone {backbone}; set backbone: {wanted}")
    options = recipe.get("net_options", {})
    other = {k: v for k, v in TRANSFORMERS.get(backbone, {}).items() if options.get(k, v) != v}
    if other:
        sizes = ", ".join(f"{key} {value}" for key, value in other.items())
        raise UserError(f"{path}: net_options: backbone {backbone} has {sizes}; leave that out, or set backbone: vit and weights: none")


def _check_random_start(recipe: dict, path: str) -> None:
    """What never learns must come from somewhere: a random frozen trunk sees nothing."""
    if recipe["weights"] != "none":
        return
    if own(recipe, "classifier"):
        left_out = {key: BY_DEFAULT[key] for key in option_names(recipe["net"]) & set(BY_DEFAULT)}
        whole = {"freeze": "none", "bn": "train", **left_out, **defaults(recipe["net"]), **recipe.get("net_options", {})}
        _refuse_frozen(whole, ("train",), f"{path}: net_options")
    if own(recipe, "segmentation"):
        _refuse_frozen(_segmenter_options(recipe["segmentation"]), ("affine", "train"), f"{path}: segmentation.options")


def _segmenter_options(section: dict) -> dict:
    return segmenters.whole_options(section.get("net", segmenters.DEFAULT), section["options"])


def _check_wrap(recipe: dict, path: str) -> None:
    """A wrapper needs a classifier that is trained."""
    if "wrap" not in recipe:
        return
    if own(recipe, "segmentation") and recipe["segmentation"]["labels"] == "ground_truth":
        raise UserError(f"{path}: wrap: full supervision trains no classifier that could be wrapped; take wrap out, or set wrap: none")
    if "import" in recipe.get("classifier", {}) or "import" in recipe.get("cam", {}):
        stage = "classifier" if "import" in recipe.get("classifier", {}) else "cam"
        raise UserError(f"{path}: wrap: {stage} is imported, so there is no training to wrap; take wrap out, or set wrap: none")


def _refuse_frozen(options: dict, learning: tuple[str, ...], where: str) -> None:
    freeze, bn = options["freeze"], options["bn"]
    if freeze != "none" or bn not in learning:
        raise UserError(
            f"{where}: weights none is a random start, and what of it is frozen never learns (freeze: {freeze}, bn: {bn}); "
            "set freeze: none and bn: train"
        )


def _check_seeds(settings: Seeds, where: str) -> None:
    by_scores, has_prob = settings.unary == "scores", settings.crf_params.gt_prob is not None
    if by_scores and has_prob:
        raise UserError(f"{where}: unary scores takes no crf_params.gt_prob; leave it out, or set unary: labels")
    if not by_scores and not has_prob:
        raise UserError(f"{where}: unary labels needs crf_params.gt_prob (0.7 as published)")
    if settings.fill_from and settings.probabilities:
        raise UserError(f"{where}: fill_from fills up labels, of which probabilities know nothing; take one of the two out")
    if settings.fill_from is None and "fill_below" in settings.model_fields_set:
        raise UserError(f"{where}: fill_below says when fill_from is used; set fill_from too, or take it out")
    refuse_reversed(settings.confident, settings.unsure, where)


def _check_backgrounds(recipe: dict, path: str) -> None:
    for stage, name in (*RULES, ("evaluation", "bg")):
        if name in recipe.get(stage, {}):
            _check_background(typed(recipe[stage][name], Background), f"{path}: {stage}.{name}")
    published = typed(recipe["evaluation"], Evaluation).bg
    if is_found(published) or published.shift is not None:
        raise UserError(f"{path}: evaluation.bg is the published threshold, a number; to score seeds at the found one set evaluation.policy: found")


def _check_background(rule: Background, where: str) -> None:
    taken_out = [key for key in ("shift", "value") if getattr(rule, key) is not None]
    if rule.kind == MAP and taken_out:
        raise UserError(f"{where}: kind map has no threshold; take {' and '.join(taken_out)} out (scale: what the map is multiplied with)")
    if rule.kind != MAP and rule.value is None:
        raise UserError(f"{where}: kind {rule.kind} needs value, a number or found")
    if rule.kind != MAP and rule.scale is not None:
        raise UserError(f"{where}: scale goes with kind map; take it out")
    if rule.shift is not None and not is_found(rule):
        raise UserError(f"{where}: shift moves a found threshold; set value: found, or leave shift out")


def _check_training(settings: Training, where: str) -> None:
    if settings.optimiser == "sgd" and settings.momentum is None:
        raise UserError(f"{where}: optimiser sgd needs momentum (0 to 1)")
    if settings.schedule == "poly" and settings.power is None:
        raise UserError(f"{where}: schedule poly needs power (0.9 as published)")
    if settings.schedule != "poly" and settings.poly_steps:
        raise UserError(f"{where}: poly_steps goes with schedule poly; set it to null, or schedule: poly")
    if settings.steps and settings.poly_steps and settings.poly_steps > settings.steps:
        raise UserError(
            f"{where}: poly_steps ({settings.poly_steps}) is more than steps ({settings.steps}), so the rate would not fall to its end; "
            "set poly_steps: null (all steps), or at most steps"
        )
    if not settings.steps and not settings.epochs:
        raise UserError(f"{where}: give steps or epochs (a number of steps takes out the epochs of files before it)")
    _check_rate(settings, where)
    for kind, (low, high) in plain(settings.augmentation.resize).items():
        if low > high:
            raise UserError(f"{where}: augmentation.resize.{kind}: [{low}, {high}] must be [low, high]")


def _check_rate(settings: Training, where: str) -> None:
    """Warm-up, and what the cosine ends at."""
    by_epochs = None if settings.warmup_steps else settings.warmup_epochs
    if (by_epochs or settings.warmup_steps) and settings.warmup_lr is None:
        raise UserError(f"{where}: a warm-up needs warmup_lr, the rate it begins at (1.0e-6 as published)")
    if (by_epochs or settings.rate_per == "epoch") and not settings.epochs:
        raise UserError(f"{where}: warmup_epochs and rate_per: epoch count in epochs; give epochs (a number of steps takes out those of files before it), or warmup_steps and rate_per: step")
    if by_epochs and settings.epochs and by_epochs >= settings.epochs:
        raise UserError(f"{where}: warmup_epochs ({by_epochs}) must be below epochs ({settings.epochs})")
    if settings.steps and settings.warmup_steps and settings.warmup_steps >= settings.steps:
        raise UserError(f"{where}: warmup_steps ({settings.warmup_steps}) must be below steps ({settings.steps})")
    if settings.min_lr > settings.lr:
        raise UserError(f"{where}: min_lr ({settings.min_lr:g}) is above lr ({settings.lr:g})")


def _check_whole_image_changes(settings: dict, where: str, is_of_images: bool) -> None:
    """RandAugment and erasing change the image and no map beside it; is_of_images: a classifier that neither is taught nor looks cell by cell."""
    used = [key for key in ("randaugment", "erasing") if settings["augmentation"].get(key)]
    if used and (not is_of_images or settings.get("labels_from") or settings.get("saliency")):
        raise UserError(
            f"{where}: augmentation.{used[0]} moves or hides pixels of the image alone, not of the maps that are learned from here; "
            "leave it out; it is for classifiers that learn from image labels alone, without a wrapper"
        )
