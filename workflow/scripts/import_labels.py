"""Command, no rule: python workflow/scripts/import_labels.py cls_labels.npy labels.csv --classes voc|coco [--ids LIST]"""

import sys

from wsss.data.import_labels import main

if __name__ == "__main__":
    sys.exit(main())
