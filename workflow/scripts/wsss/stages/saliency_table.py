"""Stage `saliency_table`: methods that learn from saliency maps, against where the maps come from."""

from wsss.engine.atomic import read_json, write_text
from wsss.engine.task import Task
from wsss.report.saliency_table import saliency_table


def run(task: Task) -> None:
    """Write saliency_table.md and saliency_table.tex."""
    scores = {name: {run: read_json(path) for run, path in runs.items()} for name, runs in task.params["scores"].items()}
    markdown, latex = saliency_table(task.params["sources"], scores)
    write_text(task.outputs["markdown"], markdown)
    write_text(task.outputs["latex"], latex)
    task.record.write(task.output.with_suffix(".run.json"), inputs=task.inputs)
