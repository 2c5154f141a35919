"""What a classifier learns from beside image labels: asked when a recipe is read, and once more when it is trained."""

from wsss.errors import UserError


def check_sources(net: str, needed: frozenset[str], labels: bool, saliency: bool, where: str) -> None:
    """Whether the section classifier names what the net learns from beside image labels, and nothing else: rules plan by the section alone.

    Args:
        labels: whether it names a recipe whose IR labels are learned; saliency: whether it asks for saliency maps.

    Raises:
        UserError: it does not, or names what the net does not look at.
    """
    if "ir_labels" in needed and not labels:
        raise UserError(f"{where}: net {net} learns from another recipe's IR labels; set `classifier: {{labels_from: RECIPE}}` in the recipe")
    if labels and "ir_labels" not in needed:
        raise UserError(f"{where}: net {net} learns nothing from another recipe's labels; take labels_from out of the recipe")
    if "saliency" in needed and not saliency:
        raise UserError(f"{where}: net {net} learns from saliency maps; set `classifier: {{saliency: true}}` in the recipe")
    if saliency and "saliency" not in needed:
        raise UserError(f"{where}: net {net} learns nothing from saliency maps; take `classifier: {{saliency: true}}` out of the recipe")
