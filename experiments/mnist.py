"""Fig. 1, MNIST: the authors' convolutional network, test error as the threshold.

    python experiments/mnist.py --data DIR --store runs/mnist-cnn          # an hour; interrupt and repeat at will
    python experiments/mnist.py --data DIR --first-weights 0.1 --store …   # drawn larger, as was usual at that time
    python experiments/mnist.py --data DIR --quick                         # a perceptron on 10,000 images, minutes

conv 5×5-32, pool, conv 5×5-64, pool, 1024 units, dropout .5, 10 classes; trained by cross-entropy until the test error
is under the threshold, which also binds the string.
"""

from __future__ import annotations

from harness import described, swept

import weightstring as ws
from weightstring.tasks import load_task

SETTING = {"net": "cnn", "optimizer": "adam", "lr": "0.001", "train_curves": "false"}
QUICK = {"net": "mlp", "hidden": "256-128", "train_size": "10000"}


def main() -> None:
    """Sweep thresholds of the test error."""
    parser = described(__doc__ or "", pairs=1)
    parser.add_argument(
        "--first-weights", default="0", help="their standard deviation (default: as PyTorch draws them)"
    )
    given = parser.parse_args()
    setting = QUICK if given.quick else SETTING | {"first_weights": given.first_weights}
    data = {"data": str(given.data)} if given.data else {}
    problem = load_task("mnist", {**setting, **data})
    levels = (0.08, 0.06, 0.05) if given.quick else (0.02, 0.01)
    name = "mnist" if given.first_weights == "0" else f"mnist_{given.first_weights}"
    swept(name, problem, levels, given, {**setting, "bind": "error"}, bind="error", stop=ws.MaxBeads(64))


if __name__ == "__main__":
    main()
