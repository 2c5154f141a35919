"""Where files lie, below the working directory."""

MODEL, INDEX = "model.safetensors", "index.json"
# Digests over masks, for what looks at them.
GROUND_TRUTH = ("masks_train", "masks_val")


def dataset_files(dataset: str) -> dict[str, str]:
    """What every stage reads: the table of images and facts, which say where files lie, and the digest that says when images are others."""
    folder = f"results/{dataset}"
    return {"manifest": f"{folder}/manifest.csv", "dataset": f"{folder}/dataset.json", "images": digest(dataset, "images")}


def digest(dataset: str, name: str) -> str:
    """A digest over one kind of the dataset's files: images, saliency, masks_train, masks_val, scored."""
    return f"results/{dataset}/{name}.json"


def weights(backbone: str) -> str:
    """ImageNet weights of a trunk."""
    return f"resources/weights/{backbone}.safetensors"


def download(archive: str) -> str:
    """The note of an unpacked archive."""
    return f"resources/{archive}/{archive}.json"


def coco_masks(dataset: str) -> str:
    """The index of the label maps painted for a COCO dataset."""
    return f"resources/{dataset}_masks/{INDEX}"


def aug_masks(dataset: str) -> str:
    """The note of a VOC dataset's augmented masks."""
    return f"resources/{dataset}_aug/aug_masks.json"


def saliency(dataset: str) -> str:
    """The index of the saliency maps that are made for a dataset."""
    return f"results/{dataset}/saliency/{INDEX}"


def import_folder(dataset: str, name: str, stage: str) -> str:
    """The import `name` of a stage."""
    return f"imports/{dataset}/{name}/{stage}"
