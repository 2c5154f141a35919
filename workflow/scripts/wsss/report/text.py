"""What the pages say in words, and the frame around every page."""

CAPTIONS = {
    "diagnosis": "What the chain says of itself, without any ground truth: warnings, and the figures behind them. mAP is "
    "the classifier's mean average precision on images, in percent, beside what guessing would reach. Masks are good when objects are "
    "covered and nothing else is; that no warning stands here does not prove it, so look at the images.",
    "table": "Mean intersection over union in percent (mIoU), the mean over classes and background; the best of "
    "each column is bold (full supervision aside: it is the yardstick). A <em>seed</em> is the class activation map (CAM) cut at a threshold; a "
    "<em>refined seed</em> is the seed after a CRF has moved its edges; the <em>pseudo-mask</em> is "
    "what the segmentation network is trained on; <em>segmentation</em> is that network on images it "
    "has never seen. Compare methods by their seeds at the best threshold: that column uses ground "
    "truth, for all of them alike. &plusmn; is the standard deviation of a sample (n &minus; 1) over as many seeds as "
    "the column says.",
    "curves": "How good each method's seed is at every threshold, from one pass over its CAMs. A flat, high curve "
    "means that the threshold hardly matters. Dot: best value (found with ground truth); ring: the "
    "published value. A band is the mean over seeds &plusmn; one standard deviation (n &minus; 1).",
    "stability": "mIoU at the best threshold and beside it, how wide the threshold may range within one point of the "
    "best, what share of the pixels changes its label on the way (less is better), and the mIoU if each "
    "image had its own best threshold.",
    "per_class": "IoU of each class at the last stage that each method reaches. Missing classes count in no mean.",
    "training": "Loss per training step; the strong line is a running mean. Losses of different methods are "
    "different quantities: compare their course, not their height.",
    "pseudo_labels": "Of the cells of a wrapped classifier's maps those of which its teacher is confident, those where that is a class "
    "and not the background, those of the ring around these, and all that the network is taught, step by step (running mean). A "
    "table, where training images have masks, says how often these labels are right once the training is over: it uses ground truth, and nothing is trained or chosen by it.",
    "panels": "Each row is one image, from left to right along the chain. The heat map is the maximum over the "
    "classes present; label maps lie over the grey image in the palette of PASCAL VOC, hatched where "
    "the method was unsure.",
    "stages": "Every figure of this method. Precision and recall are means over the foreground classes; coverage "
    "is the share of labelled pixels that the method gave a label at all.",
}

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} {subtitle}</title>
<link rel="stylesheet" href="style.css">
</head>
<body>
<header><div><h1>{title}</h1><div class="soft">{subtitle}</div><nav>{nav}</nav></div></header>
<main>
{body}
</main>
<footer>All figures in percent unless said otherwise. The table for programs: <a href="summary.csv">summary.csv</a>,
for mails: <a href="summary.txt">summary.txt</a>.
</footer>
</body>
</html>
"""
