import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, SubsetRandomSampler, TensorDataset

from weightstring.errors import InvalidData
from weightstring.problem.datasets.data import Examples
from weightstring.problem.datasets.sources import read
from weightstring.problem.quantities import by_prefix

CPU = torch.device("cpu")

INPUTS = torch.arange(14, dtype=torch.float32).view(7, 2) - 3
TARGETS = torch.tensor([0, 2, 1, 1, 0, 2, 1])


def get(source, dtype=torch.float32):
    return read(source, "train", dtype, CPU)


class Streamed(IterableDataset):
    def __iter__(self):
        return iter(zip(INPUTS, TARGETS, strict=True))


def equal(one: Examples, other: Examples) -> bool:
    return one.digest() == other.digest()


@pytest.mark.parametrize(
    "source",
    [
        [INPUTS, TARGETS],
        (INPUTS.numpy(), TARGETS.numpy()),
        TensorDataset(INPUTS, TARGETS),
        DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=3),
        DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=3, shuffle=True, drop_last=True),
        DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=3, drop_last=True),
        DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=3, sampler=range(7), drop_last=True),
        DataLoader(Streamed(), batch_size=3, drop_last=True),
        [(INPUTS[:4], TARGETS[:4]), (INPUTS[4:], TARGETS[4:])],
    ],
    ids=["list", "arrays", "dataset", "loader", "shuffled", "sequential", "sampled", "streamed", "batches"],
)
def test_every_form_of_a_data_set_reads_alike(source):
    assert equal(get(source), get((INPUTS, TARGETS)))


def test_a_shuffling_loader_keeps_its_collate_fn():
    def collate(samples):
        inputs, targets = zip(*samples, strict=True)
        return {"x": torch.stack(inputs) * 2}, torch.stack(targets)

    examples = get(DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=4, shuffle=True, collate_fn=collate))
    assert examples.keys == ("x",)
    assert torch.equal(examples.leaves[0], 2 * INPUTS)


def test_floating_tensors_are_cast_and_integers_kept():
    examples = get(({"tokens": TARGETS, "scale": INPUTS}, INPUTS[:, 0]), torch.float64)
    assert [leaf.dtype for leaf in examples.leaves] == [torch.int64, torch.float64]
    assert examples.targets.dtype == torch.float64
    assert examples.form() == "tokens=(7,) int64, scale=(7, 2) float64"


def test_data_are_copied():
    inputs = INPUTS.clone()
    examples = get((inputs, TARGETS))
    inputs.zero_()
    assert torch.equal(examples.leaves[0], INPUTS)


def test_reading_leaves_the_generator_alone():
    torch.manual_seed(3)
    get(DataLoader(TensorDataset(INPUTS, TARGETS), shuffle=True))
    drawn = torch.rand(2)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(2))


def test_chunks_are_nearly_equal_and_in_order():
    examples = get((INPUTS, TARGETS))
    parts = list(examples.chunks(3))
    assert [len(part) for part in parts] == [2, 2, 3]
    assert torch.equal(torch.cat([part.leaves[0] for part in parts]), INPUTS)


def test_sets_are_found_by_the_prefix_of_their_quantities():
    train, evaluate, holdout = (get((INPUTS[:count], TARGETS[:count])) for count in (3, 4, 5))
    assert by_prefix({"train": train, "holdout": holdout}) == {"": train, "holdout_": holdout}
    everything = by_prefix({"train": train, "holdout": holdout, "evaluate": evaluate})
    assert list(everything.items()) == [("", evaluate), ("train_", train), ("holdout_", holdout)]


def test_digest_sees_values_names_dtypes_and_shapes():
    sources = [
        (INPUTS, TARGETS),
        (INPUTS + 1, TARGETS),
        (INPUTS, TARGETS.flip(0)),
        ((INPUTS,), TARGETS),
        ({"x": INPUTS}, TARGETS),
        ({"y": INPUTS}, TARGETS),
        (INPUTS[:, :, None], TARGETS),
        (INPUTS, TARGETS.int()),
    ]
    digests = [get(source).digest() for source in sources]
    assert digests[3] == digests[0]
    assert len(set(digests)) == len(digests) - 1


