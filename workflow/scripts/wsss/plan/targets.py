"""What is made when a user names no file."""

from wsss.plan import saliency
from wsss.plan.data import has_ground_truth
from wsss.plan.pages import rows
from wsss.plan.paths import INDEX
from wsss.plan.plan import Plan


def final_targets(plan: Plan) -> list[str]:
    """Scores, or predictions where nothing can be scored, of every method on every dataset of config.yaml; and reports.

    Raises:
        UserError: a recipe is wrong, or learns from saliency maps that nothing gives: before anything runs.
    """
    targets = []
    for dataset in plan.main["datasets"]:
        last = "miou.txt" if has_ground_truth(plan, dataset) else f"predictions/{INDEX}"
        for row in rows(plan, dataset):
            plan.recipe(row)
            if saliency.learned_from(plan, row):
                saliency.how_made(plan, dataset)
            targets.append(f"{row.folder}/{last}")
        targets.append(f"results/{dataset}/report/index.html")
    return targets
