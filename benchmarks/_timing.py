"""The last line of every benchmark."""


def report_ratio(plain_s: float, ours_s: float) -> None:
    """Print `ratio: 212.4 (plain 225 s, ours 1.06 s)`; two decimals below 10."""
    ratio = plain_s / ours_s
    print(f"ratio: {ratio:.{2 if ratio < 10 else 1}f} (plain {plain_s:.3g} s, ours {ours_s:.3g} s)")