class Augmented(Dataset):
    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int):
        return torch.rand(2), index


class OneShot(IterableDataset):
    def __init__(self) -> None:
        self.samples = iter([(torch.zeros(2), 0), (torch.ones(2), 1)])

    def __iter__(self):
        return self.samples


class Ragged(Dataset):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int):
        return torch.zeros(index + 1), index


class Broken(Dataset):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int):
        raise KeyError(f"label {index}\nnot found")


@pytest.mark.parametrize(
    "source",
    [
        Augmented(),
        OneShot(),
        (pair for pair in [(INPUTS, TARGETS)]),
        DataLoader(TensorDataset(INPUTS, TARGETS), sampler=SubsetRandomSampler(range(7))),
    ],
    ids=["augmentation", "one-shot dataset", "generator", "random sampler"],
)
def test_data_that_change_between_passes_are_refused(source):
    torch.manual_seed(0)
    with pytest.raises(
        InvalidData, match=r"^train changes from one pass to the next: .*augmentation.*sampler.*generator"
    ):
        get(source)


def test_masks_of_minus_infinity_are_inputs():
    masks = torch.zeros(7, 2).masked_fill(INPUTS > 2, -torch.inf)
    assert torch.equal(get(((INPUTS, masks), TARGETS)).leaves[1], masks)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ((INPUTS[:0], TARGETS[:0]), r"^train has no examples: pass at least one"),
        ([], r"^train has no examples"),
        ((INPUTS, TARGETS[:5]), r"^train: 7 inputs but 5 targets: every example needs one of each$"),
        (((INPUTS, INPUTS[:2]), TARGETS), r"^train: 2 and 7 inputs but 7 targets"),
        ((INPUTS, TARGETS, TARGETS), r"^train: a batch is a tuple of 3: every batch must be \(inputs, targets\)$"),
        ([INPUTS], r"^train: a batch is a Tensor: every batch"),
        ((INPUTS.tolist(), TARGETS), r"^train: inputs contain a list: inputs must be .*torch.as_tensor"),
        ((((INPUTS, INPUTS), INPUTS), TARGETS), r"^train: inputs contain a tuple"),
        ((INPUTS, TARGETS.tolist()), r"^train: targets contain a list"),
        ((torch.tensor(1.0), TARGETS), r"^train: inputs contain a tensor without axes"),
        (((), TARGETS), r"^train: inputs hold no tensor"),
        ((INPUTS.to_sparse(), TARGETS), r"^train: inputs contain a tensor of layout sparse_coo: pass it dense"),
        ((INPUTS, INPUTS.to_sparse()), r"^train: targets contain a tensor of layout sparse_coo: pass it dense"),
        ((INPUTS + 1j * torch.nan, TARGETS), r"^train: 14 of 14 numbers in the inputs are NaN or infinite as torch.c"),
        ((INPUTS, INPUTS.log()), r"^train: [0-9]+ of 14 numbers in the targets"),
        (INPUTS, r"^train is a Tensor: pass \(inputs, targets\), a torch Dataset or a DataLoader$"),
        (3, r"^train is a int: pass"),
        (Ragged(), r"^train cannot be read: RuntimeError: stack expects .*pad samples to one shape in collate_fn$"),
        (Broken(), r"^train cannot be read: KeyError: .*label 0.*check its samples$"),
        (
            [(INPUTS, TARGETS), (INPUTS[:, :1], TARGETS)],
            r"^train: batches hold samples of \(2,\) float32 and of \(1,\) float32: pad",
        ),
        (
            [(INPUTS, TARGETS), ({"x": INPUTS}, TARGETS)],
            r"^train: batches hold different inputs, \(7, 2\) float32 and x=",
        ),
        ((INPUTS / 0, TARGETS), r"^train: 14 of 14 numbers in the inputs are NaN or infinite as torch.float32: remove"),
        ((TARGETS, torch.full((7,), 1e300, dtype=torch.float64)), r"^train: 7 of 7 numbers in the targets"),
    ],
)
def test_malformed_data_are_refused(source, message):
    with pytest.raises(InvalidData, match=message) as caught:
        get(source)
    assert "\n" not in str(caught.value)
