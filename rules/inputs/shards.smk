# What the rules read: the indexes of a stage's jobs.


@asked
def merge_inputs(w):
    return shards_of(f"results/{w.dataset}/{w.method}/{w.stage}")


@asked
def merge_saliency_inputs(w):
    return shards_of(f"results/{w.dataset}/saliency")


@asked
def merge_coco_masks_inputs(w):
    return shards_of(f"resources/{w.dataset}_masks")
