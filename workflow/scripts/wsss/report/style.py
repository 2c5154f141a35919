"""The style sheet of the report pages: one file beside them, nothing fetched from anywhere."""

CSS = """\
:root { --ink: #1f2937; --soft: #6b7280; --line: #e5e7eb; --wash: #f8fafc; --accent: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--wash); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
header { background: #fff; border-bottom: 1px solid var(--line); }
header > div, main, footer { max-width: 1180px; margin: 0 auto; padding: 1.1rem 1.25rem; }
h1 { margin: 0 0 .2rem; font-size: 1.65rem; letter-spacing: -.01em; }
h2 { margin: 0 0 .35rem; font-size: 1.15rem; }
h3 { margin: 1.2rem 0 .35rem; font-size: 1rem; }
p { margin: .35rem 0 .8rem; max-width: 75ch; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
nav { display: flex; flex-wrap: wrap; gap: .4rem; margin-top: .7rem; }
nav a { padding: .15rem .7rem; border: 1px solid var(--line); border-radius: 999px; background: var(--wash);
  font-size: .9rem; }
nav a[aria-current] { background: var(--accent); border-color: var(--accent); color: #fff; }
section { background: #fff; border: 1px solid var(--line); border-radius: 10px; padding: 1.1rem 1.25rem;
  margin: 1.1rem 0; }
.soft, figcaption, .notes { color: var(--soft); font-size: .9rem; }
.notes { margin: .8rem 0 0; padding-left: 1.3rem; }
.notes li { margin: .2rem 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .42rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { color: var(--soft); font-size: .84rem; font-weight: 600; vertical-align: bottom; }
thead th { border-bottom: 2px solid var(--line); white-space: normal; }
th:first-child, td:first-child, .text { text-align: left; }
tbody tr:hover { background: var(--wash); }
td b { color: var(--accent); }
sup { font-size: .7em; }
figure { margin: 0; }
figure img { display: block; max-width: 100%; height: auto; }
figure.plot img { margin: 0 auto; }
figure.wide { overflow-x: auto; }
figure.wide img { max-width: none; }
figcaption { margin-top: .35rem; max-width: 75ch; }
.warnings { border-left: 4px solid #B45309; padding: .1rem 0 .1rem 1.6rem; }
.warnings li { margin: .3rem 0; }
.panels { display: grid; gap: 1rem; }
.panels img { width: 100%; border: 1px solid var(--line); border-radius: 6px; background: #fff; }
.big { font-size: 2.1rem; font-weight: 650; letter-spacing: -.02em; }
footer { color: var(--soft); font-size: .85rem; }
"""
