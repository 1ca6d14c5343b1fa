"""Features that go together get one value: one-hot columns of a variable, the pixels of a region, the lags of a series."""

from __future__ import annotations

import argparse

from sklearn.datasets import load_digits
from sklearn.svm import SVC

import whybox as wb


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer training rows")
    n = 400 if parser.parse_args().quick else 1500
    x, y = load_digits(return_X_y=True)
    model = SVC(gamma=0.001).fit(x[:n], y[:n])

    # 64 pixels in 16 patches of 2 by 2; patch (r, c) holds the pixels of rows 2r and 2r + 1, columns 2c and 2c + 1.
    patches = {f"patch {r},{c}": [8 * i + j for i in (2 * r, 2 * r + 1) for j in (2 * c, 2 * c + 1)] for r in range(4) for c in range(4)}
    space = wb.spaces.Groups(wb.spaces.Marginal(x[:50]), patches)
    e = wb.KernelSHAP(model, space=space, output="decision").explain(x[-2:], target="predicted", seed=0)
    print(e[0].to_text())
    print(f"the digit is a {y[-2]}; {e.n_queries:,} rows sent to the model")


if __name__ == "__main__":
    main()
