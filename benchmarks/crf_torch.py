"""The dense CRF in tensors against the compiled one: photos of one size, two problems of two labels each.

    python benchmarks/crf_torch.py [--photos 2] [--height 188] [--width 250]

Photos of $WSSS_TEST_DATA/voc_mini, resized to one size. Uses the GPU where there is one, else one core (processor seconds).
Plain: compiled, photo by photo on one core; ours: tensors, all photos at once.
"""

import argparse
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "workflow" / "scripts")]
from _timing import report_ratio  # noqa: E402
from ir_labels import load  # noqa: E402
from wsss.refine import crf_lattice, crf_torch  # noqa: E402
from wsss.refine.crf import IRN_LABEL, label_energy, prepare  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=2)
    parser.add_argument("--height", type=int, default=188)
    parser.add_argument("--width", type=int, default=250)
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    size = (args.width, args.height)
    samples = load(args.photos, 1)
    images = np.stack([cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image, _, _ in samples])
    maps = [cv2.resize(cam[0], size) for _, cam, _ in samples]
    energies = [[label_energy((one > cut).astype(int), 2, 0.7) for cut in (0.3, 0.05)] for one in maps]
    prepare(IRN_LABEL)

    start = time.process_time()
    wanted = np.array([crf_lattice.marginals(image, given, IRN_LABEL) for image, given in zip(images, energies, strict=True)])
    plain_s = time.process_time() - start
    inputs = torch.from_numpy(images).to(device), torch.from_numpy(np.array(energies)).to(device)
    seconds = []
    for _ in range(2):  # the first one warms up
        start = clock()
        found = crf_torch.marginals(*inputs, IRN_LABEL).cpu().numpy()
        seconds.append(clock() - start)
    same = 100 * (found.argmax(2) == wanted.argmax(2)).mean()
    print(f"{len(images)} photos of {args.height}x{args.width} on {device}: {same:.4f} % of labels the same, probabilities differ by {abs(found - wanted).max():.1e} at most")
    report_ratio(plain_s, min(seconds))


if __name__ == "__main__":
    main()
