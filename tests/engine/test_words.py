"""Sentences in code that results depend on are marked as words for people, or rewording one would run stages again."""

import ast
import re

import pytest
from wsss import methods, wrappers
from wsss.nets import segmenters
from wsss.plan.code_digest import LEFT_OUT, _source, _takes_words, closure
from wsss.recipes.config import SECTIONS
from wsss.refine import walks

SENTENCE = re.compile(r"(?<![\w-])[a-z']+ [a-z']+ [a-z']+(?![\w-])")  # three words in a row, as no key, path or pattern has them


def counted():
    """The modules that the digests of a recipe's stages are taken over."""
    parts = [methods.module_path(name) for name in methods.METHODS] + [wrappers.module_path(name) for name in wrappers.WRAPPERS]
    parts += [*walks.LEARNERS.values(), *walks.WALKERS.values(), *(segmenters.module_path(name) for name in segmenters.SEGMENTERS)]
    return sorted(closure(*(f"wsss.stages.{stage}" for stage in SECTIONS), *parts, without=LEFT_OUT))


class Sentences(ast.NodeVisitor):
    """Strings that are neither docstrings nor words for people, with their lines."""

    def __init__(self):
        self.found = []

    def visit_Raise(self, node):
        pass

    def visit_Call(self, node):
        if not _takes_words(node.func):
            self.generic_visit(node)

    def visit_Expr(self, node):
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)

    def visit_Constant(self, node):
        if isinstance(node.value, str) and SENTENCE.search(node.value):
            self.found.append((node.lineno, node.value))


def sentences(source):
    visitor = Sentences()
    visitor.visit(ast.parse(source))
    return visitor.found


# What these say goes into files, so it is a result like any other.
WRITTEN = {
    "wsss.found": "threshold.json, scores.json and miou.txt",
    "wsss.score.thresholds": "scores.json and miou.txt",
    "wsss.score.write": "miou.txt",
    "wsss.train.classifier_check": "check.json",
}
COMPARED = {"the trained classifier", "Weights only load failed"}  # texts that other code, or torch, gives and that are looked for


@pytest.mark.parametrize("module", counted())
def test_sentences_are_marked(module):
    """Give them to `for_people` where they are made, or to the error or the log directly."""
    found = [(line, text) for line, text in sentences(_source(module)) if text not in COMPARED]
    assert bool(found) == (module in WRITTEN), found


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("words = 'the file is damaged'", 1),
        ("words = f'{path}: the file is damaged'", 1),
        ("words = for_people('the file is damaged')", 0),
        ("words = for_people(f'{path}: the file is damaged')", 0),
        ("raise UserError('the file is damaged')", 0),
        ("log.info('the file is read')", 0),
        ("def read():\n    'The file is read.'", 0),
        ("path = 'results/a b/c-d.txt'", 0),
    ],
)
def test_what_a_sentence_is(source, count):
    assert len(sentences(source)) == count
