"""Fig. 1, MNIST: the authors' convolutional network, test error as the threshold.

    python experiments/mnist.py --data DIR --store runs/mnist                            # interrupt, repeat at will
    python experiments/mnist.py --data DIR --store runs/mnist-0.1 --first-weights 0.1    # drawn as the authors did
    python experiments/mnist.py --data DIR --store runs/mnist-all --test-size 10000 --pairs 1
    python experiments/mnist.py --data DIR --quick                                       # a perceptron, minutes

conv 5×5-32, pool, conv 5×5-64, pool, 1024 units, dropout .5, 10 classes; trained by cross-entropy until the test error
is under the threshold, which also binds the string. Errors are measured on 2,000 of the test images, as the paper's are
"on a restricted test set". The easiest threshold comes first, and what is known is kept after each pair.
"""

from __future__ import annotations

from harness import described, swept

import weightstring as ws
from weightstring.tasks import load_task

LEVELS = (0.04, 0.02, 0.01, 0.008)
SETTING = {"net": "cnn", "optimizer": "adam", "lr": "0.001", "train_curves": "false"}
QUICK = {"net": "mlp", "hidden": "256-128", "train_size": "10000"}


def main() -> None:
    """Sweep thresholds of the test error."""
    parser = described(__doc__ or "", pairs=4)
    parser.add_argument(
        "--first-weights", default="0", help="their standard deviation (default: as PyTorch draws them)"
    )
    parser.add_argument("--test-size", default="2000", help="images that errors are measured on (default: %(default)s)")
    given = parser.parse_args()
    own = {"first_weights": given.first_weights, "test_size": given.test_size}
    setting = QUICK if given.quick else SETTING | own
    data = {"data": str(given.data)} if given.data else {}
    problem = load_task("mnist", {**setting, **data})
    levels = (0.08, 0.06, 0.05) if given.quick else LEVELS
    name = f"mnist_{given.first_weights}_{given.test_size}"
    swept(name, problem, levels, given, {**setting, "bind": "error"}, True, bind="error", stop=ws.MaxBeads(64))


if __name__ == "__main__":
    main()
