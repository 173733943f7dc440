"""Fig. 1, CIFAR-10: the authors' convolutional network, test error as the threshold.

    python experiments/cifar10.py --data DIR --store runs/cifar10                          # repeat at will
    python experiments/cifar10.py --data DIR --store runs/cifar10-.04 --first-weights 0.04 # drawn as the authors did
    python experiments/cifar10.py --data DIR --quick                                       # a narrow network, minutes

conv 5×5-64, pool, conv 5×5-64, pool, 384, 192, 10 classes; trained by cross-entropy until the test error is under the
threshold, which also binds the string. Errors are measured on 2,000 of the test images, as the paper's are "on a
restricted test set". The easiest threshold comes first, and what is known is kept after each pair.
"""

from __future__ import annotations

from harness import described, swept

import weightstring as ws
from weightstring.tasks import load_task

LEVELS = (0.5, 0.4, 0.35, 0.3)
SETTING = {"net": "cnn", "optimizer": "adam", "lr": "0.001"}
QUICK = {"net": "cnn", "width": "0.125", "train_size": "5000", "test_size": "500"}


def main() -> None:
    """Sweep thresholds of the test error."""
    parser = described(__doc__ or "", pairs=4)
    parser.add_argument(
        "--first-weights", default="0", help="their standard deviation (default: as PyTorch draws them)"
    )
    parser.add_argument("--test-size", default="2000", help="images that errors are measured on (default: %(default)s)")
    parser.add_argument("--levels", help="thresholds, joined by commas")
    given = parser.parse_args()
    own = {"first_weights": given.first_weights, "test_size": given.test_size}
    setting = QUICK if given.quick else SETTING | own
    data = {"data": str(given.data)} if given.data else {}
    problem = load_task("cifar10", {**setting, **data})
    levels = [float(level) for level in given.levels.split(",")] if given.levels else LEVELS
    levels = (0.75, 0.7) if given.quick else levels
    name = f"cifar10_{given.first_weights}_{given.test_size}"
    swept(name, problem, levels, given, {**setting, "bind": "error"}, True, bind="error", stop=ws.MaxBeads(64))


if __name__ == "__main__":
    main()
