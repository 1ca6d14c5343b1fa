"""Which features work together: main effects and interactions of pairs, beside the model that is known to have three of them."""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor

import whybox as wb

NAMES = ["rooms", "distance", "age", "tax", "noise", "light", "garden", "floor", "lift", "school", "park", "pool"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer training rows, fewer explained ones")
    n = 600 if parser.parse_args().quick else 4000
    rng = np.random.default_rng(0)
    x = pd.DataFrame(rng.uniform(size=(n, len(NAMES))), columns=NAMES)
    price = 2.0 * x["rooms"] * x["distance"] + x["tax"] + np.where(x["floor"] > 0.5, 1.5 * x["lift"], 0.0) - x["noise"] * x["garden"]
    model = HistGradientBoostingRegressor(random_state=0).fit(x, price)

    rows = x[:10] if n == 600 else x[:40]
    found = wb.KernelSHAP(model, background=x[-50:]).interactions(rows, budget=400, seed=0)
    print(found)
    print(found.importance().head(6).to_string(index=False))
    print()
    print(f"the first row's strongest pairs ({found.n_queries:,} rows sent to the model in all):")
    print(found[0].to_frame().head(4).to_string(index=False))


if __name__ == "__main__":
    main()
