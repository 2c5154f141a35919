"""Stage `table`: all methods of a dataset in the shape papers print it."""

from wsss.engine.atomic import read_json, write_text
from wsss.engine.task import Task
from wsss.report.paper import table


def run(task: Task) -> None:
    """Write table.md and table.tex."""
    scores = {name: read_json(path) for name, path in task.params["scores"].items()}
    markdown, latex = table(task.params["dataset"], scores)
    write_text(task.outputs["markdown"], markdown)
    write_text(task.outputs["latex"], latex)
    task.record.write(task.output.with_suffix(".run.json"), inputs=task.inputs)  # run.json there is the dataset's
